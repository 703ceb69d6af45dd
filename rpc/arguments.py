"""Arguments of the calls: field order is wire order; a default marks an optional argument, bits counted from the first.

Names of calls and fields are libguestfs's (guestfs-procedures.tsv); FileIn and FileOut parameters take no space on the
wire and have no field here.
"""

from dataclasses import dataclass
from typing import TypeAlias

from rpc.codec import (
    Device,
    DeviceOrPath,
    FileName,
    GuestPath,
    Int32,
    Int64,
    Mountable,
    MountableOrPath,
    UInt32,
)


@dataclass(frozen=True, slots=True)
class NoArgs:
    """Carry nothing."""


@dataclass(frozen=True, slots=True)
class PathArgs:
    """Carry the one path that many calls take."""

    path: GuestPath


@dataclass(frozen=True, slots=True)
class DeviceArgs:
    """Carry the one device that many calls take."""

    device: Device


@dataclass(frozen=True, slots=True)
class MountableArgs:
    """Carry the one mountable that many calls take."""

    mountable: Mountable


@dataclass(frozen=True, slots=True)
class MountArgs:
    """Carry the arguments of ``mount``, ``mount_ro``."""

    mountable: Mountable
    mountpoint: str


@dataclass(frozen=True, slots=True)
class AugDefvarArgs:
    """Carry the arguments of ``aug_defvar``."""

    name: str
    expr: str | None


@dataclass(frozen=True, slots=True)
class AugDefnodeArgs:
    """Carry the arguments of ``aug_defnode``."""

    name: str
    expr: str
    val: str


@dataclass(frozen=True, slots=True)
class ChmodArgs:
    """Carry the arguments of ``chmod``."""

    mode: Int32
    path: GuestPath


@dataclass(frozen=True, slots=True)
class IsFileArgs:
    """Carry the arguments of ``is_file``, ``is_dir``."""

    path: GuestPath
    followsymlinks: bool | None = None


@dataclass(frozen=True, slots=True)
class UmountArgs:
    """Carry the arguments of ``umount``."""

    pathordevice: DeviceOrPath
    force: bool | None = None
    lazyunmount: bool | None = None


@dataclass(frozen=True, slots=True)
class UploadArgs:
    """Carry the arguments of ``upload``, ``download``."""

    remotefilename: DeviceOrPath


@dataclass(frozen=True, slots=True)
class ChecksumArgs:
    """Carry the arguments of ``checksum``."""

    csumtype: str
    path: GuestPath


@dataclass(frozen=True, slots=True)
class TarOutArgs:
    """Carry the arguments of ``tar_out``."""

    directory: str
    compress: str | None = None
    numericowner: bool | None = None
    excludes: list[str] | None = None
    xattrs: bool | None = None
    selinux: bool | None = None
    acls: bool | None = None


@dataclass(frozen=True, slots=True)
class MountOptionsArgs:
    """Carry the arguments of ``mount_options``."""

    options: str
    mountable: Mountable
    mountpoint: str


@dataclass(frozen=True, slots=True)
class MountVfsArgs:
    """Carry the arguments of ``mount_vfs``."""

    options: str
    vfstype: str
    mountable: Mountable
    mountpoint: str


@dataclass(frozen=True, slots=True)
class DebugArgs:
    """Carry the arguments of ``debug``."""

    subcmd: str
    extraargs: list[str]


@dataclass(frozen=True, slots=True)
class VgActivateArgs:
    """Carry the arguments of ``vg_activate``."""

    activate: bool
    volgroups: list[str]


@dataclass(frozen=True, slots=True)
class MknodArgs:
    """Carry the arguments of ``mknod``."""

    mode: Int32
    devmajor: Int32
    devminor: Int32
    path: GuestPath


@dataclass(frozen=True, slots=True)
class UmaskArgs:
    """Carry the arguments of ``umask``."""

    mask: Int32


