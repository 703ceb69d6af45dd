"""Structures that results are made of (guestfs-protocol section 4.5): field order is wire order."""

from typing import NamedTuple

from rpc.codec import Char, FileName, Int32, Int64, UInt32


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


class InternalMountable(NamedTuple):
    """A mountable taken apart: ``im_type`` is 0 device, 1 btrfs volume, 2 path."""

    im_type: Int32
    im_device: str
    im_volume: str


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
