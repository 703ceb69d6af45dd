"""Checks and repairs of filesystems of any type, and of NTFS."""

from daemon.command import option, run, run_status
from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import procedures
from rpc.procedures.filesystems import FsckArgs
from rpc.procedures.ntfs import Ntfs3gProbeArgs, NtfsfixArgs, NtfsresizeArgs, NtfsresizeSizeArgs


@handles(procedures.FSCK)
def fsck(_session: Session, args: FsckArgs) -> int:
    """Repair what is safe to repair; return the exit status of the program."""
    return run_status(["fsck", "-a", "-t", args.fstype, args.device])[0]


@handles(procedures.NTFS_3G_PROBE)
def ntfs_3g_probe(_session: Session, args: Ntfs3gProbeArgs) -> int:
    """Tell whether NTFS can be mounted: the status that ntfs-3g.probe(8) ends with, 0 for yes."""
    return run_status(["ntfs-3g.probe", "--readwrite" if args.rw else "--readonly", args.device])[0]


@handles(procedures.NTFSFIX)
def ntfsfix(_session: Session, args: NtfsfixArgs) -> None:
    """Repair simple damage of NTFS."""
    run(["ntfsfix", *(["-b"] if args.clearbadsectors else []), args.device])


def _resize(device: str, *, size: int | None, force: bool) -> None:
    if size is not None and size <= 0:
        raise CallError(f"size {size}: more than 0 is needed")
    run(["ntfsresize", "-P", *option("--size", size), *(["--force"] if force else []), device])


@handles(procedures.NTFSRESIZE)
def ntfsresize(_session: Session, args: NtfsresizeArgs) -> None:
    """Make NTFS ``size`` bytes long, or as long as its device."""
    _resize(args.device, size=args.size, force=bool(args.force))


@handles(procedures.NTFSRESIZE_SIZE)
def ntfsresize_size(_session: Session, args: NtfsresizeSizeArgs) -> None:
    """Make NTFS ``size`` bytes long."""
    _resize(args.device, size=args.size, force=False)
