"""Results that come in thousands, decoded by precompiled structs: the same bytes as the codecs, many times faster.

Every length and count is checked before it is used; anything wrong raises RemoteProtocolError.
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from rpc.errors import RemoteProtocolError
from rpc.types import Dirent, Xattr

_WORD: Final = struct.Struct(">I")
_DIRENT_HEAD: Final = struct.Struct(">qiI")
STATNS: Final = struct.Struct(">22q")
_PADDING: Final = (b"", b"\0\0\0", b"\0\0", b"\0")


class RawEntry(NamedTuple):
    """One ``DirectoryEntry`` with its parts still packed: 22 x i64 attributes at ``stat_offset`` of the data."""

    name: bytes
    stat_offset: int
    target: bytes
    xattrs: tuple[tuple[bytes, bytes], ...] | None
    """None if they could not be listed."""


def _opaque(data: bytes, offset: int) -> tuple[bytes, int]:
    """Return the opaque item at ``offset`` and where the next item begins."""
    start = offset + 4
    end = start + _WORD.unpack_from(data, offset)[0]
    padding = _PADDING[(end - start) & 3]
    stop = end + len(padding)
    if stop > len(data) or data[end:stop] != padding:
        raise RemoteProtocolError("an item is cut short or its padding is not zero")
    return data[start:end], stop


def decode_directory_entries(data: bytes) -> Iterator[RawEntry]:
    """Yield the whole ``DirectoryEntry`` records that a chunk holds."""
    offset = 0
    try:
        while offset < len(data):
            name, stat_offset = _opaque(data, offset)
            target, offset = _opaque(data, stat_offset + STATNS.size)
            listed, count = struct.unpack_from(">II", data, offset)
            offset += 8
            if listed > 1 or (count and not listed) or count * 8 > len(data) - offset:
                raise RemoteProtocolError(f"a list of {count} extended attributes, listed {listed}")
            pairs = []
            for _ in range(count):
                attribute, offset = _opaque(data, offset)
                value, offset = _opaque(data, offset)
                pairs.append((attribute, value))
            yield RawEntry(name, stat_offset, target, tuple(pairs) if listed else None)
    except struct.error as exc:
        raise RemoteProtocolError("a directory entry is cut short") from exc


def decode_file_contents(data: bytes) -> Iterator[bytes | None]:
    """Yield what the whole ``FileContent`` records of a chunk hold; None for one that is not complete."""
    offset = 0
    try:
        while offset < len(data):
            complete = _WORD.unpack_from(data, offset)[0]
            if complete > 1:
                raise RemoteProtocolError(f"{complete} is not a boolean")
            content, offset = _opaque(data, offset + 4)
            yield content if complete else None
    except struct.error as exc:
        raise RemoteProtocolError("a file's content is cut short") from exc


def decode_dirents(data: bytes) -> Iterator[Dirent]:
    """Yield the whole ``dirent`` structs that a chunk of ``internal_readdir`` holds."""
    offset = 0
    try:
        while offset < len(data):
            ino, ftyp, _ = _DIRENT_HEAD.unpack_from(data, offset)
            name, offset = _opaque(data, offset + 12)
            yield Dirent(ino, chr(ftyp & 0xFF), name)  # type: ignore[arg-type]
    except struct.error as exc:
        raise RemoteProtocolError("a directory entry is cut short") from exc


def decode_statns_list(body: bytes) -> list[tuple[int, ...]]:
    """Return the attributes that a ``statns[]`` result holds, as tuples in wire order."""
    count = _count(body, STATNS.size)
    return [STATNS.unpack_from(body, 4 + index * STATNS.size) for index in range(count)]


def decode_xattr_list(body: bytes) -> list[Xattr]:
    """Return the attributes that an ``xattr[]`` result holds."""
    offset = 4
    result = []
    try:
        for _ in range(_count(body, 8)):
            name, offset = _opaque(body, offset)
            value, offset = _opaque(body, offset)
            result.append(Xattr(name, value))
    except struct.error as exc:
        raise RemoteProtocolError("an extended attribute is cut short") from exc
    return result


def _count(body: bytes, item_min_bytes: int) -> int:
    if len(body) < 4:
        raise RemoteProtocolError("a list without a count")
    (count,) = _WORD.unpack_from(body)
    if count * item_min_bytes > len(body) - 4:
        raise RemoteProtocolError(f"a list of {count} items cannot fit into {len(body)} bytes")
    return int(count)
