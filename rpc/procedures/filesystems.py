"""Find, make, check and name filesystems of any type."""

from typing import Final, NamedTuple

from rpc.arguments import DeviceArgs, MountableArgs, NoArgs
from rpc.codec import BOOL, INT32, INT64, PAIRS, STRING, VOID, Device, GuestPath, Int32, Int64, Mountable
from rpc.procedure import Procedure


class FilesystemAvailableArgs(NamedTuple):
    """Carry the arguments of ``filesystem_available``."""

    filesystem: str


class MkfsArgs(NamedTuple):
    """Carry the arguments of ``mkfs``."""

    fstype: str
    device: Device
    blocksize: Int32 | None = None
    features: str | None = None
    inode: Int32 | None = None
    sectorsize: Int32 | None = None
    label: str | None = None


class MkfsBArgs(NamedTuple):
    """Carry the arguments of ``mkfs_b``."""

    fstype: str
    blocksize: Int32
    device: Device


class FsckArgs(NamedTuple):
    """Carry the arguments of ``fsck``."""

    fstype: str
    device: Device


class SetLabelArgs(NamedTuple):
    """Carry the arguments of ``set_label``."""

    mountable: Mountable
    label: str


class SetUuidArgs(NamedTuple):
    """Carry the arguments of ``set_uuid``."""

    device: Device
    uuid: str


class FstrimArgs(NamedTuple):
    """Carry the arguments of ``fstrim``."""

    mountpoint: GuestPath
    offset: Int64 | None = None
    length: Int64 | None = None
    minimumfreeextent: Int64 | None = None


class MkswapArgs(NamedTuple):
    """Carry the arguments of ``mkswap``."""

    device: Device
    label: str | None = None
    uuid: str | None = None


LIST_FILESYSTEMS: Final = Procedure(number=476, name="list_filesystems", args=NoArgs, result=PAIRS)
FILESYSTEM_AVAILABLE: Final = Procedure(
    number=333, name="filesystem_available", args=FilesystemAvailableArgs, result=BOOL
)
VFS_TYPE: Final = Procedure(number=198, name="vfs_type", args=MountableArgs, result=STRING)
VFS_LABEL: Final = Procedure(number=253, name="vfs_label", args=MountableArgs, result=STRING)
VFS_UUID: Final = Procedure(number=254, name="vfs_uuid", args=MountableArgs, result=STRING)
VFS_MINIMUM_SIZE: Final = Procedure(number=457, name="vfs_minimum_size", args=MountableArgs, result=INT64)
BLKID: Final = Procedure(number=303, name="blkid", args=DeviceArgs, result=PAIRS)
WIPEFS: Final = Procedure(number=306, name="wipefs", args=DeviceArgs, result=VOID)
MKFS: Final = Procedure(number=278, name="mkfs", args=MkfsArgs, result=VOID)
MKFS_B: Final = Procedure(number=187, name="mkfs_b", args=MkfsBArgs, result=VOID)
FSCK: Final = Procedure(number=84, name="fsck", args=FsckArgs, result=INT32)
SET_LABEL: Final = Procedure(number=310, name="set_label", args=SetLabelArgs, result=VOID)
SET_UUID: Final = Procedure(number=403, name="set_uuid", args=SetUuidArgs, result=VOID)
SET_UUID_RANDOM: Final = Procedure(number=456, name="set_uuid_random", args=DeviceArgs, result=VOID)
FSTRIM: Final = Procedure(number=334, name="fstrim", args=FstrimArgs, result=VOID)
ZEROFREE: Final = Procedure(number=97, name="zerofree", args=DeviceArgs, result=VOID)
F2FS_EXPAND: Final = Procedure(number=505, name="f2fs_expand", args=DeviceArgs, result=VOID)
MKSWAP: Final = Procedure(number=130, name="mkswap", args=MkswapArgs, result=VOID)
