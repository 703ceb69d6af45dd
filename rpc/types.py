"""Structures that results are made of (guestfs-protocol section 4.5): field order is wire order."""

from typing import NamedTuple

from rpc.codec import Char, FileName, Int32, Int64, LvmUuid, UInt32, UInt64


class Statns(NamedTuple):
    """Attributes of one file as lstat(2) gives them, 22 x i64 = 176 bytes.

    ``st_mode`` has the type bits, ``st_blocks`` counts 512 bytes, ``st_rdev`` is Linux's 64-bit dev_t.
    ``st_ino`` -1 in a list marks a name whose attributes could not be read.
    """

    st_dev: Int64
    st_ino: Int64
    st_mode: Int64
    st_nlink: Int64
    st_uid: Int64
    st_gid: Int64
    st_rdev: Int64
    st_size: Int64
    st_blksize: Int64
    st_blocks: Int64
    st_atime_sec: Int64
    st_atime_nsec: Int64
    st_mtime_sec: Int64
    st_mtime_nsec: Int64
    st_ctime_sec: Int64
    st_ctime_nsec: Int64
    st_spare1: Int64
    st_spare2: Int64
    st_spare3: Int64
    st_spare4: Int64
    st_spare5: Int64
    st_spare6: Int64


class Statvfs(NamedTuple):
    """Size and use of a filesystem as statvfs(3) gives them."""

    bsize: Int64
    frsize: Int64
    blocks: Int64
    bfree: Int64
    bavail: Int64
    files: Int64
    ffree: Int64
    favail: Int64
    fsid: Int64
    flag: Int64
    namemax: Int64


class Dirent(NamedTuple):
    """One name in a directory; ``ftyp`` is one of ``bcdflrsu?``."""

    ino: Int64
    ftyp: Char
    name: FileName


class Xattr(NamedTuple):
    """One extended attribute. In ``internal_lxattrlist`` an empty name marks the next file (section 5.6)."""

    attrname: bytes
    attrval: bytes


class Partition(NamedTuple):
    """One partition; ``part_end`` is its last byte, inclusive."""

    part_num: Int32
    part_start: Int64
    part_end: Int64
    part_size: Int64


class InternalMountable(NamedTuple):
    """A mountable taken apart: ``im_type`` is 0 device, 1 btrfs volume, 2 path."""

    im_type: Int32
    im_device: str
    im_volume: str


class Utsname(NamedTuple):
    """The appliance's kernel as uname(2) names it."""

    uts_sysname: str
    uts_release: str
    uts_version: str
    uts_machine: str


class Hello(NamedTuple):
    """Answer of ``hello``: the extensions this daemon has and the longest FileOut chunk it will send."""

    version: UInt32
    chunk_max_bytes: UInt32
    extensions: list[str]


class DirectoryEntry(NamedTuple):
    """One record of ``list_directory``.

    Attributes:
        name: ``.`` first, then every entry in the order the directory gives them; ``..`` is left out.
        stat: ``st_ino`` -1 if the attributes could not be read.
        target: link target of a symlink, otherwise empty.
        xattrs_listed: False if the extended attributes could not be listed.
        xattrs: sorted by name.
    """

    name: FileName
    stat: Statns
    target: bytes
    xattrs_listed: bool
    xattrs: list[Xattr]


class FileContent(NamedTuple):
    """One record of ``read_files``; not ``complete`` means: not a regular file, too long, or unreadable."""

    complete: bool
    data: bytes


class Mdstat(NamedTuple):
    """One member of an MD array; ``mdstat_flags`` are letters such as F (failed)."""

    mdstat_device: str
    mdstat_index: Int32
    mdstat_flags: str


class LvmPv(NamedTuple):
    """One LVM physical volume as ``pvs`` reports it."""

    pv_name: str
    pv_uuid: LvmUuid
    pv_fmt: str
    pv_size: Int64
    dev_size: Int64
    pv_free: Int64
    pv_used: Int64
    pv_attr: str
    pv_pe_count: Int64
    pv_pe_alloc_count: Int64
    pv_tags: str
    pe_start: Int64
    pv_mda_count: Int64
    pv_mda_free: Int64


class LvmVg(NamedTuple):
    """One LVM volume group as ``vgs`` reports it."""

    vg_name: str
    vg_uuid: LvmUuid
    vg_fmt: str
    vg_attr: str
    vg_size: Int64
    vg_free: Int64
    vg_sysid: str
    vg_extent_size: Int64
    vg_extent_count: Int64
    vg_free_count: Int64
    max_lv: Int64
    max_pv: Int64
    pv_count: Int64
    lv_count: Int64
    snap_count: Int64
    vg_seqno: Int64
    vg_tags: str
    vg_mda_count: Int64
    vg_mda_free: Int64


class LvmLv(NamedTuple):
    """One LVM logical volume as ``lvs`` reports it; percentages are -1.0 where they do not apply."""

    lv_name: str
    lv_uuid: LvmUuid
    lv_attr: str
    lv_major: Int64
    lv_minor: Int64
    lv_kernel_major: Int64
    lv_kernel_minor: Int64
    lv_size: Int64
    seg_count: Int64
    origin: str
    snap_percent: float
    copy_percent: float
    move_pv: str
    lv_tags: str
    mirror_log: str
    modules: str


class Btrfssubvolume(NamedTuple):
    """One btrfs subvolume."""

    btrfssubvolume_id: UInt64
    btrfssubvolume_top_level_id: UInt64
    btrfssubvolume_path: str


class IntBool(NamedTuple):
    """Answer of ``aug_defnode``."""

    i: Int32
    b: Int32


class Xfsinfo(NamedTuple):
    """Geometry of an XFS filesystem."""

    xfs_mntpoint: str
    xfs_inodesize: UInt32
    xfs_agcount: UInt32
    xfs_agsize: UInt32
    xfs_sectsize: UInt32
    xfs_attr: UInt32
    xfs_blocksize: UInt32
    xfs_datablocks: UInt64
    xfs_imaxpct: UInt32
    xfs_sunit: UInt32
    xfs_swidth: UInt32
    xfs_dirversion: UInt32
    xfs_dirblocksize: UInt32
    xfs_cimode: UInt32
    xfs_logname: str
    xfs_logblocksize: UInt32
    xfs_logblocks: UInt32
    xfs_logversion: UInt32
    xfs_logsectsize: UInt32
    xfs_logsunit: UInt32
    xfs_lazycount: UInt32
    xfs_rtname: str
    xfs_rtextsize: UInt32
    xfs_rtblocks: UInt64
    xfs_rtextents: UInt64
