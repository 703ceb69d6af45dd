"""The one table of calls. Both ends read it: numbers, names, arguments and results are those of libguestfs.

A row never changes its number; calls are only added. ``BY_NUMBER`` and ``BY_NAME`` index the table.
"""

from enum import Enum, auto
from typing import Any, Final, Generic, NamedTuple, TypeVar

from rpc.arguments import (
    AugDefnodeArgs,
    AugDefvarArgs,
    BlkidArgs,
    BlockdevGetsize64Args,
    BlockdevGetssArgs,
    BtrfsSubvolumeListArgs,
    ChecksumArgs,
    ChecksumDeviceArgs,
    CryptsetupCloseArgs,
    CryptsetupOpenArgs,
    DebugArgs,
    DownloadArgs,
    DownloadOffsetArgs,
    ExistsArgs,
    FilesizeArgs,
    Find0Args,
    GetxattrArgs,
    GetxattrsArgs,
    HelloArgs,
    InspectGetMajorVersionArgs,
    InspectGetMountpointsArgs,
    InternalFeatureAvailableArgs,
    InternalLstatnslistArgs,
    InternalLxattrlistArgs,
    InternalParseMountableArgs,
    InternalReaddirArgs,
    InternalReadlinklistArgs,
    IsDirArgs,
    IsFileArgs,
    IsSymlinkArgs,
    IsWholeDeviceArgs,
    LgetxattrArgs,
    LgetxattrsArgs,
    ListDirectoriesArgs,
    ListDirectoryArgs,
    Ls0Args,
    LstatnsArgs,
    LvmCanonicalLvNameArgs,
    MdDetailArgs,
    MdStatArgs,
    MountArgs,
    MountOptionsArgs,
    MountRoArgs,
    MountVfsArgs,
    NoArgs,
    PartGetParttypeArgs,
    PartListArgs,
    PreadArgs,
    PreadDeviceArgs,
    ReaddirArgs,
    ReadFilesArgs,
    ReadlinkArgs,
    RealpathArgs,
    StatnsArgs,
    StatvfsArgs,
    TarOutArgs,
    UmaskArgs,
    UmountArgs,
    UploadArgs,
    VfsLabelArgs,
    VfsTypeArgs,
    VfsUuidArgs,
    VgActivateArgs,
    XfsInfoArgs,
)
from rpc.codec import (
    BOOL,
    INT32,
    INT64,
    OPAQUE,
    PAIRS,
    STRING,
    VOID,
    Codec,
    codec_of,
    list_of,
    optional_fields,
)
from rpc.hot import DIRENT_LIST, STATNS_LIST, XATTR_LIST
from rpc.types import (
    Btrfssubvolume,
    Hello,
    IntBool,
    InternalMountable,
    LvmLv,
    LvmPv,
    LvmVg,
    Mdstat,
    Partition,
    Statns,
    Statvfs,
    Utsname,
    Xfsinfo,
)
from rpc.write_arguments import (
    ChmodArgs,
    InternalWriteArgs,
    LchownArgs,
    LnArgs,
    LnSArgs,
    LremovexattrArgs,
    LsetxattrArgs,
    MkdirModeArgs,
    MkfsArgs,
    MknodArgs,
    PwriteArgs,
    PwriteDeviceArgs,
    RenameArgs,
    RmArgs,
    RmdirArgs,
    TruncateSizeArgs,
    UploadOffsetArgs,
    UtimensArgs,
)

ArgsT = TypeVar("ArgsT")
RetT = TypeVar("RetT")


class Transfer(Enum):
    """Which way file chunks go after the call message."""

    NONE = auto()
    FILE_IN = auto()
    FILE_OUT = auto()


class Procedure(NamedTuple, Generic[ArgsT, RetT]):
    """One call.

    Attributes:
        number: never reused; from 10000 on it is an extension of ours.
        args: named tuple of the arguments; its field kinds drive the daemon's checks.
        result: layout of an ok reply's body.
    """

    number: int
    name: str
    args: type[ArgsT]
    result: Codec[RetT]
    transfer: Transfer = Transfer.NONE

    @property
    def args_codec(self) -> Codec[ArgsT]:
        """Return the layout of the arguments."""
        return codec_of(self.args)

    @property
    def optargs(self) -> tuple[str, ...]:
        """Name the optional arguments in the order of their bits."""
        return optional_fields(self.args)


STRINGS: Final = list_of(STRING)

