"""Handlers of what comes often, without pyfuse3: listings, contents, targets of links, and what the kernel forgets."""

import errno
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import pyfuse3

from guestmount_py import fuse_wire as wire
from guestmount_py.dircache import Listing
from guestmount_py.entries import Entry, Xattrs
from guestmount_py.fuse_channel import NO_ANSWER, Answer, Handler
from guestmount_py.inodes import Inode, Node, Unlisted
from guestmount_py.log import logger
from guestmount_py.tree import Tree
from rpc.errors import RemoteProtocolError

_READING_MAX: Final = 16


class HotOperations:
    """Answers for a filesystem that never changes, so without handles: the kernel keeps listings and contents.

    Offset n of a directory stands before the n-th entry, ``.`` and ``..`` being 0 and 1.

    Attributes:
        handlers: by opcode.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._reading: OrderedDict[int, Listing] = OrderedDict()
        """Listings that somebody is in the midst of, whether the cache has room for them or not."""
        self.handlers: Final[Mapping[int, Handler]] = {
            wire.OPEN: self._open,
            wire.OPENDIR: self._open,
            wire.READ: self._read,
            wire.LSEEK: self._seek,
            wire.GETXATTR: self._getxattr,
            wire.LISTXATTR: self._listxattr,
            wire.READDIR: self._readdir,
            wire.READDIRPLUS: self._readdir,
            wire.READLINK: self._readlink,
            wire.STATFS: self._statfs,
            wire.FORGET: self._forget,
            wire.BATCH_FORGET: self._forget,
        }

    def _open(self, request: wire.Request) -> Answer:
        """Have the kernel open all files and directories by itself from now on, and keep what it read of them."""
        raise pyfuse3.FUSEError(errno.ENOSYS)

    def _read(self, request: wire.Request) -> Answer | Awaitable[Answer]:
        _, offset, size_bytes = wire.READ_IN.unpack_from(request.body)
        inode = Inode(request.nodeid)
        found = self._tree.files.read_now(inode, offset, size_bytes)
        return (found,) if found is not None else self._read_later(inode, offset, size_bytes)

    async def _read_later(self, inode: Inode, offset: int, size_bytes: int) -> Answer:
        return (await self._tree.files.read(inode, offset, size_bytes),)

    def _seek(self, request: wire.Request) -> Awaitable[Answer]:
        offset, whence = wire.LSEEK_IN.unpack_from(request.body)
        return self._seek_later(Inode(request.nodeid), offset, want_data=whence == os.SEEK_DATA)

    async def _seek_later(self, inode: Inode, offset: int, *, want_data: bool) -> Answer:
        found = await self._tree.files.seek(inode, offset, want_data=want_data)
        if found is None:
            raise pyfuse3.FUSEError(errno.ENXIO)
        return (wire.LSEEK_OUT.pack(found),)

    def _readlink(self, request: wire.Request) -> Answer | None:
        try:
            target = self._tree.inodes.get(request.nodeid).entry.target
        except Unlisted:
            return None
        return (target,) if target is not None else None

    async def _statfs(self, request: wire.Request) -> Answer:
        node = await self._tree.inodes.node(request.nodeid)
        directory = node if node.entry.is_directory else await self._tree.inodes.node(node.parent)
        return (wire.statfs_reply(await self._tree.guest.statvfs(self._tree.inodes.path(directory.inode))),)

    def _getxattr(self, request: wire.Request) -> Answer | Awaitable[Answer]:
        name = bytes(request.body[wire.XATTR_IN.size :]).partition(b"\0")[0]
        return self._xattrs(request, lambda xattrs: _value_of(name, xattrs))

    def _listxattr(self, request: wire.Request) -> Answer | Awaitable[Answer]:
        return self._xattrs(request, lambda xattrs: b"".join(key + b"\0" for key, _ in xattrs))

    def _xattrs(self, request: wire.Request, choose: Callable[[Xattrs], bytes]) -> Answer | Awaitable[Answer]:
        (limit_bytes,) = wire.XATTR_IN.unpack_from(request.body)
        found = self._tree.xattrs.known(request.nodeid)
        if found is None:
            return self._xattrs_later(request.nodeid, choose, limit_bytes)
        return wire.xattr_answer(choose(found), limit_bytes)

    async def _xattrs_later(self, inode: int, choose: Callable[[Xattrs], bytes], limit_bytes: int) -> Answer:
        return wire.xattr_answer(choose(await self._tree.xattrs.get(inode)), limit_bytes)

    def _forget(self, request: wire.Request) -> Answer:
        for inode, count in wire.forgotten(request):
            self._tree.inodes.forget(inode, count)
        return NO_ANSWER

    # ── directories ──

    def _readdir(self, request: wire.Request) -> Answer | Awaitable[Answer]:
        _, offset, size_bytes = wire.READ_IN.unpack_from(request.body)
        node = self._tree.inodes.get(request.nodeid)
        is_plus = request.opcode == wire.READDIRPLUS
        listing = self._reading.get(node.inode) if offset else self._tree.directories.cached(node.inode)
        if listing is None:
            return self._readdir_later(node, offset, size_bytes, is_plus=is_plus)
        return self._entries(node, listing, offset, wire.DirectoryReply(size_bytes, is_plus=is_plus))

    async def _readdir_later(self, node: Node, offset: int, size_bytes: int, *, is_plus: bool) -> Answer:
        listing = await self._tree.directories.listing(node.inode, self._tree.inodes.path(node.inode))
        return self._entries(node, listing, offset, wire.DirectoryReply(size_bytes, is_plus=is_plus))

    def _entries(self, node: Node, listing: Listing, offset: int, reply: wire.DirectoryReply) -> Answer:
        inodes = self._tree.inodes
        if not offset and self._tree.guest.extended:
            self._tree.prefetcher.opened(node, inodes.path(node.inode))
        for position, (name, dot) in enumerate(((b".", node), (b"..", inodes.get(node.parent)))):
            if offset <= position and not reply.add(dot.entry, name, dot.inode, position + 1):
                return reply.parts
        entries = listing.entries
        index = max(offset - 2, 0)
        while index < len(entries):
            entry = entries[index]
            inode = self._number(entry, node.inode, counts=reply.is_plus)
            if not reply.add(entry, entry.name, inode, index + 3):
                if inode is not None and reply.is_plus:
                    inodes.forget(inode, 1)
                break
            index += 1
        self._keep_reading(node, listing, is_at_end=offset - 2 >= len(entries))
        return reply.parts

    def _number(self, entry: Entry, directory: Inode, *, counts: bool) -> Inode | None:
        """Return an entry's number and count its lookup, if the kernel is to know it; None if it shows only a name."""
        if entry.is_unreadable:
            return None
        try:
            inode = self._tree.inodes.number(entry, directory)
            return self._tree.inodes.remember(entry, directory, inode) if counts else inode
        except RemoteProtocolError as exc:
            logger.error("%r: %s", entry.name, exc)
            return None

    def _keep_reading(self, node: Node, listing: Listing, *, is_at_end: bool) -> None:
        if is_at_end:
            self._reading.pop(node.inode, None)
            return
        self._reading[node.inode] = listing
        self._reading.move_to_end(node.inode)
        if len(self._reading) > _READING_MAX:
            self._reading.popitem(last=False)


def _value_of(name: bytes, xattrs: Xattrs) -> bytes:
    for key, value in xattrs:
        if key == name:
            return value
    raise pyfuse3.FUSEError(errno.ENODATA)
