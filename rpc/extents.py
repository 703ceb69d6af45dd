"""The stream of ``map_files``, taken apart: where the bytes of many files lie.

Layout: parts ``u64 filesystem | u32 count | count x struct fiemap``, the latter with room for one extent, so 88 bytes,
and little-endian (linux/fiemap.h). A slot is all zeros for a file that cannot be mapped. Where its reserved word is 1,
the file's extents follow the part, file by file: blocks ``u32 count | count x struct fiemap_extent``, the last of them
with count 0, or 0xffffffff if the file cannot be mapped after all.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

from rpc.errors import RemoteProtocolError

PART: Final = Struct(">QI")
BLOCK: Final = Struct(">I")
END: Final = 0
BROKEN: Final = (1 << 32) - 1
SLOT: Final = Struct("<8xQ4xI4xI56s")
"""struct fiemap: its length, 0 for a file that cannot be mapped; extents mapped; the reserved word; the extent."""
EXTENT: Final = Struct("<QQQ16xI12x")
"""struct fiemap_extent: logical and physical address, length, flags."""
LENGTH: Final = (1 << 64) - 1
_PART_MAX_FILES: Final = 4096
_BLOCK_MAX_EXTENTS: Final = 4096
_HELD_MAX_BYTES: Final = 1 << 20
"""A part whose files have more extents is handed out in several."""


class MapPart(NamedTuple):
    """What is said of some files of one directory.

    Attributes:
        filesystem: the kernel's number of the mount that the directory is on.
        files: extents of each, back to back; None for one that cannot be mapped.
    """

    filesystem: int
    files: list[bytes | None]


class MapDecoder:
    """Takes the stream apart, wherever it is cut into chunks.

    It holds at most about two megabytes of a part beside twice the extents of one file.

    Args:
        extents_max: a file of more counts as one that cannot be mapped.
    """

    def __init__(self, extents_max: int) -> None:
        self._max_bytes = extents_max * EXTENT.size
        self._rest = b""
        self._part: MapPart | None = None
        self._awaited: list[int] = []
        """Files of the part whose extents follow, the next one last."""
        self._blocks: list[bytes] = []
        self._blocks_bytes = 0
        self._held_bytes = 0
        """Of the part's files whose extents are whole."""

    def feed(self, data: bytes) -> Iterator[MapPart]:
        """Take a chunk and yield the parts that are whole by now."""
        data = self._rest + data
        offset = 0
        while True:
            start = offset
            offset = self._block(data, start) if self._awaited else self._begin(data, start)
            if self._part is not None and not self._awaited:
                yield self._part
                self._part = None
                self._held_bytes = 0
            elif self._part is not None and self._held_bytes > _HELD_MAX_BYTES:
                yield self._first_files(self._part)
            elif offset == start:
                break
        self._rest = data[offset:]

    def _first_files(self, part: MapPart) -> MapPart:
        """Take the files before the one awaited next out of a part."""
        count = self._awaited[-1]
        self._part = part._replace(files=part.files[count:])
        self._awaited = [index - count for index in self._awaited]
        self._held_bytes = 0
        return part._replace(files=part.files[:count])

    def finish(self) -> None:
        """Insist that the stream ended behind a whole part."""
        if self._rest or self._part is not None:
            raise RemoteProtocolError("the extents end in the middle")

    def _begin(self, data: bytes, offset: int) -> int:
        """Take the head and slots of a part if they are here; return where what follows begins."""
        if len(data) - offset < PART.size:
            return offset
        count: int
        filesystem, count = PART.unpack_from(data, offset)
        if count > _PART_MAX_FILES:
            raise RemoteProtocolError(f"extents of {count} files in one part")
        start = offset + PART.size
        end = start + count * SLOT.size
        if len(data) < end:
            return offset
        files: list[bytes | None] = []
        for length, mapped, follows, extent in SLOT.iter_unpack(memoryview(data)[start:end]):
            if mapped == 1 and not follows:
                files.append(extent)
            elif follows == 1:
                self._awaited.append(len(files))
                files.append(None)
            elif mapped or follows:
                raise RemoteProtocolError(f"a slot of {mapped} extents, {follows} in its reserved word")
            else:
                files.append(b"" if length else None)
        self._awaited.reverse()
        self._part = MapPart(filesystem, files)
        return end

    def _block(self, data: bytes, offset: int) -> int:
        """Take a block of a file's extents if it is here; return where what follows begins."""
        if len(data) - offset < BLOCK.size:
            return offset
        count: int
        (count,) = BLOCK.unpack_from(data, offset)
        start = offset + BLOCK.size
        if count in (END, BROKEN):
            assert self._part is not None
            is_known = count == END and self._blocks_bytes <= self._max_bytes
            self._part.files[self._awaited.pop()] = b"".join(self._blocks) if is_known else None
            self._held_bytes += self._blocks_bytes if is_known else 0
            self._blocks, self._blocks_bytes = [], 0
            return start
        if count > _BLOCK_MAX_EXTENTS:
            raise RemoteProtocolError(f"a block of {count} extents")
        end = start + count * EXTENT.size
        if len(data) < end:
            return offset
        self._blocks_bytes += end - start
        if self._blocks_bytes <= self._max_bytes:
            self._blocks.append(data[start:end])
        return end
