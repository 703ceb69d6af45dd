"""btrfs: check, repair, tune, copy metadata; btrfs(8), btrfstune(8) and btrfs-image(8) do the work."""

from daemon.command import EXTRA_FILE, option, run
from daemon.contents import NEW_FILE, writable
from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import procedures
from rpc.arguments import DeviceArgs
from rpc.procedures.btrfs import BtrfsFsckArgs, BtrfsImageArgs
from rpc.procedures.btrfs_upkeep import BtrfsSetSeedingArgs


@handles(procedures.BTRFS_FSCK)
def btrfs_fsck(_session: Session, args: BtrfsFsckArgs) -> None:
    """Check a filesystem that is not mounted, and repair it if wanted."""
    if args.superblock is not None and args.superblock < 0:
        raise CallError(f"superblock {args.superblock} is negative")
    words = [*option("--super", args.superblock), *(["--repair"] if args.repair else [])]
    run(["btrfs", "check", *words, args.device])


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


@handles(procedures.BTRFS_IMAGE)
def btrfs_image(session: Session, args: BtrfsImageArgs) -> None:
    """Write the metadata of filesystems, without what files hold, into a file of the guest."""
    if not args.source:
        raise CallError("no devices are given")
    with writable(session, args.image, NEW_FILE) as descriptor:
        run(["btrfs-image", *option("-c", args.compresslevel), *args.source, EXTRA_FILE], extra=descriptor)
