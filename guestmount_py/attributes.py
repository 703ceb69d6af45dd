"""Guest attributes as FUSE wants them."""

from typing import Final

import pyfuse3

from guestmount_py.entries import Entry
from guestmount_py.inode_numbers import Inode

FOREVER_S: Final = 10 * 365 * 86400.0
"""A read-only mount never changes."""
UNKNOWN_INODE: Final = (1 << 63) - 1
_NS: Final = 1_000_000_000


def entry_attributes(entry: Entry, inode: Inode) -> pyfuse3.EntryAttributes:
    """Return the attributes of a file, to the nanosecond."""
    fields = entry.fields
    attributes = pyfuse3.EntryAttributes()
    attributes.st_ino = pyfuse3.InodeT(inode)
    attributes.generation = 0
    attributes.entry_timeout = FOREVER_S
    attributes.attr_timeout = FOREVER_S
    attributes.st_mode = pyfuse3.ModeT(fields[2])
    attributes.st_nlink = fields[3]
    attributes.st_uid = fields[4]
    attributes.st_gid = fields[5]
    attributes.st_rdev = fields[6]
    attributes.st_size = fields[7]
    attributes.st_blksize = fields[8]
    attributes.st_blocks = fields[9]
    attributes.st_atime_ns = fields[10] * _NS + fields[11]
    attributes.st_mtime_ns = fields[12] * _NS + fields[13]
    attributes.st_ctime_ns = fields[14] * _NS + fields[15]
    return attributes


def absent_attributes() -> pyfuse3.EntryAttributes:
    """Return the answer "there is no such name", which the kernel remembers."""
    attributes = pyfuse3.EntryAttributes()
    attributes.st_ino = pyfuse3.InodeT(0)
    attributes.entry_timeout = FOREVER_S
    return attributes


def unreadable_attributes() -> pyfuse3.EntryAttributes:
    """Return what stands in a listing for a file of which only the name is known.

    Its mode has no file type, so the kernel shows the name, keeps nothing and looks it up when somebody asks for more
    (fs/fuse/readdir.c, fuse_direntplus_link): that one file gets the error, not its directory.
    """
    attributes = pyfuse3.EntryAttributes()
    attributes.st_ino = pyfuse3.InodeT(UNKNOWN_INODE)
    attributes.entry_timeout = 0
    return attributes
