"""The kernel's side of requests, for tests without a mount."""

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from guestmount_py.errno_boundary import errno_of
from guestmount_py.fuse_wire import (
    GETXATTR,
    LISTXATTR,
    LSEEK,
    LSEEK_IN,
    READ_IN,
    READDIRPLUS,
    REQUEST_HEAD,
    XATTR_IN,
    Request,
)
from guestmount_py.hot_operations import HotOperations

_ENTRY_OUT_BYTES: Final = 128
_DIRENT: Final = struct.Struct("=QQII")


class Listed(NamedTuple):
    """An entry as the kernel takes it: its node is 0 if it has only a name."""

    name: bytes
    next_offset: int
    node: int
    size_bytes: int


async def ask(hot: HotOperations, opcode: int, nodeid: int, offset: int = 0, size_bytes: int = 1 << 17) -> bytes:
    """Send one request of READ's form; raises OSError with the errno that the kernel would get."""
    return await _send(hot, Request(opcode, 1, nodeid, memoryview(READ_IN.pack(0, offset, size_bytes))))


async def seek(hot: HotOperations, nodeid: int, offset: int, whence: int) -> int:
    """Send LSEEK."""
    body = memoryview(LSEEK_IN.pack(offset, whence))
    return int.from_bytes(await _send(hot, Request(LSEEK, 1, nodeid, body)), "little")


async def get_xattr(hot: HotOperations, nodeid: int, name: bytes, limit_bytes: int) -> bytes:
    """Send GETXATTR."""
    return await _send(hot, Request(GETXATTR, 1, nodeid, memoryview(XATTR_IN.pack(limit_bytes) + name + b"\0")))


async def list_xattrs(hot: HotOperations, nodeid: int, limit_bytes: int) -> bytes:
    """Send LISTXATTR."""
    return await _send(hot, Request(LISTXATTR, 1, nodeid, memoryview(XATTR_IN.pack(limit_bytes))))


async def _send(hot: HotOperations, request: Request) -> bytes:
    try:
        answer = hot.handlers[request.opcode](request)
        assert answer is not None
        if not isinstance(answer, Sequence):
            answer = await answer
    except Exception as exc:
        raise OSError(errno_of(exc, "test"), "an error for the kernel") from exc
    return b"".join(answer)


async def list_plus(hot: HotOperations, nodeid: int, size_bytes: int = 1 << 17) -> list[Listed]:
    """Read a whole directory by READDIRPLUS; the lookups that it counts are the caller's to give back."""
    found: list[Listed] = []
    while data := await ask(hot, READDIRPLUS, nodeid, found[-1].next_offset if found else 0, size_bytes):
        start = 0
        while start < len(data):
            node, size = struct.unpack_from("=Q40xQ", data, start)
            _, next_offset, length, _ = _DIRENT.unpack_from(data, start + _ENTRY_OUT_BYTES)
            at_name = start + _ENTRY_OUT_BYTES + _DIRENT.size
            found.append(Listed(data[at_name : at_name + length], next_offset, node, size))
            start = at_name + -(-length // 8) * 8
    return found


def request(opcode: int, unique: int, nodeid: int = 1, body: bytes = b"") -> bytes:
    """Return a request as it is read from /dev/fuse."""
    return REQUEST_HEAD.pack(REQUEST_HEAD.size + len(body), opcode, unique, nodeid, 0, 0, 1, 0, 0) + body
