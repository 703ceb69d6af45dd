"""What only ext2, ext3 and ext4 have: the programs of e2fsprogs."""

from typing import Final

from daemon.command import lines_of, option, run, text_of
from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import procedures
from rpc.arguments import DeviceArgs
from rpc.codec import Pairs
from rpc.procedures.ext2 import (
    E2fsckArgs,
    Mke2fsArgs,
    Resize2fsSizeArgs,
    SetE2labelArgs,
    SetE2uuidArgs,
    Tune2fsArgs,
)

_ABSENT: Final = frozenset(("<none>", "<not available>", "(none)"))
_FEATURES: Final = {
    "extent": "extent",
    "filetype": "filetype",
    "flexbg": "flex_bg",
    "hasjournal": "has_journal",
    "journaldev": "journal_dev",
    "largefile": "large_file",
    "quota": "quota",
    "resizeinode": "resize_inode",
    "sparsesuper": "sparse_super",
    "uninitbg": "uninit_bg",
}
_EXTENDED: Final = {
    "stridesize": "stride",
    "stripewidth": "stripe_width",
    "maxonlineresize": "resize",
    "mmpupdateinterval": "mmp_update_interval",
    "lazyitableinit": "lazy_itable_init",
    "lazyjournalinit": "lazy_journal_init",
}


@handles(procedures.MKE2FS)
def mke2fs(_session: Session, args: Mke2fsArgs) -> None:
    """Make a filesystem with any options of the program."""
    words = [
        *option("-b", args.blocksize),
        *option("-f", args.fragsize),
        *option("-g", args.blockspergroup),
        *option("-G", args.numberofgroups),
        *option("-i", args.bytesperinode),
        *option("-I", args.inodesize),
        *option("-N", args.numberofinodes),
        *option("-m", args.reservedblockspercentage),
        *option("-L", args.label),
        *option("-M", args.lastmounteddir),
        *option("-o", args.creatoros),
        *option("-t", args.fstype),
        *option("-T", args.usagetype),
        *option("-U", args.uuid),
    ]
    journal = [("size", args.journalsize), ("device", args.journaldevice)]
    for name, value in journal:
        words += [] if value is None else ["-J", f"{name}={value}"]
    for field, name in _EXTENDED.items():
        value = getattr(args, field)
        words += [] if value is None else ["-E", f"{name}={int(value)}"]
    words += ["-E", "test_fs"] if args.testfs else []
    words += [] if args.discard is None else ["-E", "discard" if args.discard else "nodiscard"]
    words += ["-E", f"quotatype={args.quotatype}"] if args.quotatype else []
    words += ["-S"] if args.writesbandgrouponly else []
    features = [(name, getattr(args, field)) for field, name in _FEATURES.items()]
    chosen = [name if wanted else f"^{name}" for name, wanted in features if wanted is not None]
    words += ["-O", ",".join(chosen)] if chosen else []
    count = [] if args.blockscount is None else [str(args.blockscount)]
    run(["mke2fs", "-q", "-F", *(["-F"] if args.forcecreate else []), *words, args.device, *count])


def _check(device: str, *words: str) -> None:
    """Check a filesystem; errors that were corrected are none (status 1)."""
    try:
        run(["e2fsck", *words, device], accept=(0, 1))
    except CallError as exc:
        raise CallError(f"e2fsck: errors are left: {exc}") from exc


@handles(procedures.E2FSCK)
def e2fsck(_session: Session, args: E2fsckArgs) -> None:
    """Check a filesystem and repair it: what is safe to repair, or everything."""
    if args.correct and args.forceall:
        raise CallError("correct and forceall exclude each other")
    _check(args.device, "-f", *(["-p"] if args.correct else []), *(["-y"] if args.forceall else []))


@handles(procedures.E2FSCK_F)
def e2fsck_f(_session: Session, args: DeviceArgs) -> None:
    """Check a filesystem even if it looks clean and repair what is safe to repair."""
    _check(args.device, "-p", "-f")


@handles(procedures.TUNE2FS_L)
def tune2fs_l(_session: Session, args: DeviceArgs) -> Pairs:
    """Return what the superblock says; absent values are empty."""
    pairs = []
    for line in lines_of(["tune2fs", "-l", args.device])[1:]:
        key, colon, value = line.partition(":")
        if colon:
            value = value.strip()
            pairs.append((key, "" if value in _ABSENT else value))
    return pairs


@handles(procedures.TUNE2FS)
def tune2fs(_session: Session, args: Tune2fsArgs) -> None:
    """Change what the superblock says."""
    words = [
        *(["-f"] if args.force else []),
        *option("-c", args.maxmountcount),
        *option("-C", args.mountcount),
        *option("-e", args.errorbehavior),
        *option("-g", args.group),
        *([] if args.intervalbetweenchecks is None else ["-i", f"{args.intervalbetweenchecks}s"]),
        *option("-m", args.reservedblockspercentage),
        *option("-M", args.lastmounteddirectory),
        *option("-r", args.reservedblockscount),
        *option("-u", args.user),
    ]
    run(["tune2fs", *words, args.device])


@handles(procedures.RESIZE2FS)
def resize2fs(_session: Session, args: DeviceArgs) -> None:
    """Make a filesystem as large as its device."""
    run(["resize2fs", args.device])


@handles(procedures.RESIZE2FS_SIZE)
def resize2fs_size(_session: Session, args: Resize2fsSizeArgs) -> None:
    """Make a filesystem ``size`` bytes long, rounded down to KiB."""
    if args.size < 1024:
        raise CallError(f"size {args.size}: at least 1024 bytes are needed")
    run(["resize2fs", args.device, f"{args.size // 1024}K"])


@handles(procedures.RESIZE2FS_M)
def resize2fs_m(_session: Session, args: DeviceArgs) -> None:
    """Make a filesystem as small as it can be."""
    run(["resize2fs", "-M", args.device])


def minimum_bytes(device: str) -> int:
    """Return the least size of a filesystem that resize2fs estimates."""
    blocks = int(text_of(["resize2fs", "-P", "-f", device]).rpartition(":")[2])
    size = next(line.split()[-1] for line in lines_of(["dumpe2fs", "-h", device]) if line.startswith("Block size:"))
    return blocks * int(size)


def set_label(device: str, label: str) -> None:
    """Set the label of a filesystem."""
    run(["e2label", device, label])


def set_uuid(device: str, uuid: str) -> None:
    """Set the UUID of a filesystem, or make one: ``clear``, ``random``, ``time``."""
    run(["tune2fs", "-f", "-U", uuid, device])


@handles(procedures.SET_E2LABEL)
def set_e2label(_session: Session, args: SetE2labelArgs) -> None:
    """Set the label of a filesystem."""
    set_label(args.device, args.label)


@handles(procedures.SET_E2UUID)
def set_e2uuid(_session: Session, args: SetE2uuidArgs) -> None:
    """Set the UUID of a filesystem."""
    set_uuid(args.device, args.uuid)
