"""File data: reading regular files, never anything else a guest's directory may hold."""

import os
import stat as modes
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from errno import EINVAL, EISDIR
from itertools import islice
from struct import Struct
from typing import Final

from daemon.registry import handles, streams
from daemon.session import CallError, Pieces, Session
from rpc import constants, procedures
from rpc.procedures.contents import PreadArgs
from rpc.procedures.extensions import ReadFilesArgs
from rpc.xdr import PADDING

_OPEN_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_TWO_WORDS: Final = Struct(">II")
_UNREADABLE: Final = _TWO_WORDS.pack(0, 0)
_RECORD_BYTES: Final = _TWO_WORDS.size + 3
"""Most that a ``FileContent`` takes besides its data."""
_AHEAD_FILES: Final = 16
_PIECE_BYTES: Final = 256 * 1024
"""Longer pieces would only keep the host waiting."""


def open_regular(path: bytes, *, follow: bool = True) -> int:
    """Open a regular file, inside the guest's root.

    A FIFO is not waited for, and a device node is refused: it would name a device of the appliance.
    """
    descriptor = os.open(path, _OPEN_FLAGS if follow else _OPEN_FLAGS | os.O_NOFOLLOW)
    mode = os.fstat(descriptor).st_mode
    if modes.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    number = EISDIR if modes.S_ISDIR(mode) else EINVAL
    raise OSError(number, f"{os.strerror(number)} (not a regular file)", path)


@contextmanager
def opened(session: Session, path: bytes) -> Iterator[int]:
    """Own a descriptor of a regular file of the guest."""
    with session.sysroot:
        descriptor = open_regular(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def checked_range(count: int, offset: int) -> None:
    """Refuse what ``pread`` refuses (guestfs-protocol 5.4)."""
    if not 0 <= count < constants.PREAD_COUNT_LIMIT:
        raise CallError(f"count {count}: 0 to {constants.PREAD_COUNT_LIMIT - 1} is allowed")
    if offset < 0:
        raise CallError(f"offset {offset} is negative")


@handles(procedures.PREAD)
def pread(session: Session, args: PreadArgs) -> bytes:
    """Return part of a regular file, shorter only at its end."""
    with opened(session, args.path) as descriptor:
        checked_range(args.count, args.offset)
        return os.pread(descriptor, args.count, args.offset)


@streams(procedures.READ_FILES)
def read_files(session: Session, args: ReadFilesArgs) -> Pieces:
    """Stream the contents of several small files of one directory, whole records in each piece."""
    if args.max_bytes + _RECORD_BYTES > session.chunk_max_bytes:
        raise CallError(f"max_bytes {args.max_bytes} does not fit into a chunk of {session.chunk_max_bytes} bytes")
    limit = min(session.chunk_max_bytes, max(_PIECE_BYTES, args.max_bytes + _RECORD_BYTES))
    with session.sysroot:
        directory = os.open(args.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        parts: list[bytes] = []
        size_bytes = 0
        for data in _small_files(directory, args.names, args.max_bytes):
            record_bytes = _RECORD_BYTES + len(data or b"")
            if size_bytes + record_bytes > limit:
                yield b"".join(parts)
                parts, size_bytes = [], 0
            parts += (_UNREADABLE,) if data is None else (_TWO_WORDS.pack(1, len(data)), data, PADDING[len(data) & 3])
            size_bytes += record_bytes
        yield b"".join(parts)
    finally:
        os.close(directory)


def _small_files(directory: int, names: Sequence[bytes], max_bytes: int) -> Iterator[bytes | None]:
    """Yield each file's content; None if it is not regular, longer, or unreadable.

    Files are opened ahead of being read, so that the disk fetches many at a time.
    """
    opened: deque[tuple[int, int] | None] = deque()
    waiting = iter(names)
    try:
        while True:
            for name in islice(waiting, _AHEAD_FILES - len(opened)):
                opened.append(_open_small(directory, name, max_bytes))
            if not opened:
                return
            file = opened.popleft()
            yield _content(*file) if file is not None else None
    finally:
        for file in opened:
            if file is not None:
                os.close(file[0])


def _open_small(directory: int, name: bytes, max_bytes: int) -> tuple[int, int] | None:
    """Open a file and start fetching it; return its descriptor and size, None if it is not wanted."""
    try:
        descriptor = os.open(name, _OPEN_FLAGS | os.O_NOFOLLOW, dir_fd=directory)
    except OSError:
        return None
    try:
        info = os.fstat(descriptor)
        if modes.S_ISREG(info.st_mode) and info.st_size <= max_bytes:
            os.posix_fadvise(descriptor, 0, info.st_size, os.POSIX_FADV_WILLNEED)
            return descriptor, info.st_size
    except OSError:
        pass  # unreadable, like one that does not open
    os.close(descriptor)
    return None


def _content(descriptor: int, size_bytes: int) -> bytes | None:
    try:
        return os.read(descriptor, size_bytes)
    except OSError:
        return None
    finally:
        os.close(descriptor)
