"""In which order whoever walks a tree takes directories, and which those are."""

import stat as modes
from collections.abc import Iterator, Sequence
from itertools import dropwhile, islice
from operator import attrgetter
from typing import Final, NamedTuple

from guestmount_py.dircache import Listing
from guestmount_py.inode_numbers import Inode
from guestmount_py.known_files import KnownFiles

_LARGE_DIRECTORY_BYTES: Final = 1 << 20
"""A directory file longer than this is not looked into unasked."""
PATH_MAX_BYTES: Final = 4096
"""PATH_MAX of Linux: the guest opens nothing below a longer one, so that nothing there is asked for ahead."""


class Subdirectory(NamedTuple):
    """A directory in another one."""

    name: bytes
    inode: Inode


def subdirectories(
    listing: Listing, inode: Inode, device: int, inodes: KnownFiles, *, by_name: bool
) -> Iterator[Subdirectory]:
    """Yield the directories in one that a walk goes on to; large ones and other filesystems are left alone.

    Args:
        listing: its entries.
        inode: its own.
        device: the guest's number of its filesystem's.
        inodes: know the numbers of others.
        by_name: by name, otherwise as listed.
    """
    for entry in sorted(listing.entries, key=attrgetter("name")) if by_name else listing.entries:
        fields = entry.fields
        if modes.S_ISDIR(fields[2]) and fields[0] == device and fields[7] <= _LARGE_DIRECTORY_BYTES:
            yield Subdirectory(entry.name, inodes.number(entry, inode))


def behind(siblings: Iterator[Subdirectory], inode: Inode) -> Iterator[Subdirectory]:
    """Return those of siblings that come after one; none if it is not among them."""
    return islice(dropwhile(lambda each: each.inode != inode, siblings), 1, None)


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
