"""Handlers, without pyfuse3, of what comes often to a mount that writes, where nobody need wait for the guest."""

from collections.abc import Mapping
from stat import S_IFREG, S_IMODE
from typing import Final

from guestmount_py import fuse_wire as wire
from guestmount_py.fuse_channel import NO_ANSWER, Answer, Handler
from guestmount_py.node_table import Node
from guestmount_py.wanted_attributes import WantedAttributes
from guestmount_py.writing import WritingOperations

_FOPEN_KEEP_CACHE: Final = 2
_DOTS: Final = (b".", b"..")
_NS: Final = 1_000_000_000


class HotWriting:
    """Answers at once, or leaves the request to pyfuse3, which may wait.

    Attributes:
        handlers: by opcode.
    """

    def __init__(self, operations: WritingOperations) -> None:
        self._operations = operations
        self.handlers: Final[Mapping[int, Handler]] = {
            wire.LOOKUP: self._lookup,
            wire.GETATTR: self._getattr,
            wire.SETATTR: self._setattr,
            wire.GETXATTR: self._getxattr,
            wire.LISTXATTR: self._listxattr,
            wire.CREATE: self._create,
            wire.SYMLINK: self._symlink,
            wire.UNLINK: self._remove,
            wire.RMDIR: self._remove,
            wire.RENAME: self._rename,
            wire.RENAME2: self._rename,
            wire.WRITE: self._write,
            wire.STATFS: self._statfs,
            wire.FLUSH: self._flush,
            wire.RELEASE: self._release,
            wire.FORGET: self._forget,
            wire.BATCH_FORGET: self._forget,
        }

    def _entry(self, node: Node) -> bytes:
        generation, name_s, attributes_s = self._operations.validity(node)
        return wire.entry_reply(node.entry.fields, node.inode, generation, name_s, attributes_s)

    def _attributes(self, node: Node) -> Answer:
        return (wire.attributes_reply(node.entry.fields, node.inode, self._operations.validity(node)[2]),)

    def _lookup(self, request: wire.Request) -> Answer | None:
        name = wire.name_of(request.body)
        found = self._operations.lookup_now(request.nodeid, name) if name not in _DOTS else None
        if found is None:
            return None
        return (self._entry(found),) if isinstance(found, Node) else (wire.ABSENT_REPLY,)

    def _getattr(self, request: wire.Request) -> Answer | None:
        node = self._operations.getattr_now(request.nodeid, request.pid)
        return self._attributes(node) if node is not None else None

    def _setattr(self, request: wire.Request) -> Answer | None:
        valid, a_s, m_s, a_ns, m_ns, mode, uid, gid = wire.SETATTR_IN.unpack_from(request.body)
        if valid & ~wire.SETATTR_PLAIN:
            return None
        wanted = WantedAttributes(
            S_IMODE(mode) if valid & wire.SETATTR_MODE else None,
            uid if valid & wire.SETATTR_UID else None,
            gid if valid & wire.SETATTR_GID else None,
            a_s * _NS + a_ns if valid & wire.SETATTR_ATIME else None,
            m_s * _NS + m_ns if valid & wire.SETATTR_MTIME else None,
        )
        node = self._operations.setattr_now(request.nodeid, wanted)
        return self._attributes(node) if node is not None else None

    def _getxattr(self, request: wire.Request) -> Answer | None:
        name = wire.name_of(request.body[wire.XATTR_IN.size :])
        value = self._operations.getxattr_now(request.nodeid, name, request.pid)
        if value is None:
            return None
        (limit_bytes,) = wire.XATTR_IN.unpack_from(request.body)
        return wire.xattr_answer(value, limit_bytes)

    def _listxattr(self, request: wire.Request) -> Answer | None:
        names = self._operations.listxattr_now(request.nodeid)
        if names is None:
            return None
        (limit_bytes,) = wire.XATTR_IN.unpack_from(request.body)
        return wire.xattr_answer(b"".join(name + b"\0" for name in names), limit_bytes)

    def _create(self, request: wire.Request) -> Answer | None:
        flags, mode = wire.CREATE_IN.unpack_from(request.body)
        name = wire.name_of(request.body[wire.CREATE_IN.size :])
        node = self._operations.make_file_now(request.nodeid, name, S_IFREG | S_IMODE(mode), request)
        if node is None:
            return None
        return self._entry(node), wire.OPEN_OUT.pack(self._operations.opened(node, flags, request), _FOPEN_KEEP_CACHE)

    def _symlink(self, request: wire.Request) -> Answer | None:
        name, target, _ = bytes(request.body).split(b"\0", 2)
        node = self._operations.make_link_now(request.nodeid, name, target, request)
        return (self._entry(node),) if node is not None else None

    def _remove(self, request: wire.Request) -> Answer | None:
        name, directory = wire.name_of(request.body), request.opcode == wire.RMDIR
        return () if self._operations.remove_now(request.nodeid, name, request.pid, directory=directory) else None

    def _rename(self, request: wire.Request) -> Answer | None:
        head = wire.RENAME2_IN if request.opcode == wire.RENAME2 else wire.RENAME_IN
        directory, *flags = head.unpack_from(request.body)
        name, new_name, _ = bytes(request.body[head.size :]).split(b"\0", 2)
        parents, names = (request.nodeid, directory), (name, new_name)
        return () if self._operations.rename_now(parents, names, sum(flags), request.pid) else None

    def _write(self, request: wire.Request) -> Answer | None:
        handle, offset, size_bytes = wire.WRITE_IN.unpack_from(request.body)
        data = request.body[wire.WRITE_IN.size : wire.WRITE_IN.size + size_bytes]
        return (wire.WRITE_OUT.pack(size_bytes),) if self._operations.write_now(handle, offset, data) else None

    async def _statfs(self, request: wire.Request) -> Answer:
        return (wire.statfs_reply(await self._operations.statvfs(request.nodeid)),)

    def _flush(self, request: wire.Request) -> Answer:
        self._operations.flush_now(*wire.HANDLE_IN.unpack_from(request.body))
        return ()

    def _release(self, request: wire.Request) -> Answer | None:
        return () if self._operations.release_now(*wire.HANDLE_IN.unpack_from(request.body)) else None

    def _forget(self, request: wire.Request) -> Answer:
        self._operations.forget_now(wire.forgotten(request))
        return NO_ANSWER
