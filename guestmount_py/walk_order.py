"""In which order whoever walks a tree takes directories, and which those are."""

import stat as modes
from collections.abc import Sequence
from typing import Final, NamedTuple

from guestmount_py.dircache import Listing
from guestmount_py.inodes import Inode, InodeTable

_LARGE_DIRECTORY_BYTES: Final = 1 << 20
"""A directory file longer than this is not looked into unasked."""


class Subdirectory(NamedTuple):
    """A directory in another one."""

    name: bytes
    inode: Inode


def subdirectories(
    listing: Listing, inode: Inode, device: int, inodes: InodeTable, *, by_name: bool
) -> list[Subdirectory]:
    """Return the directories in one that a walk goes on to; large ones and other filesystems are left alone.

    Args:
        listing: its entries.
        inode: its own.
        device: the guest's number of its filesystem's.
        inodes: know the numbers of others.
        by_name: by name, otherwise as listed.
    """
    found = []
    for entry in listing.entries:
        fields = entry.fields
        if modes.S_ISDIR(fields[2]) and fields[0] == device and fields[7] <= _LARGE_DIRECTORY_BYTES:
            found.append(Subdirectory(entry.name, inodes.number(entry, inode)))
    if by_name:
        found.sort()
    return found


def is_by_name(siblings: Sequence[Subdirectory], first: Inode | None, second: Inode, *, otherwise: bool) -> bool:
    """Tell whether somebody who opened two directories of those in one, none between, goes by their names.

    Args:
        siblings: as listed.
        first: None if only one was opened.
        second: the later one.
        otherwise: the answer unless it is next to the first one, or the first of all, in just one of the orders.
    """
    listed, named = (_is_next(order, first, second) for order in (siblings, sorted(siblings)))
    return named if listed != named else otherwise


def _is_next(siblings: Sequence[Subdirectory], first: Inode | None, second: Inode) -> bool:
    numbers = [each.inode for each in siblings]
    at = numbers.index(first) + 1 if first in numbers else 0
    return at < len(numbers) and numbers[at] == second


def from_the_next_on(siblings: Sequence[Subdirectory], inode: Inode) -> list[Subdirectory]:
    """Return the others of a directory's siblings, those that come after it first."""
    at = next((at for at, each in enumerate(siblings) if each.inode == inode), -1)
    return [*siblings[at + 1 :], *siblings[: max(at, 0)]]
