"""NTFS: the programs of ntfs-3g probe, resize, repair and copy it."""

from collections.abc import Iterator

from daemon.command import option, run, run_status
from daemon.pipes import feed, stream
from daemon.registry import handles, receives, streams
from daemon.session import CallError, Pieces, Session
from rpc import procedures
from rpc.arguments import DeviceArgs
from rpc.procedures.ntfs import Ntfs3gProbeArgs, NtfscloneOutArgs, NtfsfixArgs, NtfsresizeArgs, NtfsresizeSizeArgs


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


@streams(procedures.NTFSCLONE_OUT)
def ntfsclone_out(_session: Session, args: NtfscloneOutArgs) -> Pieces:
    """Stream the used blocks of NTFS in ntfsclone's own format."""
    flags = (
        ("--metadata", args.metadataonly),
        ("--rescue", args.rescue),
        ("--ignore-fs-check", args.ignorefscheck),
        ("--preserve-timestamps", args.preservetimestamps),
        ("--force", args.force),
    )
    words = [flag for flag, wanted in flags if wanted]
    yield from stream(["ntfsclone", "--save-image", "--output", "-", *words, args.device])


@receives(procedures.NTFSCLONE_IN)
def ntfsclone_in(_session: Session, args: DeviceArgs, pieces: Iterator[bytes]) -> None:
    """Write what ``ntfsclone_out`` streamed onto a device."""
    feed(["ntfsclone", "--restore-image", "--overwrite", args.device, "-"], pieces)