@dataclass(frozen=True, slots=True)
class ReaddirArgs:
    """Carry the arguments of ``readdir``, ``ls0``, ``internal_readdir``."""

    dir: GuestPath


@dataclass(frozen=True, slots=True)
class LsetxattrArgs:
    """Carry the arguments of ``lsetxattr``."""

    xattr: str
    val: str
    vallen: Int32
    path: GuestPath


@dataclass(frozen=True, slots=True)
class LremovexattrArgs:
    """Carry the arguments of ``lremovexattr``."""

    xattr: str
    path: GuestPath


@dataclass(frozen=True, slots=True)
class LnArgs:
    """Carry the arguments of ``ln``, ``ln_s``."""

    target: str
    linkname: GuestPath


@dataclass(frozen=True, slots=True)
class Find0Args:
    """Carry the arguments of ``find0``."""

    directory: GuestPath


@dataclass(frozen=True, slots=True)
class TruncateSizeArgs:
    """Carry the arguments of ``truncate_size``."""

    path: GuestPath
    size: Int64


@dataclass(frozen=True, slots=True)
class UtimensArgs:
    """Carry the arguments of ``utimens``."""

    path: GuestPath
    atsecs: Int64
    atnsecs: Int64
    mtsecs: Int64
    mtnsecs: Int64


@dataclass(frozen=True, slots=True)
class MkdirModeArgs:
    """Carry the arguments of ``mkdir_mode``."""

    path: GuestPath
    mode: Int32


@dataclass(frozen=True, slots=True)
class LchownArgs:
    """Carry the arguments of ``lchown``."""

    owner: Int32
    group: Int32
    path: GuestPath


@dataclass(frozen=True, slots=True)
class InternalLxattrlistArgs:
    """Carry the arguments of ``internal_lxattrlist``, ``internal_readlinklist``, ``internal_lstatnslist``."""

    path: GuestPath
    names: list[FileName]


@dataclass(frozen=True, slots=True)
class PreadArgs:
    """Carry the arguments of ``pread``."""

    path: GuestPath
    count: Int32
    offset: Int64


@dataclass(frozen=True, slots=True)
class FilesizeArgs:
    """Carry the arguments of ``filesize``."""

    file: GuestPath


@dataclass(frozen=True, slots=True)
class ChecksumDeviceArgs:
    """Carry the arguments of ``checksum_device``."""

    csumtype: str
    device: Device


@dataclass(frozen=True, slots=True)
class InternalWriteArgs:
    """Carry the arguments of ``internal_write``."""

    path: GuestPath
    content: bytes


@dataclass(frozen=True, slots=True)
class PwriteArgs:
    """Carry the arguments of ``pwrite``."""

    path: GuestPath
    content: bytes
    offset: Int64


@dataclass(frozen=True, slots=True)
class UploadOffsetArgs:
    """Carry the arguments of ``upload_offset``."""

    remotefilename: DeviceOrPath
    offset: Int64


@dataclass(frozen=True, slots=True)
class DownloadOffsetArgs:
    """Carry the arguments of ``download_offset``."""

    remotefilename: DeviceOrPath
    offset: Int64
    size: Int64


@dataclass(frozen=True, slots=True)
class PwriteDeviceArgs:
    """Carry the arguments of ``pwrite_device``."""

    device: Device
    content: bytes
    offset: Int64


@dataclass(frozen=True, slots=True)
class PreadDeviceArgs:
    """Carry the arguments of ``pread_device``."""

    device: Device
    count: Int32
    offset: Int64


@dataclass(frozen=True, slots=True)
class LvmCanonicalLvNameArgs:
    """Carry the arguments of ``lvm_canonical_lv_name``."""

    lvname: str


@dataclass(frozen=True, slots=True)
class MkfsArgs:
    """Carry the arguments of ``mkfs``."""

    fstype: str
    device: Device
    blocksize: Int32 | None = None
    features: str | None = None
    inode: Int32 | None = None
    sectorsize: Int32 | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class GetxattrArgs:
    """Carry the arguments of ``getxattr``, ``lgetxattr``."""

    path: GuestPath
    name: str


