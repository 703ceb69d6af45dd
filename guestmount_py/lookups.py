"""How often the kernel knows each file, and where the file stands in a listing: eight bytes each, if it goes well."""

from array import array
from itertools import chain
from typing import Final, NamedTuple

from guestmount_py.inode_numbers import HASHED

_PAGE_SHIFT: Final = 5
_PAGE_SLOTS: Final = 1 << _PAGE_SHIFT
_PAGE_MASK: Final = _PAGE_SLOTS - 1
_EMPTY_PAGE: Final = bytes(8 * _PAGE_SLOTS)
PAGE_BYTES: Final = 450
"""An array of 32 slots with its object, and its part of a dictionary; measured with ``tracemalloc``."""
_MANY_BYTES: Final = 150
_COUNT_MAX: Final = 0xFF
_POSITION_SHIFT: Final = 8
_POSITION_MASK: Final = 0xFFFFFF
_DIRECTORY_SHIFT: Final = 32
_DIRECTORY_MASK: Final = 0xFFFFFFFF
SCATTERED_BYTES: Final = 140
"""Two integers and their part of a dictionary; measured likewise, when it has just grown."""
_SCATTERED_ONE: Final = 1 << 64


class Place(NamedTuple):
    """Where a file was found first: the number of its directory, and its position in that one's listing."""

    directory: int
    position: int


class Lookups:
    """Lookups by inode number, in pages of consecutive numbers: filesystems give a directory's files such.

    A slot is 0 or holds, from the top, 32 bits of the directory's number, 24 of the position, 8 of the count; a count
    of 255 stands for one that is kept elsewhere. Numbers that are made up are never neighbours: each has an integer
    with the count above a slot's 64 bits.

    Attributes:
        count: how many files have lookups.
    """

    def __init__(self) -> None:
        self._pages: dict[int, array[int]] = {}
        self._many: dict[int, int] = {}
        self._scattered: dict[int, int] = {}
        self.count = 0

    @property
    def used_bytes(self) -> int:
        """Return about what it takes."""
        counts = (len(self._pages), PAGE_BYTES), (len(self._many), _MANY_BYTES), (len(self._scattered), SCATTERED_BYTES)
        return sum(count * each_bytes for count, each_bytes in counts)

    def add(self, inode: int, directory: int, position: int) -> bool:
        """Count one lookup; tell whether it is the first, which alone says where the file is."""
        if inode >= HASHED:
            return self._add_scattered(inode, directory, position)
        page = self._pages.get(inode >> _PAGE_SHIFT)
        if page is None:
            page = self._pages[inode >> _PAGE_SHIFT] = array("Q", _EMPTY_PAGE)
        index = inode & _PAGE_MASK
        slot = page[index]
        if not slot:
            page[index] = directory << _DIRECTORY_SHIFT | position << _POSITION_SHIFT | 1
            self.count += 1
            return True
        if slot & _COUNT_MAX < _COUNT_MAX - 1:
            page[index] = slot + 1
        else:
            page[index] = slot | _COUNT_MAX
            self._many[inode] = self._many.get(inode, _COUNT_MAX - 1) + 1
        return False

    def _add_scattered(self, inode: int, directory: int, position: int) -> bool:
        slot = self._scattered.get(inode, 0)
        self._scattered[inode] = (slot or directory << _DIRECTORY_SHIFT | position << _POSITION_SHIFT) + _SCATTERED_ONE
        self.count += not slot
        return not slot

    def subtract(self, inode: int, count: int) -> Place | None:
        """Take lookups back; return where the file was if none is left."""
        if inode >= HASHED:
            return self._subtract_scattered(inode, count)
        page = self._pages.get(inode >> _PAGE_SHIFT)
        slot = page[inode & _PAGE_MASK] if page is not None else 0
        if page is None or not slot:
            return None
        left = self.lookup_count(inode) - count
        if left > 0:
            if left < _COUNT_MAX:
                self._many.pop(inode, None)
            else:
                self._many[inode] = left
            page[inode & _PAGE_MASK] = slot & ~_COUNT_MAX | min(left, _COUNT_MAX)
            return None
        page[inode & _PAGE_MASK] = 0
        self._many.pop(inode, None)
        self.count -= 1
        if not any(page):
            del self._pages[inode >> _PAGE_SHIFT]
        return _place(slot)

    def _subtract_scattered(self, inode: int, count: int) -> Place | None:
        slot = self._scattered.get(inode, 0)
        left = slot - count * _SCATTERED_ONE
        if left >= _SCATTERED_ONE:
            self._scattered[inode] = left
            return None
        if not slot:
            return None
        del self._scattered[inode]
        self.count -= 1
        return _place(slot)

    def place(self, inode: int) -> Place | None:
        """Return where a file is; None if it has no lookups."""
        if inode >= HASHED:
            slot = self._scattered.get(inode, 0)
        else:
            page = self._pages.get(inode >> _PAGE_SHIFT)
            slot = page[inode & _PAGE_MASK] if page is not None else 0
        return _place(slot) if slot else None

    def lookup_count(self, inode: int) -> int:
        """Return how many lookups a file has."""
        if inode >= HASHED:
            return self._scattered.get(inode, 0) // _SCATTERED_ONE
        page = self._pages.get(inode >> _PAGE_SHIFT)
        count = page[inode & _PAGE_MASK] & _COUNT_MAX if page is not None else 0
        return self._many[inode] if count == _COUNT_MAX else count

    def places(self) -> list[Place]:
        """Return where all files are; for tests."""
        slots = chain(*self._pages.values(), self._scattered.values())
        return [_place(slot) for slot in slots if slot]


def _place(slot: int) -> Place:
    return Place(slot >> _DIRECTORY_SHIFT & _DIRECTORY_MASK, slot >> _POSITION_SHIFT & _POSITION_MASK)
