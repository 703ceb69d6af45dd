"""Arguments of the calls: field order is wire order; a default marks an optional argument, bits counted from the first.

Names of calls and fields are libguestfs's (guestfs-procedures.tsv); FileIn and FileOut parameters take no space on the
wire and have no field here.
"""

from typing import NamedTuple, TypeAlias

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


class NoArgs(NamedTuple):
    """Carry nothing."""


class PathArgs(NamedTuple):
    """Carry the one path that many calls take."""

    path: GuestPath


class DeviceArgs(NamedTuple):
    """Carry the one device that many calls take."""

    device: Device


class MountableArgs(NamedTuple):
    """Carry the one mountable that many calls take."""

    mountable: Mountable


class MountArgs(NamedTuple):
    """Carry the arguments of ``mount``, ``mount_ro``."""

    mountable: Mountable
    mountpoint: str


class AugDefvarArgs(NamedTuple):
    """Carry the arguments of ``aug_defvar``."""

    name: str
    expr: str | None


class AugDefnodeArgs(NamedTuple):
    """Carry the arguments of ``aug_defnode``."""

    name: str
    expr: str
    val: str


class IsFileArgs(NamedTuple):
    """Carry the arguments of ``is_file``, ``is_dir``."""

    path: GuestPath
    followsymlinks: bool | None = None


class UmountArgs(NamedTuple):
    """Carry the arguments of ``umount``."""

    pathordevice: DeviceOrPath
    force: bool | None = None
    lazyunmount: bool | None = None


class UploadArgs(NamedTuple):
    """Carry the arguments of ``upload``, ``download``."""

    remotefilename: DeviceOrPath


class ChecksumArgs(NamedTuple):
    """Carry the arguments of ``checksum``."""

    csumtype: str
    path: GuestPath


class TarOutArgs(NamedTuple):
    """Carry the arguments of ``tar_out``."""

    directory: str
    compress: str | None = None
    numericowner: bool | None = None
    excludes: list[str] | None = None
    xattrs: bool | None = None
    selinux: bool | None = None
    acls: bool | None = None


class MountOptionsArgs(NamedTuple):
    """Carry the arguments of ``mount_options``."""

    options: str
    mountable: Mountable
    mountpoint: str


class MountVfsArgs(NamedTuple):
    """Carry the arguments of ``mount_vfs``."""

    options: str
    vfstype: str
    mountable: Mountable
    mountpoint: str


class DebugArgs(NamedTuple):
    """Carry the arguments of ``debug``."""

    subcmd: str
    extraargs: list[str]


class VgActivateArgs(NamedTuple):
    """Carry the arguments of ``vg_activate``."""

    activate: bool
    volgroups: list[str]


class UmaskArgs(NamedTuple):
    """Carry the arguments of ``umask``."""

    mask: Int32


class ReaddirArgs(NamedTuple):
    """Carry the arguments of ``readdir``, ``ls0``, ``internal_readdir``."""

    dir: GuestPath


class Find0Args(NamedTuple):
    """Carry the arguments of ``find0``."""

    directory: GuestPath


class InternalLxattrlistArgs(NamedTuple):
    """Carry the arguments of ``internal_lxattrlist``, ``internal_readlinklist``, ``internal_lstatnslist``."""

    path: GuestPath
    names: list[FileName]


class PreadArgs(NamedTuple):
    """Carry the arguments of ``pread``."""

    path: GuestPath
    count: Int32  # type: ignore[assignment]  # hides tuple.count
    offset: Int64


class FilesizeArgs(NamedTuple):
    """Carry the arguments of ``filesize``."""

    file: GuestPath


class ChecksumDeviceArgs(NamedTuple):
    """Carry the arguments of ``checksum_device``."""

    csumtype: str
    device: Device


class DownloadOffsetArgs(NamedTuple):
    """Carry the arguments of ``download_offset``."""

    remotefilename: DeviceOrPath
    offset: Int64
    size: Int64


class PreadDeviceArgs(NamedTuple):
    """Carry the arguments of ``pread_device``."""

    device: Device
    count: Int32  # type: ignore[assignment]  # hides tuple.count
    offset: Int64


class LvmCanonicalLvNameArgs(NamedTuple):
    """Carry the arguments of ``lvm_canonical_lv_name``."""

    lvname: str


class GetxattrArgs(NamedTuple):
    """Carry the arguments of ``getxattr``, ``lgetxattr``."""

    path: GuestPath
    name: str


class MdDetailArgs(NamedTuple):
    """Carry the arguments of ``md_detail``, ``md_stat``."""

    md: Device


class BtrfsSubvolumeListArgs(NamedTuple):
    """Carry the arguments of ``btrfs_subvolume_list``."""

    fs: MountableOrPath


class XfsInfoArgs(NamedTuple):
    """Carry the arguments of ``xfs_info``."""

    pathordevice: DeviceOrPath


class InternalFeatureAvailableArgs(NamedTuple):
    """Carry the arguments of ``internal_feature_available``."""

    group: str


class InspectGetMajorVersionArgs(NamedTuple):
    """Carry the arguments of ``inspect_get_major_version``, ``inspect_get_mountpoints``."""

    root: Mountable


class CryptsetupOpenArgs(NamedTuple):
    """Carry the arguments of ``cryptsetup_open``."""

    device: Device
    key: str
    mapname: str
    readonly: bool | None = None
    crypttype: str | None = None


class HelloArgs(NamedTuple):
    """Carry the arguments of ``hello``: what the client speaks and the longest FileOut chunk it takes."""

    version: UInt32
    chunk_max_bytes: UInt32


class ListDirectoriesArgs(NamedTuple):
    """Carry the arguments of ``list_directories``."""

    paths: list[GuestPath]


class ReadFilesArgs(NamedTuple):
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
Ls0Args: TypeAlias = ReaddirArgs
LstatnsArgs: TypeAlias = PathArgs
MdStatArgs: TypeAlias = MdDetailArgs
MountRoArgs: TypeAlias = MountArgs
PartGetParttypeArgs: TypeAlias = DeviceArgs
PartListArgs: TypeAlias = DeviceArgs
ReadlinkArgs: TypeAlias = PathArgs
RealpathArgs: TypeAlias = PathArgs
StatnsArgs: TypeAlias = PathArgs
StatvfsArgs: TypeAlias = PathArgs
VfsLabelArgs: TypeAlias = MountableArgs
VfsTypeArgs: TypeAlias = MountableArgs
VfsUuidArgs: TypeAlias = MountableArgs