@dataclass(frozen=True, slots=True)
class MdDetailArgs:
    """Carry the arguments of ``md_detail``, ``md_stat``."""

    md: Device


@dataclass(frozen=True, slots=True)
class BtrfsSubvolumeListArgs:
    """Carry the arguments of ``btrfs_subvolume_list``."""

    fs: MountableOrPath


@dataclass(frozen=True, slots=True)
class XfsInfoArgs:
    """Carry the arguments of ``xfs_info``."""

    pathordevice: DeviceOrPath


@dataclass(frozen=True, slots=True)
class RenameArgs:
    """Carry the arguments of ``rename``."""

    oldpath: GuestPath
    newpath: GuestPath


@dataclass(frozen=True, slots=True)
class InternalFeatureAvailableArgs:
    """Carry the arguments of ``internal_feature_available``."""

    group: str


@dataclass(frozen=True, slots=True)
class InspectGetMajorVersionArgs:
    """Carry the arguments of ``inspect_get_major_version``, ``inspect_get_mountpoints``."""

    root: Mountable


@dataclass(frozen=True, slots=True)
class CryptsetupOpenArgs:
    """Carry the arguments of ``cryptsetup_open``."""

    device: Device
    key: str
    mapname: str
    readonly: bool | None = None
    crypttype: str | None = None


@dataclass(frozen=True, slots=True)
class HelloArgs:
    """Carry the arguments of ``hello``: what the client speaks and the longest FileOut chunk it takes."""

    version: UInt32
    chunk_max_bytes: UInt32


@dataclass(frozen=True, slots=True)
class ReadFilesArgs:
    """Carry the arguments of ``read_files``: names in one directory and the most bytes wanted of each."""

    path: GuestPath
    names: list[FileName]
    max_bytes: UInt32


ListDirectoryArgs: TypeAlias = PathArgs
BlkidArgs: TypeAlias = DeviceArgs
BlockdevGetsize64Args: TypeAlias = DeviceArgs
BlockdevGetssArgs: TypeAlias = DeviceArgs
CryptsetupCloseArgs: TypeAlias = DeviceArgs
DownloadArgs: TypeAlias = UploadArgs
ExistsArgs: TypeAlias = PathArgs
GetxattrsArgs: TypeAlias = PathArgs
InspectGetMountpointsArgs: TypeAlias = InspectGetMajorVersionArgs
InternalLstatnslistArgs: TypeAlias = InternalLxattrlistArgs
InternalParseMountableArgs: TypeAlias = MountableArgs
InternalReaddirArgs: TypeAlias = ReaddirArgs
InternalReadlinklistArgs: TypeAlias = InternalLxattrlistArgs
IsDirArgs: TypeAlias = IsFileArgs
IsSymlinkArgs: TypeAlias = PathArgs
IsWholeDeviceArgs: TypeAlias = DeviceArgs
LgetxattrArgs: TypeAlias = GetxattrArgs
LgetxattrsArgs: TypeAlias = PathArgs
LnSArgs: TypeAlias = LnArgs
Ls0Args: TypeAlias = ReaddirArgs
LstatnsArgs: TypeAlias = PathArgs
MdStatArgs: TypeAlias = MdDetailArgs
MountRoArgs: TypeAlias = MountArgs
PartGetParttypeArgs: TypeAlias = DeviceArgs
PartListArgs: TypeAlias = DeviceArgs
ReadlinkArgs: TypeAlias = PathArgs
RealpathArgs: TypeAlias = PathArgs
RmArgs: TypeAlias = PathArgs
RmdirArgs: TypeAlias = PathArgs
StatnsArgs: TypeAlias = PathArgs
StatvfsArgs: TypeAlias = PathArgs
VfsLabelArgs: TypeAlias = MountableArgs
VfsTypeArgs: TypeAlias = MountableArgs
VfsUuidArgs: TypeAlias = MountableArgs
