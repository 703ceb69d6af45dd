"""Changes of files as they go over the wire: many in one call, packed, for encoding each would cost more than doing it.

A change is carried out in this order: make the file, cut to a size, write, give to an owner, set the mode, set the
times. One that fails does not keep the next ones of the call from being made.
"""

from collections.abc import Iterator, Sequence
from struct import Struct
from struct import error as struct_error
from typing import Final, NamedTuple

from rpc import constants
from rpc.errors import RemoteProtocolError
from rpc.hot import packed_statx

_HEAD: Final = Struct(">IIQQIIIqIqIQI")
_WRITE: Final = Struct(">QII")
"""Offset, length, and how many bytes of nothing stand before the data."""
DIRECT_BYTES: Final = 64 * 1024
"""Data as long as this, at a whole page of the file, stand at a whole page here too: they need not be copied."""
PAGE_BYTES: Final = 4096
_NS: Final = 1_000_000_000
_ANSWER: Final = Struct(">IQ")
ANSWER_BYTES: Final = _ANSWER.size + constants.STATX_BYTES


class Wish:
    """What a change shall do besides writing, as bits: plain numbers, for an enum's take the guest 30 times as long."""

    MODE: Final = 1
    UID: Final = 2
    GID: Final = 4
    SIZE: Final = 8
    ATIME: Final = 16
    MTIME: Final = 32
    APPEND: Final = 64
    """The file may be one that can only be appended to. Offsets count all the same: a mapping's page is no addition."""
    CREATE: Final = 128
    """Make a file, which must not be there yet: ``mode``, ``uid`` and ``gid`` are what it gets.

    It is a regular one, or, if the mode says so, a symbolic link, whose target is what would be written.

    Unless GID is wished too, a directory whose setgid bit is set decides about the group."""
    REMOVE: Final = 256
    """Remove the name, or the directory, and do nothing else."""
    BY_NAME: Final = 512
    """Cut as truncate(2) does, not ftruncate(2): where the size stays, some filesystems leave the times alone."""


class Change(NamedTuple):
    """What shall be done to one file.

    Attributes:
        path: of the file, or what ``kept`` said of one that has no name any more.
        kept: the file has no name any more: its number in ``path`` is that of a descriptor.
        ino: the file's inode number; another file that has the path by now is left alone. 0 if any will do.
        writes: offsets and data, in order.
    """

    path: bytes
    kept: int = 0
    ino: int = 0
    wishes: int = 0
    mode: int = 0
    uid: int = 0
    gid: int = 0
    atime_ns: int = 0
    mtime_ns: int = 0
    size: int = 0
    writes: Sequence[tuple[int, bytes | memoryview]] = ()


class Answer(NamedTuple):
    """What became of a change.

    Attributes:
        errno: of the first thing that failed, 0 if nothing did.
        written: bytes that were written.
        stat: packed attributes after it, ``Statns``; all zero if there are none.
    """

    errno: int
    written: int
    stat: bytes


def encode_changes(changes: Sequence[Change]) -> list[bytes | memoryview]:
    """Return changes as bytes, in parts to be joined."""
    parts: list[bytes | memoryview] = []
    at = 0
    for change in changes:
        path, kept, ino, wishes, mode, uid, gid, atime_ns, mtime_ns, size, writes = change
        times = (*divmod(atime_ns, _NS), *divmod(mtime_ns, _NS))
        parts.append(_HEAD.pack(len(path), wishes, kept, ino, mode, uid, gid, *times, size, len(writes)))
        parts.append(path)
        at += _HEAD.size + len(path)
        for offset, data in writes:
            at += _WRITE.size
            is_direct = len(data) >= DIRECT_BYTES and not offset % PAGE_BYTES
            padding_bytes = -at % PAGE_BYTES if is_direct else 0
            parts += (_WRITE.pack(offset, len(data), padding_bytes), bytes(padding_bytes), data)
            at += padding_bytes + len(data)
    return parts


def decode_changes(data: memoryview) -> Iterator[Change]:
    """Yield changes; their data are views of what is given.

    Raises:
        RemoteProtocolError: it is cut short.
    """
    at = 0
    unpack_head = _HEAD.unpack_from  # what is looked up for each change costs the guest
    try:
        while at < len(data):
            path_bytes, wishes, kept, ino, mode, uid, gid, a_s, a_ns, m_s, m_ns, size, count = unpack_head(data, at)
            at += _HEAD.size
            path = data[at : at + path_bytes].tobytes()
            at += path_bytes
            writes = []
            for _ in range(count):
                offset, size_bytes, padding_bytes = _WRITE.unpack_from(data, at)
                at += _WRITE.size + padding_bytes
                writes.append((offset, data[at : at + size_bytes]))
                at += size_bytes
            if at > len(data):
                raise RemoteProtocolError("a change is cut short")
            atime_ns, mtime_ns = a_s * _NS + a_ns, m_s * _NS + m_ns
            yield Change(path, kept, ino, wishes, mode, uid, gid, atime_ns, mtime_ns, size, writes)
    except struct_error as exc:
        raise RemoteProtocolError("a change is cut short") from exc


def encode_answer(errno: int, written: int, statx: bytes) -> bytes:
    """Return what became of a change, as bytes, with the file's ``struct statx``, all zeros if there is none."""
    return _ANSWER.pack(errno, written) + statx


def decode_answers(data: bytes, count: int) -> list[Answer]:
    """Return what became of ``count`` changes.

    Raises:
        RemoteProtocolError: these are not so many.
    """
    if len(data) != count * ANSWER_BYTES:
        raise RemoteProtocolError(f"{len(data)} bytes are not the answers to {count} changes")
    answers = []
    for at in range(0, len(data), ANSWER_BYTES):
        errno, written = _ANSWER.unpack_from(data, at)
        answers.append(Answer(errno, written, packed_statx(data, at + _ANSWER.size)))
    return answers
