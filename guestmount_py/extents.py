"""Where the bytes of files lie: addresses of a filesystem on drives, and maps of single files.

The daemon tells both, and a guest may have taken it over. So every number is checked here, and what a file's map names
always lies within a drive of the same appliance.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from struct import Struct
from typing import Final, NamedTuple

from guestmount_py.printable import printable
from rpc.errors import RemoteProtocolError
from rpc.extents import EXTENT
from rpc.procedures.extensions import DeviceMap

_ADDRESS_END: Final = 1 << 63
"""No file and no drive is as long (loff_t)."""
_LAST: Final = 0x0001
_UNWRITTEN: Final = 0x0800
_HARMLESS: Final = _LAST | _UNWRITTEN | 0x1000 | 0x2000
"""FIEMAP_EXTENT_LAST, _UNWRITTEN, _MERGED and _SHARED of linux/fiemap.h.

Whatever else is there, known today or not, says that the bytes are not simply those on the disk: UNKNOWN, DELALLOC,
ENCODED, DATA_ENCRYPTED, NOT_ALIGNED, DATA_INLINE, DATA_TAIL.
"""
_DRIVE_SHIFT: Final = 56
"""In a packed place the drive's index is above the offset in it, which is below 64 PiB."""
_ZEROS: Final = (1 << 64) - 1
_ONE_RUN: Final = Struct("=QQ")


class Piece(NamedTuple):
    """Bytes of a file that lie together.

    Attributes:
        size_bytes: how many.
        serial: serial number of the drive that holds them; None for zeros, which are nowhere.
        offset: where in that drive they begin.
    """

    size_bytes: int
    serial: str | None
    offset: int


class AddressMap:
    """Where the addresses of one filesystem lie: a checked ``DeviceMap``.

    Args:
        told: by the daemon.
        drive_sizes: bytes of each drive, by serial number.

    Attributes:
        filesystem: number of the mount in the guest.
        reason: why files of it cannot be mapped, fit for a log; empty if they can.
        drives: all of the appliance, by index.
        needed: those that it lies on.

    Raises:
        RemoteProtocolError: it names a drive that there is not, or leaves one, or contradicts itself.
    """

    def __init__(self, told: DeviceMap, drive_sizes: Mapping[str, int]) -> None:
        self.filesystem: Final = told.filesystem
        self.reason: Final = printable(told.reason[:200])
        if bool(told.reason) is bool(told.segments):
            raise RemoteProtocolError(f"a device map of {len(told.segments)} segments with the reason {self.reason!r}")
        self.drives: Final = tuple(drive_sizes)
        indexes = {serial: index for index, serial in enumerate(self.drives)}
        self._starts = array("Q")
        self._ends = array("Q")
        self._places = array("Q")
        end = 0
        for start, length, serial, offset in told.segments:
            if serial not in indexes or not 0 < length <= drive_sizes[serial] - offset:
                raise RemoteProtocolError(f"a segment of {length} bytes at {offset} of the drive {serial[:40]!r}")
            if start < end or start + length > _ADDRESS_END or offset + length >= 1 << _DRIVE_SHIFT:
                raise RemoteProtocolError(f"a segment of {length} bytes at the address {start}, after {end}")
            end = start + length
            place = indexes[serial] << _DRIVE_SHIFT | offset
            if self._ends and self._ends[-1] == start and self._places[-1] + start - self._starts[-1] == place:
                self._ends[-1] = end
                continue
            self._starts.append(start)
            self._ends.append(end)
            self._places.append(place)
        self.needed: Final = frozenset(serial for _, _, serial, _ in told.segments)

    def places(self, address: int, length: int) -> Iterator[tuple[int, int]]:
        """Yield lengths and packed places of what lies at an address.

        Raises:
            RemoteProtocolError: not all of it is on a drive.
        """
        index = bisect_right(self._starts, address) - 1
        while length:
            if index < 0 or index == len(self._starts) or not self._starts[index] <= address < self._ends[index]:
                raise RemoteProtocolError(f"{length} bytes at {address} are outside the filesystem")
            size_bytes = min(length, self._ends[index] - address)
            yield size_bytes, self._places[index] + address - self._starts[index]
            address += size_bytes
            length -= size_bytes
            index += 1


