"""Arguments of the calls that change the guest; otherwise like ``rpc.arguments``."""

from typing import NamedTuple, TypeAlias

from rpc.arguments import PathArgs
from rpc.codec import Device, DeviceOrPath, GuestPath, Int32, Int64


class ChmodArgs(NamedTuple):
    """Carry the arguments of ``chmod``."""

    mode: Int32
    path: GuestPath


class MknodArgs(NamedTuple):
    """Carry the arguments of ``mknod``."""

    mode: Int32
    devmajor: Int32
    devminor: Int32
    path: GuestPath


class LsetxattrArgs(NamedTuple):
    """Carry the arguments of ``lsetxattr``."""

    xattr: str
    val: str
    vallen: Int32
    path: GuestPath


class LremovexattrArgs(NamedTuple):
    """Carry the arguments of ``lremovexattr``."""

    xattr: str
    path: GuestPath


class LnArgs(NamedTuple):
    """Carry the arguments of ``ln``, ``ln_s``."""

    target: str
    linkname: GuestPath


class TruncateSizeArgs(NamedTuple):
    """Carry the arguments of ``truncate_size``."""

    path: GuestPath
    size: Int64


class UtimensArgs(NamedTuple):
    """Carry the arguments of ``utimens``."""

    path: GuestPath
    atsecs: Int64
    atnsecs: Int64
    mtsecs: Int64
    mtnsecs: Int64


class MkdirModeArgs(NamedTuple):
    """Carry the arguments of ``mkdir_mode``."""

    path: GuestPath
    mode: Int32


class LchownArgs(NamedTuple):
    """Carry the arguments of ``lchown``."""

    owner: Int32
    group: Int32
    path: GuestPath


class InternalWriteArgs(NamedTuple):
    """Carry the arguments of ``internal_write``."""

    path: GuestPath
    content: bytes


class PwriteArgs(NamedTuple):
    """Carry the arguments of ``pwrite``."""

    path: GuestPath
    content: bytes
    offset: Int64


class UploadOffsetArgs(NamedTuple):
    """Carry the arguments of ``upload_offset``."""

    remotefilename: DeviceOrPath
    offset: Int64


class PwriteDeviceArgs(NamedTuple):
    """Carry the arguments of ``pwrite_device``."""

    device: Device
    content: bytes
    offset: Int64


class MkfsArgs(NamedTuple):
    """Carry the arguments of ``mkfs``."""

    fstype: str
    device: Device
    blocksize: Int32 | None = None
    features: str | None = None
    inode: Int32 | None = None
    sectorsize: Int32 | None = None
    label: str | None = None


class RenameArgs(NamedTuple):
    """Carry the arguments of ``rename``."""

    oldpath: GuestPath
    newpath: GuestPath


LnSArgs: TypeAlias = LnArgs
RmArgs: TypeAlias = PathArgs
RmdirArgs: TypeAlias = PathArgs