MOUNT: Final = Procedure(number=1, name="mount", args=MountArgs, result=VOID)
SYNC: Final = Procedure(number=2, name="sync", args=NoArgs, result=VOID)
LIST_DEVICES: Final = Procedure(number=7, name="list_devices", args=NoArgs, result=STRINGS)
LIST_PARTITIONS: Final = Procedure(number=8, name="list_partitions", args=NoArgs, result=STRINGS)
LVS: Final = Procedure(number=11, name="lvs", args=NoArgs, result=STRINGS)
PVS_FULL: Final = Procedure(number=12, name="pvs_full", args=NoArgs, result=list_of(codec_of(LvmPv)))
VGS_FULL: Final = Procedure(number=13, name="vgs_full", args=NoArgs, result=list_of(codec_of(LvmVg)))
LVS_FULL: Final = Procedure(number=14, name="lvs_full", args=NoArgs, result=list_of(codec_of(LvmLv)))
AUG_DEFVAR: Final = Procedure(number=17, name="aug_defvar", args=AugDefvarArgs, result=INT32)
AUG_DEFNODE: Final = Procedure(number=18, name="aug_defnode", args=AugDefnodeArgs, result=codec_of(IntBool))
RM: Final = Procedure(number=29, name="rm", args=RmArgs, result=VOID)
RMDIR: Final = Procedure(number=30, name="rmdir", args=RmdirArgs, result=VOID)
CHMOD: Final = Procedure(number=34, name="chmod", args=ChmodArgs, result=VOID)
EXISTS: Final = Procedure(number=36, name="exists", args=ExistsArgs, result=BOOL)
IS_FILE: Final = Procedure(number=37, name="is_file", args=IsFileArgs, result=BOOL)
IS_DIR: Final = Procedure(number=38, name="is_dir", args=IsDirArgs, result=BOOL)
UMOUNT: Final = Procedure(number=45, name="umount", args=UmountArgs, result=VOID)
MOUNTS: Final = Procedure(number=46, name="mounts", args=NoArgs, result=STRINGS)
UMOUNT_ALL: Final = Procedure(number=47, name="umount_all", args=NoArgs, result=VOID)
STATVFS: Final = Procedure(number=54, name="statvfs", args=StatvfsArgs, result=codec_of(Statvfs))
BLOCKDEV_GETSS: Final = Procedure(number=59, name="blockdev_getss", args=BlockdevGetssArgs, result=INT32)
BLOCKDEV_GETSIZE64: Final = Procedure(number=63, name="blockdev_getsize64", args=BlockdevGetsize64Args, result=INT64)
UPLOAD: Final = Procedure(number=66, name="upload", args=UploadArgs, result=VOID, transfer=Transfer.FILE_IN)
DOWNLOAD: Final = Procedure(number=67, name="download", args=DownloadArgs, result=VOID, transfer=Transfer.FILE_OUT)
CHECKSUM: Final = Procedure(number=68, name="checksum", args=ChecksumArgs, result=STRING)
TAR_OUT: Final = Procedure(number=70, name="tar_out", args=TarOutArgs, result=VOID, transfer=Transfer.FILE_OUT)
MOUNT_RO: Final = Procedure(number=73, name="mount_ro", args=MountRoArgs, result=VOID)
MOUNT_OPTIONS: Final = Procedure(number=74, name="mount_options", args=MountOptionsArgs, result=VOID)
MOUNT_VFS: Final = Procedure(number=75, name="mount_vfs", args=MountVfsArgs, result=VOID)
DEBUG: Final = Procedure(number=76, name="debug", args=DebugArgs, result=STRING)
PING_DAEMON: Final = Procedure(number=92, name="ping_daemon", args=NoArgs, result=VOID)
VG_ACTIVATE: Final = Procedure(number=104, name="vg_activate", args=VgActivateArgs, result=VOID)
MKNOD: Final = Procedure(number=133, name="mknod", args=MknodArgs, result=VOID)
UMASK: Final = Procedure(number=137, name="umask", args=UmaskArgs, result=INT32)
READDIR: Final = Procedure(number=138, name="readdir", args=ReaddirArgs, result=DIRENT_LIST)
GETXATTRS: Final = Procedure(number=141, name="getxattrs", args=GetxattrsArgs, result=XATTR_LIST)
LGETXATTRS: Final = Procedure(number=142, name="lgetxattrs", args=LgetxattrsArgs, result=XATTR_LIST)
LSETXATTR: Final = Procedure(number=144, name="lsetxattr", args=LsetxattrArgs, result=VOID)
LREMOVEXATTR: Final = Procedure(number=146, name="lremovexattr", args=LremovexattrArgs, result=VOID)
MOUNTPOINTS: Final = Procedure(number=147, name="mountpoints", args=NoArgs, result=PAIRS)
REALPATH: Final = Procedure(number=163, name="realpath", args=RealpathArgs, result=STRING)
LN: Final = Procedure(number=164, name="ln", args=LnArgs, result=VOID)
LN_S: Final = Procedure(number=166, name="ln_s", args=LnSArgs, result=VOID)
READLINK: Final = Procedure(number=168, name="readlink", args=ReadlinkArgs, result=OPAQUE)
FIND0: Final = Procedure(number=196, name="find0", args=Find0Args, result=VOID, transfer=Transfer.FILE_OUT)
VFS_TYPE: Final = Procedure(number=198, name="vfs_type", args=VfsTypeArgs, result=STRING)
TRUNCATE_SIZE: Final = Procedure(number=200, name="truncate_size", args=TruncateSizeArgs, result=VOID)
UTIMENS: Final = Procedure(number=201, name="utimens", args=UtimensArgs, result=VOID)
MKDIR_MODE: Final = Procedure(number=202, name="mkdir_mode", args=MkdirModeArgs, result=VOID)
LCHOWN: Final = Procedure(number=203, name="lchown", args=LchownArgs, result=VOID)
INTERNAL_LXATTRLIST: Final = Procedure(
    number=205, name="internal_lxattrlist", args=InternalLxattrlistArgs, result=XATTR_LIST
)
INTERNAL_READLINKLIST: Final = Procedure(
    number=206, name="internal_readlinklist", args=InternalReadlinklistArgs, result=list_of(OPAQUE)
)
PREAD: Final = Procedure(number=207, name="pread", args=PreadArgs, result=OPAQUE)
PART_LIST: Final = Procedure(number=213, name="part_list", args=PartListArgs, result=list_of(codec_of(Partition)))
PART_GET_PARTTYPE: Final = Procedure(number=214, name="part_get_parttype", args=PartGetParttypeArgs, result=STRING)
FILESIZE: Final = Procedure(number=218, name="filesize", args=FilesizeArgs, result=INT64)
CHECKSUM_DEVICE: Final = Procedure(number=237, name="checksum_device", args=ChecksumDeviceArgs, result=STRING)
GET_UMASK: Final = Procedure(number=240, name="get_umask", args=NoArgs, result=INT32)
INTERNAL_WRITE: Final = Procedure(number=246, name="internal_write", args=InternalWriteArgs, result=VOID)
PWRITE: Final = Procedure(number=247, name="pwrite", args=PwriteArgs, result=INT32)
AVAILABLE_ALL_GROUPS: Final = Procedure(number=251, name="available_all_groups", args=NoArgs, result=STRINGS)
VFS_LABEL: Final = Procedure(number=253, name="vfs_label", args=VfsLabelArgs, result=STRING)
VFS_UUID: Final = Procedure(number=254, name="vfs_uuid", args=VfsUuidArgs, result=STRING)
IS_SYMLINK: Final = Procedure(number=270, name="is_symlink", args=IsSymlinkArgs, result=BOOL)
UPLOAD_OFFSET: Final = Procedure(
    number=273,
    name="upload_offset",
    args=UploadOffsetArgs,
    result=VOID,
    transfer=Transfer.FILE_IN,
)
DOWNLOAD_OFFSET: Final = Procedure(
    number=274, name="download_offset", args=DownloadOffsetArgs, result=VOID, transfer=Transfer.FILE_OUT
)
PWRITE_DEVICE: Final = Procedure(number=275, name="pwrite_device", args=PwriteDeviceArgs, result=INT32)
PREAD_DEVICE: Final = Procedure(number=276, name="pread_device", args=PreadDeviceArgs, result=OPAQUE)
LVM_CANONICAL_LV_NAME: Final = Procedure(
    number=277, name="lvm_canonical_lv_name", args=LvmCanonicalLvNameArgs, result=STRING
)
MKFS: Final = Procedure(number=278, name="mkfs", args=MkfsArgs, result=VOID)
GETXATTR: Final = Procedure(number=279, name="getxattr", args=GetxattrArgs, result=OPAQUE)
LGETXATTR: Final = Procedure(number=280, name="lgetxattr", args=LgetxattrArgs, result=OPAQUE)
INTERNAL_AUTOSYNC: Final = Procedure(number=282, name="internal_autosync", args=NoArgs, result=VOID)
LIST_DM_DEVICES: Final = Procedure(number=287, name="list_dm_devices", args=NoArgs, result=STRINGS)
LIST_MD_DEVICES: Final = Procedure(number=300, name="list_md_devices", args=NoArgs, result=STRINGS)
MD_DETAIL: Final = Procedure(number=301, name="md_detail", args=MdDetailArgs, result=PAIRS)
BLKID: Final = Procedure(number=303, name="blkid", args=BlkidArgs, result=PAIRS)
MD_STAT: Final = Procedure(number=316, name="md_stat", args=MdStatArgs, result=list_of(codec_of(Mdstat)))
BTRFS_SUBVOLUME_LIST: Final = Procedure(
    number=325,
    name="btrfs_subvolume_list",
    args=BtrfsSubvolumeListArgs,
    result=list_of(codec_of(Btrfssubvolume)),
)
NR_DEVICES: Final = Procedure(number=336, name="nr_devices", args=NoArgs, result=INT32)
XFS_INFO: Final = Procedure(number=337, name="xfs_info", args=XfsInfoArgs, result=codec_of(Xfsinfo))
UTSNAME: Final = Procedure(number=342, name="utsname", args=NoArgs, result=codec_of(Utsname))
LS0: Final = Procedure(number=347, name="ls0", args=Ls0Args, result=VOID, transfer=Transfer.FILE_OUT)
RENAME: Final = Procedure(number=394, name="rename", args=RenameArgs, result=VOID)
IS_WHOLE_DEVICE: Final = Procedure(number=395, name="is_whole_device", args=IsWholeDeviceArgs, result=BOOL)
INTERNAL_PARSE_MOUNTABLE: Final = Procedure(
    number=396,
    name="internal_parse_mountable",
    args=InternalParseMountableArgs,
    result=codec_of(InternalMountable),
)
STATNS: Final = Procedure(number=421, name="statns", args=StatnsArgs, result=codec_of(Statns))
LSTATNS: Final = Procedure(number=422, name="lstatns", args=LstatnsArgs, result=codec_of(Statns))
INTERNAL_LSTATNSLIST: Final = Procedure(
    number=423, name="internal_lstatnslist", args=InternalLstatnslistArgs, result=STATNS_LIST
)
INTERNAL_FEATURE_AVAILABLE: Final = Procedure(
    number=458, name="internal_feature_available", args=InternalFeatureAvailableArgs, result=INT32
)
LIST_FILESYSTEMS: Final = Procedure(number=476, name="list_filesystems", args=NoArgs, result=PAIRS)
INSPECT_OS: Final = Procedure(number=480, name="inspect_os", args=NoArgs, result=STRINGS)
INSPECT_GET_MAJOR_VERSION: Final = Procedure(
    number=489, name="inspect_get_major_version", args=InspectGetMajorVersionArgs, result=INT32
)
INSPECT_GET_MOUNTPOINTS: Final = Procedure(
    number=500, name="inspect_get_mountpoints", args=InspectGetMountpointsArgs, result=PAIRS
)
CRYPTSETUP_OPEN: Final = Procedure(number=508, name="cryptsetup_open", args=CryptsetupOpenArgs, result=VOID)
CRYPTSETUP_CLOSE: Final = Procedure(number=509, name="cryptsetup_close", args=CryptsetupCloseArgs, result=VOID)
INTERNAL_READDIR: Final = Procedure(
    number=511, name="internal_readdir", args=InternalReaddirArgs, result=VOID, transfer=Transfer.FILE_OUT
)
HELLO: Final = Procedure(number=10000, name="hello", args=HelloArgs, result=codec_of(Hello))
LIST_DIRECTORY: Final = Procedure(
    number=10001, name="list_directory", args=ListDirectoryArgs, result=VOID, transfer=Transfer.FILE_OUT
)
READ_FILES: Final = Procedure(
    number=10002, name="read_files", args=ReadFilesArgs, result=VOID, transfer=Transfer.FILE_OUT
)
LIST_DIRECTORIES: Final = Procedure(
    number=10003, name="list_directories", args=ListDirectoriesArgs, result=VOID, transfer=Transfer.FILE_OUT
)

BY_NUMBER: Final[dict[int, Procedure[Any, Any]]] = {
    row.number: row for row in list(globals().values()) if isinstance(row, Procedure)
}
BY_NAME: Final[dict[str, Procedure[Any, Any]]] = {row.name: row for row in BY_NUMBER.values()}