class FileMap:
    """Where the bytes of one file lie, as long as nobody writes to any drive that its filesystem lies on.

    It takes about 110 bytes and 16 more for each run: the packed runs are their offsets in the file, in order, then
    their places.

    Attributes:
        size_bytes: of the file.
    """

    __slots__ = ("_addresses", "_packed", "size_bytes")

    def __init__(self, size_bytes: int, addresses: AddressMap, packed: bytes) -> None:
        self.size_bytes: Final = size_bytes
        self._addresses = addresses
        self._packed = packed

    @property
    def needed(self) -> frozenset[str]:
        """Return the drives of its filesystem: its zeros, too, are only as true as what is written there."""
        return self._addresses.needed

    def pieces(self, offset: int, count: int) -> list[Piece]:
        """Return where a range of the file lies, in order; shorter at the end of the file.

        Args:
            offset: of the first byte, at least 0.
            count: bytes wanted.
        """
        end = min(offset + count, self.size_bytes)
        runs = memoryview(self._packed).cast("Q")
        total = len(runs) // 2
        index = bisect_right(runs, offset, 0, total) - 1
        drives = self._addresses.drives
        found = []
        while offset < end:
            start = runs[index]
            stop = min(end, runs[index + 1]) if index + 1 < total else end
            place = runs[total + index]
            if place == _ZEROS:
                found.append(Piece(stop - offset, None, 0))
            else:
                place += offset - start
                serial = drives[place >> _DRIVE_SHIFT]
                found.append(Piece(stop - offset, serial, place & (1 << _DRIVE_SHIFT) - 1))
            offset = stop
            index += 1
        return found

    def seek_data(self, offset: int) -> int | None:
        """Return where the next byte that is on a drive is, at an offset or behind it; None if only zeros follow."""
        runs = memoryview(self._packed).cast("Q")
        total = len(runs) // 2
        for index in range(bisect_right(runs, offset, 0, total) - 1, total):
            if runs[total + index] != _ZEROS:
                return max(offset, runs[index])
        return None

    def seek_hole(self, offset: int) -> int:
        """Return where the next zeros that are on no drive are, at an offset or behind it; at last the file's end."""
        runs = memoryview(self._packed).cast("Q")
        total = len(runs) // 2
        for index in range(bisect_right(runs, offset, 0, total) - 1, total):
            if runs[total + index] == _ZEROS:
                return max(offset, runs[index])
        return self.size_bytes

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + self._packed.__sizeof__()


def file_map(extents: bytes, size_bytes: int, addresses: AddressMap) -> FileMap | None:
    """Return the map of a file, None if its bytes are not simply on the disk.

    Args:
        extents: packed ones of the file (``rpc.extents.EXTENT``), as ``map_files`` brought them.
        size_bytes: the file's.
        addresses: those of its filesystem.

    Raises:
        RemoteProtocolError: they overlap, go back, or leave the filesystem.
    """
    if addresses.reason:
        return None
    if len(extents) == EXTENT.size:
        logical, physical, length, flags = EXTENT.unpack(extents)
        if not logical and flags == _LAST and 0 < size_bytes <= length <= _ADDRESS_END:  # as most are
            first_bytes, place = next(addresses.places(physical, length))
            if first_bytes == length:
                return FileMap(size_bytes, addresses, _ONE_RUN.pack(0, place))
    starts, places = array("Q"), array("Q")
    done = flags = 0

    def add(start: int, place: int) -> None:
        if start >= size_bytes or (places and places[-1] == place == _ZEROS):
            return
        if places and place != _ZEROS != places[-1] and places[-1] + start - starts[-1] == place:
            return
        starts.append(start)
        places.append(place)

    for logical, physical, length, flags in EXTENT.iter_unpack(extents):
        if logical < done or not 0 < length <= _ADDRESS_END - logical:
            raise RemoteProtocolError(f"an extent of {length} bytes at {logical} of a file, after {done}")
        if flags & ~_HARMLESS:
            return None
        if logical > done:
            add(done, _ZEROS)
        done = logical + length
        if flags & _UNWRITTEN:
            add(logical, _ZEROS)
            continue
        for part_bytes, place in addresses.places(physical, length):
            add(logical, place)
            logical += part_bytes
    if extents and not flags & _LAST:
        return None  # there is more of it
    if done < size_bytes:
        add(done, _ZEROS)
    return FileMap(size_bytes, addresses, (starts + places).tobytes())
