"""The one table of calls. Both ends read it: numbers, names, arguments and results are those of libguestfs.

A row never changes its number; calls are only added. Each group of rows is a module of this package, imported when one
of its rows is first asked for: the daemon starts under emulation, where the whole table would take a tenth of a second.
``BY_NUMBER`` and ``BY_NAME`` index the table; to ask for one of them is to import it whole.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from rpc.procedure import Procedure

if TYPE_CHECKING:
    from rpc.procedures.allocation import *
    from rpc.procedures.archives import *
    from rpc.procedures.attributes import *
    from rpc.procedures.btrfs import *
    from rpc.procedures.btrfs_upkeep import *
    from rpc.procedures.commands import *
    from rpc.procedures.contents import *
    from rpc.procedures.control import *
    from rpc.procedures.copies import *
    from rpc.procedures.devices import *
    from rpc.procedures.directories import *
    from rpc.procedures.ext2 import *
    from rpc.procedures.extensions import *
    from rpc.procedures.filesystems import *
    from rpc.procedures.inspection import *
    from rpc.procedures.luks import *
    from rpc.procedures.lvm import *
    from rpc.procedures.mounting import *
    from rpc.procedures.names import *
    from rpc.procedures.ntfs import *
    from rpc.procedures.partitions import *
    from rpc.procedures.permissions import *
    from rpc.procedures.raid import *
    from rpc.procedures.texts import *
    from rpc.procedures.transfers import *
    from rpc.procedures.writing import *
    from rpc.procedures.xattrs import *
    from rpc.procedures.xfs import *

    BY_NUMBER: dict[int, Procedure[Any, Any]]
    BY_NAME: dict[str, Procedure[Any, Any]]

_GROUPS: Final = {
    "extensions": "HELLO LIST_DIRECTORY READ_FILES RESUME MAP_FILES DEVICE_MAP WALK",
    "writing": """
        CHANGE_FILES MAKE_FILE LINK_FILE REMOVE_NAME RENAME_FILE OPEN_FILE READ_KEPT CLOSE_KEPT SYNC_FILE CHANGE_XATTR
        OPEN_MAILBOX
    """,
    "mounting": """
        MOUNT MOUNT_RO MOUNT_OPTIONS MOUNT_VFS UMOUNT UMOUNT_ALL MOUNTS MOUNTPOINTS SYNC INTERNAL_AUTOSYNC
        INTERNAL_PARSE_MOUNTABLE MOUNT_LOOP REMOUNT MKMOUNTPOINT RMMOUNTPOINT
    """,
    "attributes": """
        LSTATNS STATNS INTERNAL_LSTATNSLIST STATVFS EXISTS IS_FILE IS_DIR IS_SYMLINK IS_FIFO IS_SOCKET
        IS_CHARDEV IS_BLOCKDEV FILESIZE DU DF DF_H
    """,
    "directories": """
        READDIR INTERNAL_READDIR LS0 FIND0 READLINK INTERNAL_READLINKLIST REALPATH CASE_SENSITIVE_PATH
        GLOB_EXPAND LL LLZ
    """,
    "xattrs": "GETXATTRS LGETXATTRS GETXATTR LGETXATTR INTERNAL_LXATTRLIST SETXATTR LSETXATTR REMOVEXATTR LREMOVEXATTR",
    "contents": "PREAD PREAD_DEVICE PWRITE PWRITE_DEVICE INTERNAL_WRITE INTERNAL_WRITE_APPEND",
    "transfers": "UPLOAD DOWNLOAD UPLOAD_OFFSET DOWNLOAD_OFFSET",
    "names": """
        MKDIR MKDIR_P MKDIR_MODE MKDTEMP MKTEMP MKNOD MKFIFO MKNOD_B MKNOD_C LN LN_F LN_S LN_SF RENAME MV CP
        CP_A CP_R RM RM_F RM_RF RMDIR TOUCH CHMOD CHOWN LCHOWN UTIMENS UMASK GET_UMASK MKLOST_AND_FOUND FILL_DIR
    """,
    "permissions": """
        ACL_GET_FILE ACL_SET_FILE ACL_DELETE_DEF_FILE CAP_GET_FILE CAP_SET_FILE GET_E2ATTRS SET_E2ATTRS
        GET_E2GENERATION SET_E2GENERATION COPY_ATTRIBUTES SELINUX_RELABEL SETFILES
    """,
    "allocation": """
        WRITE_FILE TRUNCATE TRUNCATE_SIZE FALLOCATE FALLOCATE64 FILL FILL_PATTERN IS_ZERO IS_ZERO_DEVICE ZERO
        ZERO_DEVICE ZERO_FREE_SPACE
    """,
    "texts": """
        FILE CHECKSUM CHECKSUM_DEVICE HEAD HEAD_N TAIL TAIL_N WC_L WC_W WC_C STRINGS STRINGS_E HEXDUMP EQUAL
        GREP EGREP FGREP GREPI EGREPI FGREPI ZGREP ZEGREP ZFGREP ZGREPI ZEGREPI ZFGREPI ZFILE INITRD_LIST
        INITRD_CAT FILE_ARCHITECTURE
    """,
    "archives": """
        TAR_IN TAR_OUT TGZ_IN TGZ_OUT TXZ_IN TXZ_OUT CPIO_OUT BASE64_IN BASE64_OUT CHECKSUMS_OUT COMPRESS_OUT
        COMPRESS_DEVICE_OUT
    """,
    "copies": "COPY_DEVICE_TO_DEVICE COPY_DEVICE_TO_FILE COPY_FILE_TO_DEVICE COPY_FILE_TO_FILE COPY_SIZE DD",
    "commands": "COMMAND COMMAND_LINES COMMAND_OUT SH SH_LINES SH_OUT",
    "control": """
        PING_DAEMON INTERNAL_FEATURE_AVAILABLE AVAILABLE_ALL_GROUPS UTSNAME DEBUG DEBUG_UPLOAD INTERNAL_UPLOAD
        INTERNAL_EXIT ECHO_DAEMON DROP_CACHES DMESG MODPROBE SLEEP
    """,
    "devices": """
        LIST_DEVICES LIST_PARTITIONS LIST_DM_DEVICES LIST_MD_DEVICES LIST_9P NR_DEVICES LIST_DISK_LABELS
        LIST_LDM_VOLUMES LIST_LDM_PARTITIONS
        IS_WHOLE_DEVICE IS_LV BLOCKDEV_SETRO BLOCKDEV_SETRW BLOCKDEV_GETRO BLOCKDEV_GETSS BLOCKDEV_GETBSZ
        BLOCKDEV_SETBSZ BLOCKDEV_GETSZ BLOCKDEV_GETSIZE64 BLOCKDEV_FLUSHBUFS BLOCKDEV_REREADPT BLOCKDEV_SETRA
        BLKDISCARD BLKDISCARDZEROES FINDFS_UUID FINDFS_LABEL FINDFS_PARTUUID FINDFS_PARTLABEL SCRUB_DEVICE
    """,
    "partitions": """
        PART_INIT PART_ADD PART_DISK PART_DEL PART_LIST PART_RESIZE PART_GET_PARTTYPE PART_SET_BOOTABLE
        PART_GET_BOOTABLE PART_SET_NAME PART_GET_NAME PART_SET_MBR_ID PART_GET_MBR_ID PART_GET_MBR_PART_TYPE
        PART_SET_GPT_TYPE PART_GET_GPT_TYPE PART_SET_GPT_GUID PART_GET_GPT_GUID PART_SET_GPT_ATTRIBUTES
        PART_GET_GPT_ATTRIBUTES PART_SET_DISK_GUID PART_GET_DISK_GUID PART_SET_DISK_GUID_RANDOM PART_EXPAND_GPT
        PART_TO_DEV PART_TO_PARTNUM SFDISK_L SFDISK_KERNEL_GEOMETRY SFDISK_DISK_GEOMETRY
    """,
    "filesystems": """
        LIST_FILESYSTEMS FILESYSTEM_AVAILABLE VFS_TYPE VFS_LABEL VFS_UUID VFS_MINIMUM_SIZE BLKID WIPEFS MKFS
        MKFS_B FSCK SET_LABEL SET_UUID SET_UUID_RANDOM FSTRIM ZEROFREE F2FS_EXPAND MKSWAP
    """,
    "ext2": """
        MKE2FS E2FSCK E2FSCK_F TUNE2FS TUNE2FS_L RESIZE2FS RESIZE2FS_SIZE RESIZE2FS_M GET_E2LABEL SET_E2LABEL
        GET_E2UUID SET_E2UUID MKE2JOURNAL MKE2JOURNAL_L MKE2JOURNAL_U MKE2FS_J MKE2FS_JL MKE2FS_JU
    """,
    "xfs": "XFS_INFO XFS_INFO2 XFS_ADMIN XFS_GROWFS XFS_REPAIR",
    "ntfs": "NTFS_3G_PROBE NTFSRESIZE NTFSRESIZE_SIZE NTFSFIX NTFSCLONE_OUT NTFSCLONE_IN",
    "lvm": """
        PVS VGS LVS PVS_FULL VGS_FULL LVS_FULL PVCREATE PVREMOVE PVRESIZE PVRESIZE_SIZE PVUUID PVCHANGE_UUID
        PVCHANGE_UUID_ALL VGCREATE VGREMOVE VGRENAME VGUUID VGPVUUIDS VGLVUUIDS VGMETA VGSCAN VGCHANGE_UUID
        VGCHANGE_UUID_ALL VG_ACTIVATE VG_ACTIVATE_ALL LVCREATE LVCREATE_FREE LVREMOVE LVRENAME LVRESIZE
        LVRESIZE_FREE LVUUID LVM_REMOVE_ALL LVM_CANONICAL_LV_NAME LVM_SET_FILTER LVM_CLEAR_FILTER LVM_SCAN
    """,
    "luks": """
        CRYPTSETUP_OPEN CRYPTSETUP_CLOSE LUKS_OPEN LUKS_OPEN_RO LUKS_CLOSE LUKS_FORMAT LUKS_FORMAT_CIPHER
        LUKS_ADD_KEY LUKS_KILL_SLOT LUKS_UUID CLEVIS_LUKS_UNLOCK
    """,
    "raid": "MD_CREATE MD_DETAIL MD_STAT MD_STOP",
    "btrfs": """
        BTRFS_SUBVOLUME_LIST BTRFS_SUBVOLUME_CREATE BTRFS_SUBVOLUME_DELETE BTRFS_SUBVOLUME_SNAPSHOT
        BTRFS_SUBVOLUME_SET_DEFAULT BTRFS_SUBVOLUME_GET_DEFAULT BTRFS_SUBVOLUME_SHOW MKFS_BTRFS BTRFS_FSCK
        BTRFS_FILESYSTEM_SYNC BTRFS_FILESYSTEM_RESIZE BTRFS_FILESYSTEM_DEFRAGMENT BTRFS_FILESYSTEM_SHOW
        BTRFS_DEVICE_ADD BTRFS_DEVICE_DELETE BTRFS_REPLACE BTRFS_IMAGE
    """,
    "btrfs_upkeep": """
        BTRFS_FILESYSTEM_BALANCE BTRFS_BALANCE_PAUSE BTRFS_BALANCE_CANCEL BTRFS_BALANCE_RESUME
        BTRFS_BALANCE_STATUS BTRFS_SCRUB_START BTRFS_SCRUB_CANCEL BTRFS_SCRUB_RESUME BTRFS_SCRUB_STATUS
        BTRFS_SCRUB_FULL BTRFS_QUOTA_ENABLE BTRFS_QUOTA_RESCAN BTRFS_QGROUP_LIMIT BTRFS_QGROUP_CREATE
        BTRFS_QGROUP_DESTROY BTRFS_QGROUP_SHOW BTRFS_QGROUP_ASSIGN BTRFS_QGROUP_REMOVE BTRFS_SET_SEEDING
        BTRFSTUNE_SEEDING BTRFSTUNE_ENABLE_EXTENDED_INODE_REFS BTRFSTUNE_ENABLE_SKINNY_METADATA_EXTENT_REFS
        BTRFS_RESCUE_CHUNK_RECOVER BTRFS_RESCUE_SUPER_RECOVER
    """,
    "inspection": """
        INSPECT_OS INSPECT_GET_ROOTS INSPECT_GET_FORMAT INSPECT_GET_TYPE INSPECT_GET_DISTRO
        INSPECT_GET_PACKAGE_FORMAT INSPECT_GET_PACKAGE_MANAGEMENT INSPECT_GET_PRODUCT_NAME
        INSPECT_GET_PRODUCT_VARIANT INSPECT_GET_MAJOR_VERSION INSPECT_GET_MINOR_VERSION INSPECT_GET_ARCH
        INSPECT_GET_HOSTNAME INSPECT_GET_WINDOWS_SYSTEMROOT INSPECT_GET_WINDOWS_SOFTWARE_HIVE
        INSPECT_GET_WINDOWS_SYSTEM_HIVE INSPECT_GET_WINDOWS_CURRENT_CONTROL_SET INSPECT_IS_LIVE
        INSPECT_IS_NETINST INSPECT_IS_MULTIPART INSPECT_GET_MOUNTPOINTS INSPECT_GET_FILESYSTEMS
        INSPECT_GET_DRIVE_MAPPINGS INSPECT_GET_BUILD_ID INTERNAL_LIST_RPM_APPLICATIONS AUG_DEFVAR AUG_DEFNODE
    """,
}

GROUPS: Final = {name: tuple(rows.split()) for name, rows in _GROUPS.items()}
"""The rows of each module, named as the constants that hold them."""
_GROUP_OF: Final = {row: group for group, rows in GROUPS.items() for row in rows}


def _all_rows() -> list[Procedure[Any, Any]]:
    modules = {group: import_module(f"rpc.procedures.{group}") for group in GROUPS}
    return [getattr(modules[group], name) for group, rows in GROUPS.items() for name in rows]


if not TYPE_CHECKING:  # a type checker sees the imports above, and finds misspelt names

    def __getattr__(name: str) -> Any:
        """Import the group that has a row, or the whole table; what is found is kept."""
        if name in _GROUP_OF:
            value = getattr(import_module(f"rpc.procedures.{_GROUP_OF[name]}"), name)
        elif name == "BY_NUMBER":
            value = {row.number: row for row in _all_rows()}
        elif name == "BY_NAME":
            value = {row.name: row for row in _all_rows()}
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value
