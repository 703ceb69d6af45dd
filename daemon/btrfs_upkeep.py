"""btrfs: size, devices, quotas, balance, repair; btrfs(8) and btrfstune(8) do the work."""

from daemon.btrfs import place_of
from daemon.command import option, run, text_of
from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import procedures
from rpc.arguments import DeviceArgs, PathArgs
from rpc.procedures.btrfs import (
    BtrfsDeviceAddArgs,
    BtrfsFilesystemDefragmentArgs,
    BtrfsFilesystemResizeArgs,
    BtrfsFilesystemSyncArgs,
    BtrfsFsckArgs,
    BtrfsReplaceArgs,
)
from rpc.procedures.btrfs_upkeep import (
    BtrfsFilesystemBalanceArgs,
    BtrfsQgroupAssignArgs,
    BtrfsQgroupCreateArgs,
    BtrfsQgroupLimitArgs,
    BtrfsQuotaEnableArgs,
    BtrfsQuotaRescanArgs,
    BtrfsSetSeedingArgs,
)
from rpc.procedures.btrfs_upkeep import Btrfsqgroup as Qgroup


def _on(session: Session, path: bytes, *words: str) -> None:
    """Run btrfs on a place in the guest."""
    run(["btrfs", *words, session.sysroot.outside(path)])


@handles(procedures.BTRFS_FILESYSTEM_SYNC)
def btrfs_filesystem_sync(session: Session, args: BtrfsFilesystemSyncArgs) -> None:
    """Write a filesystem out."""
    _on(session, args.fs, "filesystem", "sync")


@handles(procedures.BTRFS_FILESYSTEM_RESIZE)
def btrfs_filesystem_resize(session: Session, args: BtrfsFilesystemResizeArgs) -> None:
    """Make a mounted filesystem ``size`` bytes long, or as long as its device."""
    if args.size is not None and args.size <= 0:
        raise CallError(f"size {args.size}: more than 0 is needed")
    _on(session, args.mountpoint, "filesystem", "resize", "max" if args.size is None else str(args.size))


@handles(procedures.BTRFS_FILESYSTEM_DEFRAGMENT)
def btrfs_filesystem_defragment(session: Session, args: BtrfsFilesystemDefragmentArgs) -> None:
    """Defragment a directory and what is below it."""
    if args.compress not in (None, "zlib", "lzo", "zstd"):
        raise CallError(f"{args.compress}: not a way to compress, zlib, lzo and zstd are")
    words = [*(["-f"] if args.flush else []), *([f"-c{args.compress}"] if args.compress else [])]
    _on(session, args.path, "filesystem", "defragment", "-r", *words)


@handles(procedures.BTRFS_FILESYSTEM_BALANCE)
def btrfs_filesystem_balance(session: Session, args: BtrfsFilesystemBalanceArgs) -> None:
    """Spread the data evenly over the devices, to the end."""
    _on(session, args.fs, "balance", "start", "--full-balance")


@handles(procedures.BTRFS_BALANCE_PAUSE)
def btrfs_balance_pause(session: Session, args: PathArgs) -> None:
    """Pause the balancing under way."""
    _on(session, args.path, "balance", "pause")


@handles(procedures.BTRFS_BALANCE_RESUME)
def btrfs_balance_resume(session: Session, args: PathArgs) -> None:
    """Go on with the balancing that was paused, to the end."""
    _on(session, args.path, "balance", "resume")


@handles(procedures.BTRFS_BALANCE_CANCEL)
def btrfs_balance_cancel(session: Session, args: PathArgs) -> None:
    """Give up the balancing that is under way or paused."""
    _on(session, args.path, "balance", "cancel")


@handles(procedures.BTRFS_DEVICE_ADD)
def btrfs_device_add(session: Session, args: BtrfsDeviceAddArgs) -> None:
    """Add devices to a mounted filesystem."""
    if args.devices:
        _on(session, args.fs, "device", "add", "--force", *args.devices)


@handles(procedures.BTRFS_DEVICE_DELETE)
def btrfs_device_delete(session: Session, args: BtrfsDeviceAddArgs) -> None:
    """Take devices out of a mounted filesystem."""
    if args.devices:
        _on(session, args.fs, "device", "delete", *args.devices)


