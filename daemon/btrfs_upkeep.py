"""btrfs: size, devices, quotas; btrfs(8) does the work."""

from daemon.btrfs import place_of
from daemon.command import run, text_of
from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import procedures
from rpc.arguments import PathArgs
from rpc.procedures.btrfs import (
    BtrfsDeviceAddArgs,
    BtrfsFilesystemDefragmentArgs,
    BtrfsFilesystemResizeArgs,
    BtrfsFilesystemSyncArgs,
    BtrfsReplaceArgs,
)
from rpc.procedures.btrfs_upkeep import Btrfsqgroup as Qgroup
from rpc.procedures.btrfs_upkeep import (
    BtrfsQgroupAssignArgs,
    BtrfsQgroupCreateArgs,
    BtrfsQgroupLimitArgs,
    BtrfsQuotaEnableArgs,
    BtrfsQuotaRescanArgs,
)


def run_on(session: Session, path: bytes, *words: str) -> None:
    """Run btrfs on a place in the guest."""
    run(["btrfs", *words, session.sysroot.outside(path)])


@handles(procedures.BTRFS_FILESYSTEM_SYNC)
def btrfs_filesystem_sync(session: Session, args: BtrfsFilesystemSyncArgs) -> None:
    """Write a filesystem out."""
    run_on(session, args.fs, "filesystem", "sync")


@handles(procedures.BTRFS_FILESYSTEM_RESIZE)
def btrfs_filesystem_resize(session: Session, args: BtrfsFilesystemResizeArgs) -> None:
    """Make a mounted filesystem ``size`` bytes long, or as long as its device."""
    if args.size is not None and args.size <= 0:
        raise CallError(f"size {args.size}: more than 0 is needed")
    run_on(session, args.mountpoint, "filesystem", "resize", "max" if args.size is None else str(args.size))


@handles(procedures.BTRFS_FILESYSTEM_DEFRAGMENT)
def btrfs_filesystem_defragment(session: Session, args: BtrfsFilesystemDefragmentArgs) -> None:
    """Defragment a directory and what is below it."""
    if args.compress not in (None, "zlib", "lzo", "zstd"):
        raise CallError(f"{args.compress}: not a way to compress, zlib, lzo and zstd are")
    words = [*(["-f"] if args.flush else []), *([f"-c{args.compress}"] if args.compress else [])]
    run_on(session, args.path, "filesystem", "defragment", "-r", *words)


@handles(procedures.BTRFS_DEVICE_ADD)
def btrfs_device_add(session: Session, args: BtrfsDeviceAddArgs) -> None:
    """Add devices to a mounted filesystem."""
    if args.devices:
        run_on(session, args.fs, "device", "add", "--force", *args.devices)


@handles(procedures.BTRFS_DEVICE_DELETE)
def btrfs_device_delete(session: Session, args: BtrfsDeviceAddArgs) -> None:
    """Take devices out of a mounted filesystem."""
    if args.devices:
        run_on(session, args.fs, "device", "delete", *args.devices)


@handles(procedures.BTRFS_REPLACE)
def btrfs_replace(session: Session, args: BtrfsReplaceArgs) -> None:
    """Put one device in the place of another."""
    run_on(session, args.mntpoint, "replace", "start", "-f", "-B", args.srcdev, args.targetdev)


@handles(procedures.BTRFS_QUOTA_ENABLE)
def btrfs_quota_enable(session: Session, args: BtrfsQuotaEnableArgs) -> None:
    """Switch quotas on or off."""
    with place_of(session, args.fs) as place:
        run(["btrfs", "quota", "enable" if args.enable else "disable", place])


@handles(procedures.BTRFS_QUOTA_RESCAN)
def btrfs_quota_rescan(session: Session, args: BtrfsQuotaRescanArgs) -> None:
    """Count again what each quota group uses."""
    with place_of(session, args.fs) as place:
        run(["btrfs", "quota", "rescan", "-w", place])


@handles(procedures.BTRFS_QGROUP_LIMIT)
def btrfs_qgroup_limit(session: Session, args: BtrfsQgroupLimitArgs) -> None:
    """Limit a subvolume to a number of bytes."""
    run_on(session, args.subvolume, "qgroup", "limit", str(args.size))


@handles(procedures.BTRFS_QGROUP_CREATE)
def btrfs_qgroup_create(session: Session, args: BtrfsQgroupCreateArgs) -> None:
    """Make a quota group."""
    run_on(session, args.subvolume, "qgroup", "create", args.qgroupid)


@handles(procedures.BTRFS_QGROUP_DESTROY)
def btrfs_qgroup_destroy(session: Session, args: BtrfsQgroupCreateArgs) -> None:
    """Remove a quota group."""
    run_on(session, args.subvolume, "qgroup", "destroy", args.qgroupid)


@handles(procedures.BTRFS_QGROUP_ASSIGN)
def btrfs_qgroup_assign(session: Session, args: BtrfsQgroupAssignArgs) -> None:
    """Make a quota group part of another."""
    run_on(session, args.path, "qgroup", "assign", args.src, args.dst)


@handles(procedures.BTRFS_QGROUP_REMOVE)
def btrfs_qgroup_remove(session: Session, args: BtrfsQgroupAssignArgs) -> None:
    """Take a quota group out of another."""
    run_on(session, args.path, "qgroup", "remove", args.src, args.dst)


@handles(procedures.BTRFS_QGROUP_SHOW)
def btrfs_qgroup_show(session: Session, args: PathArgs) -> list[Qgroup]:
    """Return the quota groups and how many bytes each uses."""
    lines = text_of(["btrfs", "qgroup", "show", "--raw", session.sysroot.outside(args.path)]).splitlines()
    rows = [line.split() for line in lines if "/" in line.split(" ")[0]]
    return [Qgroup(words[0], int(words[1]), int(words[2])) for words in rows]
