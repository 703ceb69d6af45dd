"""The stream of ``map_files``, written by hand."""

import struct
from typing import Final

from rpc.extents import EXTENT

ONE: Final = EXTENT.pack(0, 4096, 8192, 1)


def slot(extent: bytes | None, *, mapped: int | None = None, follows: int = 0) -> bytes:
    """Return a struct fiemap with at most one extent; None for a file that cannot be mapped."""
    if extent is None:
        return bytes(88)
    mapped = bool(extent) if mapped is None else mapped
    return struct.pack("<QQIIII", 0, (1 << 64) - 1, 0, mapped, 1, follows) + extent.ljust(56, b"\0")


def part(filesystem: int, *slots: bytes) -> bytes:
    """Return what the stream says of files of one directory."""
    return struct.pack(">QI", filesystem, len(slots)) + b"".join(slots)


def block(*extents: bytes) -> bytes:
    """Return extents of a file that has more than one; none for their end."""
    return struct.pack(">I", len(extents)) + b"".join(extents)


def stream_of(filesystem: int, *files: bytes | None) -> bytes:
    """Return what the stream says of files of one directory, by their extents back to back."""
    slots = []
    rest = b""
    for extents in files:
        is_many = extents is not None and len(extents) > EXTENT.size
        slots.append(slot(extents[: EXTENT.size] if extents is not None else None, follows=is_many))
        if extents is not None and is_many:
            rest += struct.pack(">I", len(extents) // EXTENT.size) + extents + block()
    return part(filesystem, *slots) + rest