@handles(procedures.BTRFS_REPLACE)
def btrfs_replace(session: Session, args: BtrfsReplaceArgs) -> None:
    """Put one device in the place of another."""
    _on(session, args.mntpoint, "replace", "start", "-f", "-B", args.srcdev, args.targetdev)


@handles(procedures.BTRFS_FSCK)
def btrfs_fsck(_session: Session, args: BtrfsFsckArgs) -> None:
    """Check a filesystem that is not mounted, and repair it if wanted."""
    if args.superblock is not None and args.superblock < 0:
        raise CallError(f"superblock {args.superblock} is negative")
    words = [*option("--super", args.superblock), *(["--repair"] if args.repair else [])]
    run(["btrfs", "check", *words, args.device])


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
    _on(session, args.subvolume, "qgroup", "limit", str(args.size))


@handles(procedures.BTRFS_QGROUP_CREATE)
def btrfs_qgroup_create(session: Session, args: BtrfsQgroupCreateArgs) -> None:
    """Make a quota group."""
    _on(session, args.subvolume, "qgroup", "create", args.qgroupid)


@handles(procedures.BTRFS_QGROUP_DESTROY)
def btrfs_qgroup_destroy(session: Session, args: BtrfsQgroupCreateArgs) -> None:
    """Remove a quota group."""
    _on(session, args.subvolume, "qgroup", "destroy", args.qgroupid)


@handles(procedures.BTRFS_QGROUP_ASSIGN)
def btrfs_qgroup_assign(session: Session, args: BtrfsQgroupAssignArgs) -> None:
    """Make a quota group part of another."""
    _on(session, args.path, "qgroup", "assign", args.src, args.dst)


@handles(procedures.BTRFS_QGROUP_REMOVE)
def btrfs_qgroup_remove(session: Session, args: BtrfsQgroupAssignArgs) -> None:
    """Take a quota group out of another."""
    _on(session, args.path, "qgroup", "remove", args.src, args.dst)


@handles(procedures.BTRFS_QGROUP_SHOW)
def btrfs_qgroup_show(session: Session, args: PathArgs) -> list[Qgroup]:
    """Return the quota groups and how many bytes each uses."""
    lines = text_of(["btrfs", "qgroup", "show", "--raw", session.sysroot.outside(args.path)]).splitlines()
    rows = [line.split() for line in lines if "/" in line.split(" ")[0]]
    return [Qgroup(words[0], int(words[1]), int(words[2])) for words in rows]


def _tune(device: str, *words: str) -> None:
    run(["btrfstune", "-f", *words, device])


@handles(procedures.BTRFS_SET_SEEDING)
def btrfs_set_seeding(_session: Session, args: BtrfsSetSeedingArgs) -> None:
    """Make a filesystem one that others grow from, or not any more."""
    _tune(args.device, "-S", "1" if args.seeding else "0")


@handles(procedures.BTRFSTUNE_SEEDING)
def btrfstune_seeding(_session: Session, args: BtrfsSetSeedingArgs) -> None:
    """Make a filesystem one that others grow from, or not any more."""
    _tune(args.device, "-S", "1" if args.seeding else "0")


@handles(procedures.BTRFSTUNE_ENABLE_EXTENDED_INODE_REFS)
def btrfstune_enable_extended_inode_refs(_session: Session, args: DeviceArgs) -> None:
    """Allow more hard links to a file in one directory."""
    _tune(args.device, "-r")


@handles(procedures.BTRFSTUNE_ENABLE_SKINNY_METADATA_EXTENT_REFS)
def btrfstune_enable_skinny_metadata_extent_refs(_session: Session, args: DeviceArgs) -> None:
    """Use the short form of references to metadata."""
    _tune(args.device, "-x")


@handles(procedures.BTRFS_RESCUE_CHUNK_RECOVER)
def btrfs_rescue_chunk_recover(_session: Session, args: DeviceArgs) -> None:
    """Rebuild the chunk tree by looking at the whole device."""
    run(["btrfs", "rescue", "chunk-recover", "-y", args.device])


@handles(procedures.BTRFS_RESCUE_SUPER_RECOVER)
def btrfs_rescue_super_recover(_session: Session, args: DeviceArgs) -> None:
    """Restore a bad superblock from a good copy; status 2 says that the bad one was repaired (btrfs-rescue(8))."""
    run(["btrfs", "rescue", "super-recover", "-y", args.device], accept=(0, 2))
