"""The stream of ``map_files``, taken apart: where the bytes of many files lie.

Layout: ``u64 filesystem``, then records ``u32 state | u32 count | count x (u64 logical | u64 physical | u64 length |
u32 flags)``, whole records in each chunk; lengths and addresses in bytes, flags those of linux/fiemap.h.
"""

from collections.abc import Iterator
from struct import Struct, error
from typing import Final

from rpc.errors import RemoteProtocolError

REFUSED: Final = 0
"""State of a record: the file cannot be mapped, whatever records of it came before."""
WHOLE: Final = 1
"""State of the last or only record of a file."""
MORE: Final = 2
"""State of a record that more of the same file follow."""

FILESYSTEM: Final = Struct(">Q")
RECORD: Final = Struct(">II")
EXTENT: Final = Struct(">QQQI")
"""Logical and physical address, length, flags."""


def decode_filesystem(data: bytes) -> int:
    """Return the number of the mount that the stream begins with."""
    if len(data) < FILESYSTEM.size:
        raise RemoteProtocolError("the extents do not say which filesystem they are of")
    (number,) = FILESYSTEM.unpack_from(data)
    return int(number)


def decode_extents(data: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield state and packed extents (``EXTENT``, back to back) of each record of a chunk, from an offset on."""
    end = len(data)
    try:
        while offset < end:
            state, count = RECORD.unpack_from(data, offset)
            start = offset + RECORD.size
            offset = start + count * EXTENT.size
            if state > MORE or (state != WHOLE and bool(count) is (state == REFUSED)):
                raise RemoteProtocolError(f"a record of {count} extents, state {state}")
            if offset > end:
                raise RemoteProtocolError(f"a record of {count} extents is cut short")
            yield state, data[start:offset]
    except error as exc:
        raise RemoteProtocolError("a record is cut short") from exc
