"""Requests and replies of the kernel's FUSE protocol, version 7.31 and later: structures of linux/fuse.h.

Only those that are answered without pyfuse3. All numbers are in the byte order of the machine.
"""

import sys
from collections.abc import Callable
from struct import Struct
from typing import Final, NamedTuple

from guestmount_py.attributes import FOREVER_S, UNKNOWN_INODE
from guestmount_py.entries import Entry
from guestmount_py.inodes import Inode

FORGET: Final = 2
READLINK: Final = 5
OPEN: Final = 14
READ: Final = 15
GETXATTR: Final = 22
LISTXATTR: Final = 23
INIT: Final = 26
OPENDIR: Final = 27
READDIR: Final = 28
INTERRUPT: Final = 36
BATCH_FORGET: Final = 42
READDIRPLUS: Final = 44
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
FORGET_IN: Final = Struct("=Q")
_BATCH_HEAD: Final = Struct("=I4x")
_FORGET_ONE: Final = Struct("=QQ")
_INIT_IN_FLAGS: Final = Struct("=12xI")
INIT_OUT_FLAGS: Final = Struct("=12xI")
"""The flags in struct fuse_init_out: behind major, minor and max_readahead."""
ABORT_ERROR: Final = 1 << 21
CACHE_SYMLINKS: Final = 1 << 23
_ATTR: Final = "QQQqqqIIIIIIIIII"
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
    """

    opcode: int
    unique: int
    nodeid: int
    body: memoryview


def request_of(data: memoryview) -> Request:
    """Take a request apart."""
    _, opcode, unique, nodeid, *_ = REQUEST_HEAD.unpack_from(data)
    return Request(opcode, unique, nodeid, data[REQUEST_HEAD.size :])


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
