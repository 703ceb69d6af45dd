"""The extension ``map_files``: where the bytes of many files of one directory lie, as the kernel tells it."""

import os
import stat as modes
from collections.abc import Iterator
from errno import EIO, ENODATA
from fcntl import ioctl
from struct import Struct
from typing import Final

from daemon.registry import streams
from daemon.session import CallError, Pieces, Session
from rpc import procedures
from rpc.procedures.extensions import MapFilesArgs

FIEMAP: Final = 0xC020660B
"""FS_IOC_FIEMAP of Linux (linux/fs.h), whose structures are in linux/fiemap.h."""
_SYNC: Final = 1
_LAST: Final = 1
_TO_THE_END: Final = (1 << 64) - 1
_HEAD: Final = Struct("=QQIIII")
"""struct fiemap: start, length, flags, extents mapped, room for so many, reserved."""
_FIRST: Final = Struct("=I8xQQQ16xI12x")
"""How many extents are mapped and the first of them, from ``_COUNT_OFFSET`` on."""
_COUNT_OFFSET: Final = 20
_EXTENT: Final = Struct("=QQQ16xI12x")
"""struct fiemap_extent: logical, physical, length, flags."""
_PIECE_BYTES: Final = 128 * 1024
"""Longer pieces would only keep the host waiting."""
_EXTENTS_MAX: Final = 1024
"""How many of a file's extents are asked for at once."""

_FILESYSTEM: Final = Struct(">Q")
_RECORD: Final = Struct(">II")
_ONE: Final = Struct(">IIQQQI")
_PACKED: Final = Struct(">QQQI")
_REFUSED, _WHOLE, _MORE = range(3)
_NOT_MAPPABLE: Final = _RECORD.pack(_REFUSED, 0)
_NOTHING: Final = _RECORD.pack(_WHOLE, 0)

_OPEN_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def mount_number(descriptor: int) -> int:
    """Return the kernel's number of the mount that an open file is on (proc(5), fdinfo)."""
    with open(f"/proc/self/fdinfo/{descriptor}", "rb") as file:
        for line in file:
            if line.startswith(b"mnt_id:"):
                return int(line[7:])
    raise OSError(ENODATA, "the kernel does not tell the number of the mount")


@streams(procedures.MAP_FILES)
def map_files(session: Session, args: MapFilesArgs) -> Pieces:
    """Stream the mount's number, then each file's extents, whole records in each piece.

    The directory is the working directory while a piece is made, not while it is sent: names in it, of which no link is
    followed, need no confinement.
    """
    names = args.names.split(b"\0") if args.names else []
    if b"/" in args.names or b".." in names:
        raise CallError("a name must not be .. and not contain /")
    limit = min(session.chunk_max_bytes, _PIECE_BYTES) - len(_NOT_MAPPABLE)  # which may follow when all is full
    with session.sysroot:
        directory = os.open(args.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    origin = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        is_written = not os.fstatvfs(directory).f_flag & os.ST_RDONLY
        head = _FILESYSTEM.pack(mount_number(directory))
        pieces = _pieces(names, head, limit, _SYNC if is_written else 0)
        while True:
            os.fchdir(directory)
            try:
                piece = next(pieces, None)
            finally:
                os.fchdir(origin)
            if piece is None:
                return
            yield piece
    finally:
        os.close(origin)
        os.close(directory)


def _pieces(names: list[bytes], head: bytes, limit: int, flags: int) -> Iterator[bytes]:
    """Yield the records of files in the working directory, joined; few steps for each, for there are thousands."""
    most = min(_EXTENTS_MAX, (limit - _RECORD.size) // _PACKED.size)
    request = bytearray(_HEAD.size + most * _EXTENT.size)
    _HEAD.pack_into(request, 0, 0, _TO_THE_END, flags, 0, most, 0)
    parts = [head]
    room = limit - len(head)
    for name in names:
        if room < _ONE.size:
            yield b"".join(parts)
            parts, room = [], limit
        room -= _ONE.size
        try:
            descriptor = os.open(name, _OPEN_FLAGS)
        except OSError:
            parts.append(_NOT_MAPPABLE)
            continue
        try:
            os.read(descriptor, 0)  # fails for a directory, and costs half as much as fstat(2)
            ioctl(descriptor, FIEMAP, request)
            first = _FIRST.unpack_from(request, _COUNT_OFFSET)
            if first[0] == 1:
                parts.append(_ONE.pack(_WHOLE, *first))
            elif first[0]:
                for record in _many(descriptor, request, most):
                    if len(record) > room:
                        yield b"".join(parts)
                        parts, room = [], limit
                    parts.append(record)
                    room -= len(record)
            else:  # a FIFO has no extents either
                parts.append(_NOTHING if modes.S_ISREG(os.fstat(descriptor).st_mode) else _NOT_MAPPABLE)
        except OSError:
            parts.append(_NOT_MAPPABLE)
        finally:
            os.close(descriptor)
    yield b"".join(parts)


def _many(descriptor: int, request: bytearray, most: int) -> Iterator[bytes]:
    """Yield the records of a file whose first extents were just asked for; leave the request as it was."""
    start = 0
    try:
        while True:
            count: int = _FIRST.unpack_from(request, _COUNT_OFFSET)[0]
            if not count:
                yield _NOTHING
                return
            extents = list(_EXTENT.iter_unpack(memoryview(request)[_HEAD.size : _HEAD.size + count * _EXTENT.size]))
            packed = b"".join([_PACKED.pack(*extent) for extent in extents])
            logical, _, length, flags = extents[-1]
            if count < most or flags & _LAST:
                yield _RECORD.pack(_WHOLE, count) + packed
                return
            if logical + length <= start:
                raise OSError(EIO, "the extents go round in circles")
            yield _RECORD.pack(_MORE, count) + packed
            start = logical + length
            _HEAD.pack_into(request, 0, start, _TO_THE_END, *_HEAD.unpack_from(request)[2:])
            ioctl(descriptor, FIEMAP, request)
    finally:
        _HEAD.pack_into(request, 0, 0, _TO_THE_END, *_HEAD.unpack_from(request)[2:])
