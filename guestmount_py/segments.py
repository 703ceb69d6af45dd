"""Large files read in order: segments of a fixed grid, streamed ahead of the reader."""

import bisect
from collections import OrderedDict
from typing import Final

import trio

from guestmount_py.caches import CacheBudget
from guestmount_py.guest_files import GuestFiles
from guestmount_py.log import logger
from rpc.errors import ConnectionLost, GuestmountError, RemoteProtocolError

SEGMENT_BYTES: Final = 4 << 20
_KEPT: Final = 2
"""A reader needs the segment it is in and the next."""


class Segment:
    """A piece of a file that fills from its front; readers wait only for the part they want.

    Args:
        size_bytes: when it is full.

    Attributes:
        size_bytes: the same.
        transfer: what fills it; cancelled when nobody wants it any more.
    """

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes: Final = size_bytes
        self.transfer: Final = trio.CancelScope()
        self._pieces: list[bytes] = []
        self._ends: list[int] = []
        self._arrived = trio.lowlevel.ParkingLot()
        self._error: GuestmountError | None = None
        self.is_finished = False

    @property
    def filled_bytes(self) -> int:
        """Return how much has arrived."""
        return self._ends[-1] if self._ends else 0

    @property
    def is_half_full(self) -> bool:
        """Tell whether the next segment should be under way, lest the guest be idle between the two."""
        return self.is_finished or self.filled_bytes * 2 >= self.size_bytes

    def append(self, piece: bytes) -> None:
        """Take what arrived."""
        self._pieces.append(piece)
        self._ends.append(self.filled_bytes + len(piece))
        self._arrived.unpark_all()

    def finish(self, error: GuestmountError | None) -> None:
        """Note that nothing more will come."""
        self.is_finished = True
        self._error = error
        self._arrived.unpark_all()

    async def read(self, start: int, end: int) -> bytes:
        """Return the bytes between two offsets in the segment; raises what filling it raised, if they did not come."""
        while self.filled_bytes < end and not self.is_finished:
            await self._arrived.park()
        if self.filled_bytes < end and self._error is not None:
            raise self._error
        parts = []
        index = bisect.bisect_right(self._ends, start)
        while start < end and index < len(self._pieces):
            begin = self._ends[index] - len(self._pieces[index])
            parts.append(self._pieces[index][start - begin : end - begin])
            start = self._ends[index]
            index += 1
        return parts[0] if len(parts) == 1 else b"".join(parts)


class SegmentCache:
    """Segments of all open files; the least recently used ones go first.

    Each segment is one bounded transfer, so no channel is held while a reader takes its time.
    """

    def __init__(self, guest: GuestFiles, nursery: trio.Nursery, budget: CacheBudget) -> None:
        self._guest = guest
        self._nursery = nursery
        self._cache = budget.open_cache("segments", self._drop)
        self._segments: OrderedDict[tuple[int, int], Segment] = OrderedDict()

    async def read(self, inode: int, path: bytes, size_bytes: int, offset: int, count: int) -> bytes:
        """Return part of a file of known size, and see that what follows is under way."""
        end = min(offset + count, size_bytes)
        parts = []
        while offset < end:
            index = offset // SEGMENT_BYTES
            base = index * SEGMENT_BYTES
            if (inode, index) in self._segments:
                self._cache.hits += 1
            else:
                self._cache.misses += 1
            segment = self._segment(inode, path, size_bytes, index)
            part = await segment.read(offset - base, min(end - base, SEGMENT_BYTES))
            if not part:
                break  # the file is shorter than its size said
            parts.append(part)
            offset += len(part)
            if segment.is_half_full and (index + 1) * SEGMENT_BYTES < size_bytes:
                self._segment(inode, path, size_bytes, index + 1)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _segment(self, inode: int, path: bytes, size_bytes: int, index: int) -> Segment:
        key = (inode, index)
        segment = self._segments.get(key)
        if segment is None:
            offset = index * SEGMENT_BYTES
            segment = self._segments[key] = Segment(min(SEGMENT_BYTES, size_bytes - offset))
            self._nursery.start_soon(self._fill, segment, key, path, offset)
            self._cache.add(segment.size_bytes)
        self._segments.move_to_end(key)
        return segment

    async def _fill(self, segment: Segment, key: tuple[int, int], path: bytes, offset: int) -> None:
        size_bytes = segment.size_bytes
        error: GuestmountError | None = ConnectionLost("the file or the mount was closed")
        try:
            with segment.transfer:
                async with self._guest.stream(path, offset, size_bytes) as pieces:
                    async for piece in pieces:
                        if segment.filled_bytes + len(piece) > size_bytes:
                            raise RemoteProtocolError(f"more than the {size_bytes} bytes that were asked for")
                        segment.append(piece)
                error = None
        except GuestmountError as exc:
            error = exc
        except Exception:
            logger.exception("reading %r failed: this is a bug", path)  # it must not end the mount
            error = RemoteProtocolError(f"reading {path!r} failed")
        finally:
            segment.finish(error)
            if error is not None and self._segments.get(key) is segment:
                self._remove(key)  # the next reader asks again

    def forget(self, inode: int | None) -> None:
        """Drop the segments of a file, or of all, also those under way; nobody is waiting for one."""
        for key in [key for key in self._segments if inode in (key[0], None)]:
            self._remove(key).transfer.cancel()

    def _remove(self, key: tuple[int, int]) -> Segment:
        segment = self._segments.pop(key)
        self._cache.remove(segment.size_bytes)
        return segment

    def _drop(self) -> bool:
        if len(self._segments) <= _KEPT:
            return False
        self._remove(next(iter(self._segments)))
        return True
