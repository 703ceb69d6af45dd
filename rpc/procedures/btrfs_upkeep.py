"""Balance, scrub, limit, tune and rescue btrfs filesystems."""

from typing import Final, NamedTuple

from rpc.arguments import DeviceArgs, PathArgs
from rpc.codec import VOID, Device, GuestPath, Int64, MountableOrPath, UInt64, codec_of, list_of
from rpc.procedure import Procedure


class Btrfsqgroup(NamedTuple):
    """One quota group of a btrfs filesystem: bytes referenced, bytes that no other group refers to."""

    btrfsqgroup_id: str
    btrfsqgroup_rfer: UInt64
    btrfsqgroup_excl: UInt64


class Btrfsbalance(NamedTuple):
    """How far the balancing of a btrfs filesystem is, in chunks."""

    btrfsbalance_status: str
    btrfsbalance_total: UInt64
    btrfsbalance_balanced: UInt64
    btrfsbalance_considered: UInt64
    btrfsbalance_left: UInt64


class Btrfsscrub(NamedTuple):
    """How far the scrubbing of a btrfs filesystem is, and what it found."""

    btrfsscrub_data_extents_scrubbed: UInt64
    btrfsscrub_tree_extents_scrubbed: UInt64
    btrfsscrub_data_bytes_scrubbed: UInt64
    btrfsscrub_tree_bytes_scrubbed: UInt64
    btrfsscrub_read_errors: UInt64
    btrfsscrub_csum_errors: UInt64
    btrfsscrub_verify_errors: UInt64
    btrfsscrub_no_csum: UInt64
    btrfsscrub_csum_discards: UInt64
    btrfsscrub_super_errors: UInt64
    btrfsscrub_malloc_errors: UInt64
    btrfsscrub_uncorrectable_errors: UInt64
    btrfsscrub_unverified_errors: UInt64
    btrfsscrub_corrected_errors: UInt64
    btrfsscrub_last_physical: UInt64


class BtrfsFilesystemBalanceArgs(NamedTuple):
    """Carry the arguments of ``btrfs_filesystem_balance``."""

    fs: GuestPath


class BtrfsScrubFullArgs(NamedTuple):
    """Carry the arguments of ``btrfs_scrub_full``."""

    path: GuestPath
    readonly: bool | None = None


class BtrfsQuotaEnableArgs(NamedTuple):
    """Carry the arguments of ``btrfs_quota_enable``."""

    fs: MountableOrPath
    enable: bool


class BtrfsQuotaRescanArgs(NamedTuple):
    """Carry the arguments of ``btrfs_quota_rescan``."""

    fs: MountableOrPath


class BtrfsQgroupLimitArgs(NamedTuple):
    """Carry the arguments of ``btrfs_qgroup_limit``."""

    subvolume: GuestPath
    size: Int64


class BtrfsQgroupCreateArgs(NamedTuple):
    """Carry the arguments of ``btrfs_qgroup_create``, ``btrfs_qgroup_destroy``."""

    qgroupid: str
    subvolume: GuestPath


class BtrfsQgroupAssignArgs(NamedTuple):
    """Carry the arguments of ``btrfs_qgroup_assign``, ``btrfs_qgroup_remove``."""

    src: str
    dst: str
    path: GuestPath


class BtrfsSetSeedingArgs(NamedTuple):
    """Carry the arguments of ``btrfs_set_seeding``, ``btrfstune_seeding``."""

    device: Device
    seeding: bool


BTRFS_FILESYSTEM_BALANCE: Final = Procedure(
    number=328, name="btrfs_filesystem_balance", args=BtrfsFilesystemBalanceArgs, result=VOID
)
BTRFS_BALANCE_PAUSE: Final = Procedure(number=438, name="btrfs_balance_pause", args=PathArgs, result=VOID)
BTRFS_BALANCE_CANCEL: Final = Procedure(number=439, name="btrfs_balance_cancel", args=PathArgs, result=VOID)
BTRFS_BALANCE_RESUME: Final = Procedure(number=440, name="btrfs_balance_resume", args=PathArgs, result=VOID)
BTRFS_BALANCE_STATUS: Final = Procedure(
    number=448, name="btrfs_balance_status", args=PathArgs, result=codec_of(Btrfsbalance)
)
BTRFS_SCRUB_START: Final = Procedure(number=435, name="btrfs_scrub_start", args=PathArgs, result=VOID)
BTRFS_SCRUB_CANCEL: Final = Procedure(number=436, name="btrfs_scrub_cancel", args=PathArgs, result=VOID)
BTRFS_SCRUB_RESUME: Final = Procedure(number=437, name="btrfs_scrub_resume", args=PathArgs, result=VOID)
BTRFS_SCRUB_STATUS: Final = Procedure(number=449, name="btrfs_scrub_status", args=PathArgs, result=codec_of(Btrfsscrub))
BTRFS_SCRUB_FULL: Final = Procedure(number=518, name="btrfs_scrub_full", args=BtrfsScrubFullArgs, result=VOID)
BTRFS_QUOTA_ENABLE: Final = Procedure(number=427, name="btrfs_quota_enable", args=BtrfsQuotaEnableArgs, result=VOID)
BTRFS_QUOTA_RESCAN: Final = Procedure(number=428, name="btrfs_quota_rescan", args=BtrfsQuotaRescanArgs, result=VOID)
BTRFS_QGROUP_LIMIT: Final = Procedure(number=429, name="btrfs_qgroup_limit", args=BtrfsQgroupLimitArgs, result=VOID)
BTRFS_QGROUP_CREATE: Final = Procedure(number=430, name="btrfs_qgroup_create", args=BtrfsQgroupCreateArgs, result=VOID)
BTRFS_QGROUP_DESTROY: Final = Procedure(
    number=431, name="btrfs_qgroup_destroy", args=BtrfsQgroupCreateArgs, result=VOID
)
BTRFS_QGROUP_SHOW: Final = Procedure(
    number=432, name="btrfs_qgroup_show", args=PathArgs, result=list_of(codec_of(Btrfsqgroup))
)
BTRFS_QGROUP_ASSIGN: Final = Procedure(number=433, name="btrfs_qgroup_assign", args=BtrfsQgroupAssignArgs, result=VOID)
BTRFS_QGROUP_REMOVE: Final = Procedure(number=434, name="btrfs_qgroup_remove", args=BtrfsQgroupAssignArgs, result=VOID)
BTRFS_SET_SEEDING: Final = Procedure(number=331, name="btrfs_set_seeding", args=BtrfsSetSeedingArgs, result=VOID)
BTRFSTUNE_SEEDING: Final = Procedure(number=450, name="btrfstune_seeding", args=BtrfsSetSeedingArgs, result=VOID)
BTRFSTUNE_ENABLE_EXTENDED_INODE_REFS: Final = Procedure(
    number=451, name="btrfstune_enable_extended_inode_refs", args=DeviceArgs, result=VOID
)
BTRFSTUNE_ENABLE_SKINNY_METADATA_EXTENT_REFS: Final = Procedure(
    number=452, name="btrfstune_enable_skinny_metadata_extent_refs", args=DeviceArgs, result=VOID
)
BTRFS_RESCUE_CHUNK_RECOVER: Final = Procedure(
    number=444, name="btrfs_rescue_chunk_recover", args=DeviceArgs, result=VOID
)
BTRFS_RESCUE_SUPER_RECOVER: Final = Procedure(
    number=445, name="btrfs_rescue_super_recover", args=DeviceArgs, result=VOID
)
