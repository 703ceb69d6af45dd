"""Make and check filesystems of any type, and make swap areas."""

import os
from typing import Final

from daemon.command import option, run, run_status
from daemon.confined import located
from daemon.devices import wire_name
from daemon.disk_writes import device_to_write
from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import procedures
from rpc.procedures.btrfs import MkfsBtrfsArgs
from rpc.procedures.filesystems import FsckArgs, MkfsArgs, MkfsBArgs, MkswapArgs

_FAT: Final = frozenset(("fat", "vfat", "msdos"))
_EXT: Final = frozenset(("ext2", "ext3", "ext4"))
_EXT_LABEL_MAX_BYTES: Final = 16
_FAT_SECTOR_BYTES: Final = 512
_QUIET: Final = {
    "btrfs": ("-f",),
    "f2fs": ("-f",),
    "jfs": ("-q",),
    "ntfs": ("-Q", "-F"),
    "reiserfs": ("-f",),
    "xfs": ("-f",),
}
"""What keeps each program from asking, and from writing the whole device."""
_LABEL_FLAGS: Final = {"fat": "-n", "vfat": "-n", "msdos": "-n", "f2fs": "-l", "reiserfs": "-l"}


def _must_exist(program: str) -> None:
    try:
        located(program)
    except OSError as exc:
        raise CallError(exc.strerror) from exc


def _block_size(fstype: str, blocksize: int) -> list[str]:
    if blocksize <= 0 or blocksize & (blocksize - 1):
        raise CallError(f"blocksize {blocksize}: a power of two is needed")
    if fstype in _FAT:
        return ["-s", str(blocksize // _FAT_SECTOR_BYTES)]
    if fstype == "ntfs":
        return ["-c", str(blocksize)]
    if fstype == "xfs":
        return ["-b", f"size={blocksize}"]
    if fstype == "btrfs":
        raise CallError("btrfs has sizes of several kinds, which mkfs_btrfs sets")
    return ["-b", str(blocksize)]


def _sector_size(fstype: str, sectorsize: int) -> list[str]:
    if sectorsize <= 0 or sectorsize & (sectorsize - 1):
        raise CallError(f"sectorsize {sectorsize}: a power of two is needed")
    if fstype != "ufs":
        raise CallError(f"{fstype}: only ufs has a sector size of its own")
    return ["-S", str(sectorsize)]


def make(args: MkfsArgs) -> None:
    """Make a filesystem; signatures that another one left behind are wiped first, for mkfs writes over few of them."""
    fstype = args.fstype
    if not fstype.replace("_", "").replace("-", "").replace(".", "").isalnum():
        raise CallError(f"{fstype}: not the name of a type of filesystem")
    words = ["-F"] if fstype in _EXT else ["-I", "--mbr=n"] if fstype in _FAT else list(_QUIET.get(fstype, ()))
    if args.blocksize is not None:
        words += _block_size(fstype, args.blocksize)
    if args.label is not None and fstype in _EXT and len(os.fsencode(args.label)) > _EXT_LABEL_MAX_BYTES:
        raise CallError(f"{args.label}: labels of {fstype} have at most {_EXT_LABEL_MAX_BYTES} bytes")
    if args.features is not None and fstype not in _EXT:
        raise CallError(f"{fstype}: features are chosen for ext2, ext3 and ext4 only")
    words += option("-O", args.features)
    if args.inode is not None:
        if fstype not in _EXT and fstype != "xfs":
            raise CallError(f"{fstype}: the size of inodes is chosen for ext2, ext3, ext4 and xfs only")
        words += ["-i", f"size={args.inode}"] if fstype == "xfs" else ["-I", str(args.inode)]
    if args.sectorsize is not None:
        words += _sector_size(fstype, args.sectorsize)
    words += option(_LABEL_FLAGS.get(fstype, "-L"), args.label)
    _must_exist(f"mkfs.{fstype}")  # nothing is wiped for a type that cannot be made
    try:
        with device_to_write(args.device):
            run(["wipefs", "--quiet", "-a", args.device])
            run([f"mkfs.{fstype}", *words, args.device])
    except CallError as exc:
        raise CallError(f"{fstype} on {wire_name(args.device)}: {exc}") from exc


@handles(procedures.MKFS)
def mkfs(_session: Session, args: MkfsArgs) -> None:
    """Make a filesystem."""
    make(args)


@handles(procedures.MKFS_B)
def mkfs_b(_session: Session, args: MkfsBArgs) -> None:
    """Make a filesystem of a given block size."""
    make(MkfsArgs(args.fstype, args.device, blocksize=args.blocksize))


@handles(procedures.MKFS_BTRFS)
def mkfs_btrfs(_session: Session, args: MkfsBtrfsArgs) -> None:
    """Make a btrfs filesystem over several devices; ``allocstart`` has had no effect since btrfs-progs 4.14."""
    if not args.devices:
        raise CallError("no devices are given")
    words = [
        *option("--byte-count", args.bytecount),
        *option("--data", args.datatype),
        *option("--metadata", args.metadata),
        *option("--label", args.label),
        *option("--nodesize", args.nodesize if args.nodesize is not None else args.leafsize),
        *option("--sectorsize", args.sectorsize),
    ]
    run(["mkfs.btrfs", "--quiet", "--force", *words, *args.devices])


@handles(procedures.MKSWAP)
def mkswap(_session: Session, args: MkswapArgs) -> None:
    """Make a swap area."""
    run(["mkswap", "--force", *option("--label", args.label), *option("--uuid", args.uuid), args.device])


@handles(procedures.FSCK)
def fsck(_session: Session, args: FsckArgs) -> int:
    """Repair what is safe to repair; return the exit status of the program."""
    return run_status(["fsck", "-a", "-t", args.fstype, args.device])[0]
