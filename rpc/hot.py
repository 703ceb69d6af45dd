"""What comes in thousands, decoded by precompiled structs: the same values as the derived codecs, many times faster.

Two kinds: codecs of list results for the table of calls, and iterators over the records of FileOut chunks. Every
length, count and padding is checked before it is used; anything wrong raises RemoteProtocolError.
"""

import os
import stat as modes
import struct
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, TypeVar

from rpc.codec import Codec, FileName, codec_of, list_of
from rpc.errors import RemoteProtocolError
from rpc.types import Dirent, Statns, Xattr
from rpc.xdr import PADDING, Reader

T = TypeVar("T")

STATNS: Final = struct.Struct(">22q")
"""``Statns`` on the wire."""
_WORD: Final = struct.Struct(">I")
_TWO_WORDS: Final = struct.Struct(">II")
_THREE_WORDS: Final = struct.Struct(">III")
_DIRENT_HEAD: Final = struct.Struct(">qI")
_WALK_HEAD: Final = struct.Struct(">5I")
_WALK_PART_MAX_BYTES: Final = 8 << 20
_PACKED: Final = struct.Struct(">17q40x")
_UNREADABLE: Final = _PACKED.pack(0, -1, *([0] * 15))
_PROTECTED: Final = 0x30
"""STATX_ATTR_IMMUTABLE and STATX_ATTR_APPEND (linux/stat.h)."""
_STATX: Final = struct.Struct("<IIQIIIH2xqqqQqI20xqI4xqI4xIIII112x")
"""struct statx (linux/stat.h) without what ``Statns`` does not have."""


class RawEntry(NamedTuple):
    """One ``DirectoryEntry`` with its attributes still packed, at ``stat_offset`` of the data it came in."""

    name: FileName
    stat_offset: int
    target: bytes
    xattrs: tuple[Xattr, ...] | None
    """None if they could not be listed."""


class WalkPart(NamedTuple):
    """Up to a few hundred entries of one directory in the stream of ``walk``.

    Attributes:
        state: 0 for a directory that cannot be listed, 1 for its last part, 2 if others follow.
        stats: a ``STATNS`` for each name, whose ``st_spare1`` is 1 if the file is neither immutable nor append-only.
        targets: of the links among the names, in order; empty for one that could not be read.
    """

    path: bytes
    state: int
    names: list[bytes]
    stats: bytes
    targets: dict[int, bytes]


def _opaque(data: bytes, offset: int) -> tuple[bytes, int]:
    """Return the opaque item at ``offset`` and where the next item begins."""
    start = offset + 4
    end = start + _WORD.unpack_from(data, offset)[0]
    padding = PADDING[(end - start) & 3]
    stop = end + len(padding)
    if stop > len(data) or data[end:stop] != padding:
        raise RemoteProtocolError("an item is cut short or its padding is not zero")
    return data[start:end], stop


def _file_name(data: bytes, offset: int) -> tuple[FileName, int]:
    name, offset = _opaque(data, offset)
    if not name or b"/" in name or b"\0" in name:
        raise RemoteProtocolError(f"{name!r} is not the name of a file")
    return FileName(name), offset


def _xattr(data: bytes, offset: int) -> tuple[Xattr, int]:
    name, offset = _opaque(data, offset)
    value, offset = _opaque(data, offset)
    return Xattr(name, value), offset


def _dirent(data: bytes, offset: int) -> tuple[Dirent, int]:
    ino, ftyp = _DIRENT_HEAD.unpack_from(data, offset)
    if ftyp > 0xFF:
        raise RemoteProtocolError(f"{ftyp} is not the code of a character of one byte")
    name, offset = _file_name(data, offset + _DIRENT_HEAD.size)
    return Dirent(ino, chr(ftyp), name), offset


def _directory_entry(data: bytes, offset: int) -> tuple[RawEntry, int]:
    name, stat_offset = _file_name(data, offset)
    target_bytes, listed, count = _THREE_WORDS.unpack_from(data, stat_offset + STATNS.size)
    target = b""
    offset = stat_offset + STATNS.size + _THREE_WORDS.size
    if target_bytes:
        target, offset = _opaque(data, stat_offset + STATNS.size)
        listed, count = _TWO_WORDS.unpack_from(data, offset)
        offset += _TWO_WORDS.size
    if not count and listed == 1:
        return RawEntry(name, stat_offset, target, ()), offset
    if listed > 1 or (count and not listed) or count * 8 > len(data) - offset:
        raise RemoteProtocolError(f"a list of {count} extended attributes, listed {listed}")
    xattrs = []
    for _ in range(count):
        xattr, offset = _xattr(data, offset)
        xattrs.append(xattr)
    return RawEntry(name, stat_offset, target, tuple(xattrs) if listed else None), offset


def _file_content(data: bytes, offset: int) -> tuple[bytes | None, int]:
    (complete,) = _WORD.unpack_from(data, offset)
    content, offset = _opaque(data, offset + _WORD.size)
    if complete > 1 or (content and not complete):
        raise RemoteProtocolError(f"a content of {len(content)} bytes, complete {complete}")
    return content if complete else None, offset


def _records(data: bytes, decode: Callable[[bytes, int], tuple[T, int]]) -> Iterator[T]:
    offset = 0
    try:
        while offset < len(data):
            record, offset = decode(data, offset)
            yield record
    except struct.error as exc:
        raise RemoteProtocolError("a record is cut short") from exc


