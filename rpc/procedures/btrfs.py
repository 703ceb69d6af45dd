"""Work on the subvolumes and devices of btrfs filesystems."""

from typing import Final, NamedTuple

from rpc.arguments import DeviceArgs
from rpc.codec import (
    INT64,
    PAIRS,
    STRING_LIST,
    VOID,
    Device,
    GuestPath,
    Int32,
    Int64,
    MountableOrPath,
    UInt64,
    codec_of,
    list_of,
)
from rpc.procedure import Procedure


class Btrfssubvolume(NamedTuple):
    """One btrfs subvolume."""

    btrfssubvolume_id: UInt64
    btrfssubvolume_top_level_id: UInt64
    btrfssubvolume_path: str


class BtrfsSubvolumeListArgs(NamedTuple):
    """Carry the arguments of ``btrfs_subvolume_list``, ``btrfs_subvolume_get_default``."""

    fs: MountableOrPath


class BtrfsSubvolumeCreateArgs(NamedTuple):
    """Carry the arguments of ``btrfs_subvolume_create``."""

    dest: GuestPath
    qgroupid: str | None = None


class BtrfsSubvolumeDeleteArgs(NamedTuple):
    """Carry the arguments of ``btrfs_subvolume_delete``, ``btrfs_subvolume_show``."""

    subvolume: GuestPath


class BtrfsSubvolumeSnapshotArgs(NamedTuple):
    """Carry the arguments of ``btrfs_subvolume_snapshot``."""

    source: GuestPath
    dest: GuestPath
    ro: bool | None = None
    qgroupid: str | None = None


class BtrfsSubvolumeSetDefaultArgs(NamedTuple):
    """Carry the arguments of ``btrfs_subvolume_set_default``."""

    id: Int64
    fs: GuestPath


class MkfsBtrfsArgs(NamedTuple):
    """Carry the arguments of ``mkfs_btrfs``."""

    devices: list[Device]
    allocstart: Int64 | None = None
    bytecount: Int64 | None = None
    datatype: str | None = None
    leafsize: Int32 | None = None
    label: str | None = None
    metadata: str | None = None
    nodesize: Int32 | None = None
    sectorsize: Int32 | None = None


class BtrfsFsckArgs(NamedTuple):
    """Carry the arguments of ``btrfs_fsck``."""

    device: Device
    superblock: Int64 | None = None
    repair: bool | None = None


class BtrfsFilesystemSyncArgs(NamedTuple):
    """Carry the arguments of ``btrfs_filesystem_sync``."""

    fs: GuestPath


class BtrfsFilesystemResizeArgs(NamedTuple):
    """Carry the arguments of ``btrfs_filesystem_resize``."""

    mountpoint: GuestPath
    size: Int64 | None = None


class BtrfsFilesystemDefragmentArgs(NamedTuple):
    """Carry the arguments of ``btrfs_filesystem_defragment``."""

    path: GuestPath
    flush: bool | None = None
    compress: str | None = None


class BtrfsDeviceAddArgs(NamedTuple):
    """Carry the arguments of ``btrfs_device_add``, ``btrfs_device_delete``."""

    devices: list[Device]
    fs: GuestPath


class BtrfsReplaceArgs(NamedTuple):
    """Carry the arguments of ``btrfs_replace``."""

    srcdev: Device
    targetdev: Device
    mntpoint: GuestPath


class BtrfsImageArgs(NamedTuple):
    """Carry the arguments of ``btrfs_image``."""

    source: list[Device]
    image: GuestPath
    compresslevel: Int32 | None = None


BTRFS_SUBVOLUME_LIST: Final = Procedure(
    number=325, name="btrfs_subvolume_list", args=BtrfsSubvolumeListArgs, result=list_of(codec_of(Btrfssubvolume))
)
BTRFS_SUBVOLUME_CREATE: Final = Procedure(
    number=324, name="btrfs_subvolume_create", args=BtrfsSubvolumeCreateArgs, result=VOID
)
BTRFS_SUBVOLUME_DELETE: Final = Procedure(
    number=323, name="btrfs_subvolume_delete", args=BtrfsSubvolumeDeleteArgs, result=VOID
)
BTRFS_SUBVOLUME_SNAPSHOT: Final = Procedure(
    number=322, name="btrfs_subvolume_snapshot", args=BtrfsSubvolumeSnapshotArgs, result=VOID
)
BTRFS_SUBVOLUME_SET_DEFAULT: Final = Procedure(
    number=326, name="btrfs_subvolume_set_default", args=BtrfsSubvolumeSetDefaultArgs, result=VOID
)
BTRFS_SUBVOLUME_GET_DEFAULT: Final = Procedure(
    number=425, name="btrfs_subvolume_get_default", args=BtrfsSubvolumeListArgs, result=INT64
)
BTRFS_SUBVOLUME_SHOW: Final = Procedure(
    number=426, name="btrfs_subvolume_show", args=BtrfsSubvolumeDeleteArgs, result=PAIRS
)
MKFS_BTRFS: Final = Procedure(number=317, name="mkfs_btrfs", args=MkfsBtrfsArgs, result=VOID)
BTRFS_FSCK: Final = Procedure(number=332, name="btrfs_fsck", args=BtrfsFsckArgs, result=VOID)
BTRFS_FILESYSTEM_SYNC: Final = Procedure(
    number=327, name="btrfs_filesystem_sync", args=BtrfsFilesystemSyncArgs, result=VOID
)
BTRFS_FILESYSTEM_RESIZE: Final = Procedure(
    number=289, name="btrfs_filesystem_resize", args=BtrfsFilesystemResizeArgs, result=VOID
)
BTRFS_FILESYSTEM_DEFRAGMENT: Final = Procedure(
    number=443, name="btrfs_filesystem_defragment", args=BtrfsFilesystemDefragmentArgs, result=VOID
)
BTRFS_FILESYSTEM_SHOW: Final = Procedure(number=465, name="btrfs_filesystem_show", args=DeviceArgs, result=STRING_LIST)
BTRFS_DEVICE_ADD: Final = Procedure(number=329, name="btrfs_device_add", args=BtrfsDeviceAddArgs, result=VOID)
BTRFS_DEVICE_DELETE: Final = Procedure(number=330, name="btrfs_device_delete", args=BtrfsDeviceAddArgs, result=VOID)
BTRFS_REPLACE: Final = Procedure(number=455, name="btrfs_replace", args=BtrfsReplaceArgs, result=VOID)
BTRFS_IMAGE: Final = Procedure(number=453, name="btrfs_image", args=BtrfsImageArgs, result=VOID)
