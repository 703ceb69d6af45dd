"""Requests and replies of the kernel's FUSE protocol, version 7.31 and later: structures of linux/fuse.h.

Only those that are answered without pyfuse3. All numbers are in the byte order of the machine.
"""

import errno
import sys
from collections.abc import Callable
from struct import Struct
from typing import Final, NamedTuple

import pyfuse3

from guestmount_py.attributes import FOREVER_S, UNKNOWN_INODE
from guestmount_py.entries import Entry
from guestmount_py.inodes import Inode
from rpc.types import Statvfs

LOOKUP: Final = 1
FORGET: Final = 2
GETATTR: Final = 3
SETATTR: Final = 4
READLINK: Final = 5
SYMLINK: Final = 6
UNLINK: Final = 10
RMDIR: Final = 11
RENAME: Final = 12
OPEN: Final = 14
READ: Final = 15
WRITE: Final = 16
STATFS: Final = 17
RELEASE: Final = 18
GETXATTR: Final = 22
LISTXATTR: Final = 23
FLUSH: Final = 25
INIT: Final = 26
OPENDIR: Final = 27
READDIR: Final = 28
CREATE: Final = 35
INTERRUPT: Final = 36
BATCH_FORGET: Final = 42
READDIRPLUS: Final = 44
RENAME2: Final = 45
LSEEK: Final = 46

REQUEST_HEAD: Final = Struct("=IIQQIIIHH")
"""struct fuse_in_header: length, opcode, unique, nodeid, uid, gid, pid, extensions, padding."""
REPLY_HEAD: Final = Struct("=IiQ")
"""struct fuse_out_header: length, error (negative), unique."""
READ_IN: Final = Struct("=QQI20x")
"""struct fuse_read_in: fh, offset, size, and what concerns locks."""
LSEEK_IN: Final = Struct("=8xQI4x")
"""struct fuse_lseek_in without its handle: offset, whence."""
LSEEK_OUT: Final = Struct("=Q")
XATTR_IN: Final = Struct("=I4x")
"""struct fuse_getxattr_in, of GETXATTR and LISTXATTR: the size of the buffer; 0 asks how long the answer is."""
XATTR_OUT: Final = Struct("=I4x")
RENAME_IN: Final = Struct("=Q")
"""struct fuse_rename_in: the new directory; two names follow."""
RENAME2_IN: Final = Struct("=QI4x")
"""struct fuse_rename2_in: the new directory, flags."""
FORGET_IN: Final = Struct("=Q")
SETATTR_IN: Final = Struct("=I28xqq8xII4xI4xII4x")
"""struct fuse_setattr_in: valid, atime, mtime, their nanoseconds, mode, uid, gid."""
SETATTR_MODE: Final = 1 << 0
SETATTR_UID: Final = 1 << 1
SETATTR_GID: Final = 1 << 2
SETATTR_ATIME: Final = 1 << 4
SETATTR_MTIME: Final = 1 << 5
_SETATTR_HANDLE: Final = 1 << 6
SETATTR_PLAIN: Final = SETATTR_MODE | SETATTR_UID | SETATTR_GID | SETATTR_ATIME | SETATTR_MTIME | _SETATTR_HANDLE
"""Neither the size, nor times that are "now"."""
WRITE_IN: Final = Struct("=QQI20x")
"""struct fuse_write_in: fh, offset, size, and what concerns locks."""
WRITE_OUT: Final = Struct("=I4x")
CREATE_IN: Final = Struct("=II8x")
"""struct fuse_create_in: flags, mode, from which the kernel has taken the umask."""
OPEN_OUT: Final = Struct("=QI4x")
"""struct fuse_open_out: fh, flags."""
HANDLE_IN: Final = Struct("=Q")
"""What FLUSH and RELEASE begin with."""
_STATFS_OUT: Final = Struct("=5Q3I28x")
"""struct fuse_statfs_out: blocks, bfree, bavail, files, ffree, bsize, namelen, frsize, and what is spare."""
_BATCH_HEAD: Final = Struct("=I4x")
_FORGET_ONE: Final = Struct("=QQ")
_INIT_IN_FLAGS: Final = Struct("=12xI")
INIT_OUT_FLAGS: Final = Struct("=12xI")
"""The flags in struct fuse_init_out: behind major, minor and max_readahead."""
ABORT_ERROR: Final = 1 << 21
CACHE_SYMLINKS: Final = 1 << 23
_ATTR: Final = "QQQqqqIIIIIIIIII"
_ENTRY_OUT: Final = Struct("=QQQQII" + _ATTR)
_ATTR_OUT: Final = Struct("=QI4x" + _ATTR)
_PLUS: Final = Struct("=QQQQII" + _ATTR + "QQII")
"""struct fuse_direntplus: fuse_entry_out with its fuse_attr, then fuse_dirent without its name."""
_DIRENT: Final = Struct("=QQII")
_NAME_ONLY: Final = bytes(_PLUS.size - _DIRENT.size)
"""Node 0: the kernel shows the name, keeps nothing, and looks it up when somebody asks for more (fs/fuse/readdir.c)."""
_PADDING: Final = tuple(bytes(-length % 8) for length in range(8))


class Request(NamedTuple):
    """One request.

    Attributes:
        opcode, unique, nodeid: of its header.
        body: what follows the header; the next request overwrites it.
        uid, gid, pid: who makes it.
    """

    opcode: int
    unique: int
    nodeid: int
    body: memoryview
    uid: int = 0
    gid: int = 0
    pid: int = 0


def request_of(data: memoryview) -> Request:
    """Take a request apart."""
    _, opcode, unique, nodeid, uid, gid, pid, _, _ = REQUEST_HEAD.unpack_from(data)
    return Request(opcode, unique, nodeid, data[REQUEST_HEAD.size :], uid, gid, pid)


