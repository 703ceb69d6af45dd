"""Block devices as the kernel sees them: sizes, read-only, read-ahead, caches."""

import os

from daemon.command import run, text_of
from daemon.devices import wire_name
from daemon.files import checked_range
from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import procedures
from rpc.arguments import DeviceArgs
from rpc.procedures.contents import PreadDeviceArgs
from rpc.procedures.devices import BlockdevSetbszArgs, BlockdevSetraArgs, FindfsLabelArgs, FindfsUuidArgs


def _ask(device: str, question: str) -> int:
    return int(text_of(["blockdev", question, device]))


@handles(procedures.BLOCKDEV_GETSIZE64)
def blockdev_getsize64(_session: Session, args: DeviceArgs) -> int:
    """Return the size of a device in bytes."""
    descriptor = os.open(args.device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)


@handles(procedures.PREAD_DEVICE)
def pread_device(_session: Session, args: PreadDeviceArgs) -> bytes:
    """Return part of a device."""
    checked_range(args.count, args.offset)
    descriptor = os.open(args.device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, args.count, args.offset)
    finally:
        os.close(descriptor)


@handles(procedures.BLOCKDEV_GETSZ)
def blockdev_getsz(session: Session, args: DeviceArgs) -> int:
    """Return the size of a device in units of 512 bytes."""
    return blockdev_getsize64(session, args) // 512


@handles(procedures.BLOCKDEV_GETSS)
def blockdev_getss(_session: Session, args: DeviceArgs) -> int:
    """Return the logical sector size in bytes."""
    return _ask(args.device, "--getss")


@handles(procedures.BLOCKDEV_GETBSZ)
def blockdev_getbsz(_session: Session, args: DeviceArgs) -> int:
    """Return the size in bytes of the blocks that the kernel reads."""
    return _ask(args.device, "--getbsz")


@handles(procedures.BLOCKDEV_SETBSZ)
def blockdev_setbsz(_session: Session, args: BlockdevSetbszArgs) -> None:
    """Set the block size for a descriptor that is closed again: nothing stays of it (blockdev(8))."""
    run(["blockdev", "--setbsz", str(args.blocksize), args.device])


@handles(procedures.BLOCKDEV_GETRO)
def blockdev_getro(_session: Session, args: DeviceArgs) -> bool:
    """Tell whether a device is read-only."""
    return _ask(args.device, "--getro") != 0


@handles(procedures.BLOCKDEV_SETRO)
def blockdev_setro(_session: Session, args: DeviceArgs) -> None:
    """Make a device read-only."""
    run(["blockdev", "--setro", args.device])


@handles(procedures.BLOCKDEV_SETRW)
def blockdev_setrw(_session: Session, args: DeviceArgs) -> None:
    """Make a device writable."""
    run(["blockdev", "--setrw", args.device])


@handles(procedures.BLOCKDEV_SETRA)
def blockdev_setra(_session: Session, args: BlockdevSetraArgs) -> None:
    """Set how many units of 512 bytes are read ahead."""
    run(["blockdev", "--setra", str(args.sectors), args.device])


@handles(procedures.BLOCKDEV_FLUSHBUFS)
def blockdev_flushbufs(_session: Session, args: DeviceArgs) -> None:
    """Write a device's cached blocks out and drop them."""
    run(["blockdev", "--flushbufs", args.device])


@handles(procedures.BLOCKDEV_REREADPT)
def blockdev_rereadpt(_session: Session, args: DeviceArgs) -> None:
    """Make the kernel read the partition table again."""
    run(["blockdev", "--rereadpt", args.device])


@handles(procedures.BLKDISCARD)
def blkdiscard(_session: Session, args: DeviceArgs) -> None:
    """Discard every block of a device."""
    run(["blkdiscard", args.device])


@handles(procedures.BLKDISCARDZEROES)
def blkdiscardzeroes(_session: Session, args: DeviceArgs) -> bool:
    """Tell whether discarded blocks read as zeros; kernels since 4.12 promise it for no device (queue-sysfs)."""
    entry = os.path.realpath(f"/sys/class/block/{os.path.basename(os.path.realpath(args.device))}")
    queue = f"{entry}/queue" if os.path.isdir(f"{entry}/queue") else f"{os.path.dirname(entry)}/queue"
    with open(f"{queue}/discard_zeroes_data", "rb") as file:
        return int(file.read()) != 0


def _find(tag: str, value: str) -> str:
    """Name the device with a tag, as libblkid knows it."""
    if not value:
        raise CallError(f"{tag}: an empty value names no device")
    return wire_name(text_of(["findfs", f"{tag}={value}"]))


@handles(procedures.FINDFS_UUID)
def findfs_uuid(_session: Session, args: FindfsUuidArgs) -> str:
    """Name the device whose filesystem has a UUID."""
    return _find("UUID", args.uuid)


@handles(procedures.FINDFS_LABEL)
def findfs_label(_session: Session, args: FindfsLabelArgs) -> str:
    """Name the device whose filesystem has a label."""
    return _find("LABEL", args.label)


@handles(procedures.FINDFS_PARTUUID)
def findfs_partuuid(_session: Session, args: FindfsUuidArgs) -> str:
    """Name the partition with a UUID."""
    return _find("PARTUUID", args.uuid)


@handles(procedures.FINDFS_PARTLABEL)
def findfs_partlabel(_session: Session, args: FindfsLabelArgs) -> str:
    """Name the partition with a name."""
    return _find("PARTLABEL", args.label)