def decode_directory_entries(data: bytes) -> Iterator[RawEntry]:
    """Yield the whole ``DirectoryEntry`` records that a chunk of ``list_directory`` holds."""
    return _records(data, _directory_entry)


def decode_file_contents(data: bytes) -> Iterator[bytes | None]:
    """Yield what the whole ``FileContent`` records of a chunk hold; None for one that is not complete."""
    return _records(data, _file_content)


class WalkDecoder:
    """Takes the stream of ``walk`` apart, wherever it is cut into chunks."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[WalkPart]:
        """Take a chunk and yield the parts that are whole by now."""
        data = self._rest + data
        offset = 0
        while len(data) - offset >= _WALK_HEAD.size:
            head = _WALK_HEAD.unpack_from(data, offset)
            path_bytes, state, count, names_bytes, targets_bytes = head
            size_bytes = _WALK_HEAD.size + path_bytes + names_bytes + targets_bytes + count * _STATX.size
            if state > 2 or size_bytes > _WALK_PART_MAX_BYTES:
                raise RemoteProtocolError(f"an impossible part of a walk: {head}")
            if len(data) - offset < size_bytes:
                break
            yield _walk_part(data[offset : offset + size_bytes])
            offset += size_bytes
        self._rest = data[offset:]

    def finish(self) -> None:
        """Insist that the stream ended behind a whole part."""
        if self._rest:
            raise RemoteProtocolError(f"the last {len(self._rest)} bytes of a walk are no whole part")


def _walk_part(data: bytes) -> WalkPart:
    path_bytes, state, count, names_bytes, targets_bytes = _WALK_HEAD.unpack_from(data)
    at_names = _WALK_HEAD.size + path_bytes
    at_targets = at_names + names_bytes
    at_stats = at_targets + targets_bytes
    names = data[at_names:at_targets].split(b"\0") if names_bytes else []
    if len(names) != count:
        raise RemoteProtocolError(f"{len(names)} names where {count} are said to be")
    stats = []
    links = []
    for index, row in enumerate(_STATX.iter_unpack(memoryview(data)[at_stats:])):
        stats.append(_packed(row, tells_protected=True))
        if modes.S_ISLNK(row[6]):
            links.append(index)
    targets = data[at_targets:at_stats].split(b"\0") if links else []
    if len(targets) != len(links) or bool(targets_bytes) > bool(links):
        raise RemoteProtocolError(f"{len(targets)} targets of {len(links)} links")
    path = data[_WALK_HEAD.size : at_names]
    return WalkPart(path, state, names, b"".join(stats), dict(zip(links, targets, strict=True)))


def _packed(row: tuple[int, ...], *, tells_protected: bool) -> bytes:
    """Pack the fields of a ``struct statx`` as a ``STATNS``; an empty one is of a file that could not be looked at."""
    mask, blksize, flags, nlink, uid, gid, mode, ino, size, blocks, known, *times, r_major, r_minor, major, minor = row
    if not mask:
        return _UNREADABLE
    a_s, a_ns, c_s, c_ns, m_s, m_ns = times
    rdev = os.makedev(r_major, r_minor) if r_major or r_minor else 0
    facts = (os.makedev(major, minor), ino, mode, nlink, uid, gid, rdev, size, blksize, blocks)
    is_free = tells_protected and known & ~flags & _PROTECTED == _PROTECTED
    return _PACKED.pack(*facts, a_s, a_ns, m_s, m_ns, c_s, c_ns, is_free)


def packed_statx(data: bytes, offset: int) -> bytes:
    """Return the ``struct statx`` at an offset as a ``STATNS`` that tells of no protection; zeros if it is empty."""
    row = _STATX.unpack_from(data, offset)
    return _packed(row, tells_protected=False) if row[0] else bytes(STATNS.size)


def decode_dirents(data: bytes) -> Iterator[Dirent]:
    """Yield the whole ``dirent`` structs that a chunk of ``internal_readdir`` holds."""
    return _records(data, _dirent)


def _list_codec(item: type[T], item_min_bytes: int, decode_item: Callable[[bytes, int], tuple[T, int]]) -> Codec[Any]:
    def decode(reader: Reader) -> list[T]:
        count = reader.count(item_min_bytes)
        data = reader.rest()
        items = []
        offset = 0
        try:
            for _ in range(count):
                value, offset = decode_item(data, offset)
                items.append(value)
        except struct.error as exc:
            raise RemoteProtocolError("a list is cut short") from exc
        reader.skip(offset)
        return items

    return list_of(codec_of(item))._replace(decode=decode)


def _decode_statns_list(reader: Reader) -> list[Statns]:
    count = reader.count(STATNS.size)
    return [Statns._make(row) for row in STATNS.iter_unpack(reader.fixed_opaque(count * STATNS.size))]


STATNS_LIST: Final[Codec[list[Statns]]] = list_of(codec_of(Statns))._replace(decode=_decode_statns_list)
DIRENT_LIST: Final[Codec[list[Dirent]]] = _list_codec(Dirent, 16, _dirent)
XATTR_LIST: Final[Codec[list[Xattr]]] = _list_codec(Xattr, 8, _xattr)