def name_of(body: memoryview) -> bytes:
    """Return a name up to the NUL behind it."""
    return bytes(body).partition(b"\0")[0]


def forgotten(request: Request) -> list[tuple[int, int]]:
    """Return the nodes of FORGET or BATCH_FORGET, and how many lookups of each are taken back."""
    if request.opcode == FORGET:
        return [(request.nodeid, FORGET_IN.unpack_from(request.body)[0])]
    (count,) = _BATCH_HEAD.unpack_from(request.body)
    start = _BATCH_HEAD.size
    return list(_FORGET_ONE.iter_unpack(request.body[start : start + count * _FORGET_ONE.size]))


def add_wishes(reply: bytearray, offered: int) -> None:
    """Add to pyfuse3's answer to INIT what the kernel offered: keep targets of links, tell an abort from an unmount."""
    start = REPLY_HEAD.size
    (flags,) = INIT_OUT_FLAGS.unpack_from(reply, start)
    reply[start + 12 : start + 16] = (flags | offered & (ABORT_ERROR | CACHE_SYMLINKS)).to_bytes(4, sys.byteorder)


def init_flags(body: memoryview) -> int:
    """Return what the kernel offers in INIT."""
    flags: int = _INIT_IN_FLAGS.unpack_from(body)[0]
    return flags


class DirectoryReply:
    """The answer to READDIR or READDIRPLUS, entry after entry, until it is full.

    Args:
        limit_bytes: how much the kernel takes.
        is_plus: whether it wants attributes, and then counts a lookup of each file.

    Attributes:
        is_plus: the same.
        parts: the answer.
    """

    def __init__(self, limit_bytes: int, *, is_plus: bool) -> None:
        self._room = limit_bytes
        self.is_plus: Final = is_plus
        self.parts: Final[list[bytes]] = []

    def add(self, entry: Entry, name: bytes, inode: Inode | None, next_offset: int) -> bool:
        """Add an entry; False if there is no room for it.

        Args:
            entry: the file.
            name: its name here.
            inode: its number; None if only its name is known.
            next_offset: where the listing goes on behind it.
        """
        length = len(name)
        padding = _PADDING[length & 7]
        size_bytes = (_PLUS.size if self.is_plus else _DIRENT.size) + length + len(padding)
        if size_bytes > self._room:
            return False
        self._room -= size_bytes
        if inode is None:
            if self.is_plus:
                self.parts.append(_NAME_ONLY)
            self.parts.append(_DIRENT.pack(UNKNOWN_INODE, next_offset, length, 0))
        elif self.is_plus:
            self.parts.append(_plus(entry.fields, inode, next_offset, length))
        else:
            self.parts.append(_DIRENT.pack(inode, next_offset, length, entry.fields[2] >> 12))
        self.parts.extend((name, padding))
        return True


def xattr_answer(data: bytes, limit_bytes: int) -> tuple[bytes, ...]:
    """Return the answer to GETXATTR or LISTXATTR: the data, or how long they are if no room is offered for them.

    Raises:
        FUSEError: there is too little room, with ERANGE.
    """
    if not limit_bytes:
        return (XATTR_OUT.pack(len(data)),)
    if len(data) > limit_bytes:
        raise pyfuse3.FUSEError(errno.ERANGE)
    return (data,)


def statfs_reply(found: Statvfs) -> bytes:
    """Answer STATFS with a filesystem's size and use."""
    counted = (found.blocks, found.bfree, found.bavail, found.files, found.ffree)
    counts = (count % (1 << 64) for count in counted)  # the wire carries erofs's 2^64 - 1 files as -1
    return _STATFS_OUT.pack(*counts, found.bsize, found.namemax, found.frsize)


def _attributes(fields: tuple[int, ...], inode: int) -> tuple[int, ...]:
    """Return struct fuse_attr of packed attributes."""
    _, _, mode, nlink, uid, gid, rdev, size, blksize, blocks, a_s, a_ns, m_s, m_ns, c_s, c_ns = fields[:16]
    return inode, size, blocks, a_s, m_s, c_s, a_ns, m_ns, c_ns, mode, nlink, uid, gid, rdev & 0xFFFFFFFF, blksize, 0


def entry_reply(fields: tuple[int, ...], inode: int, generation: int, name_s: int, attributes_s: int) -> bytes:
    """Return struct fuse_entry_out, with the seconds for which the name and the attributes hold."""
    return _ENTRY_OUT.pack(inode, generation, name_s, attributes_s, 0, 0, *_attributes(fields, inode))


ABSENT_REPLY: Final = _ENTRY_OUT.pack(0, 0, int(FOREVER_S), *(0,) * 19)
"""There is no such name, for ever."""


def attributes_reply(fields: tuple[int, ...], inode: int, attributes_s: int) -> bytes:
    """Return struct fuse_attr_out."""
    return _ATTR_OUT.pack(attributes_s, 0, *_attributes(fields, inode))


def _plus(
    fields: tuple[int, ...],
    inode: int,
    next_offset: int,
    name_bytes: int,
    pack: Callable[..., bytes] = _PLUS.pack,
    forever: int = int(FOREVER_S),
) -> bytes:
    _, _, mode, nlink, uid, gid, rdev, size, blksize, blocks, a_s, a_ns, m_s, m_ns, c_s, c_ns = fields[:16]
    return pack(
        *(inode, 0, forever, forever, 0, 0),
        *(inode, size, blocks, a_s, m_s, c_s, a_ns, m_ns, c_ns, mode, nlink, uid, gid, rdev & 0xFFFFFFFF, blksize, 0),
        *(inode, next_offset, name_bytes, mode >> 12),
    )
