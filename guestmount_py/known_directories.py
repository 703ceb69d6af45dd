"""The directories that the kernel knows, or knows something below of."""

from collections.abc import Iterator
from dataclasses import dataclass

from guestmount_py.entries import Entry
from guestmount_py.inode_numbers import ROOT, Inode


@dataclass(slots=True)
class KnownDirectory:
    """One of them.

    Attributes:
        number: short for it; given to another when this one is dropped.
        entry: a copy of its own, for the listing it came with may be given up.
        children: how many known files and directories have it as the parent.
    """

    inode: Inode
    number: int
    parent: "KnownDirectory | None"
    entry: Entry
    lookup_count: int = 0
    children: int = 0

    @property
    def above(self) -> "KnownDirectory":
        """Return its parent; the root's is itself."""
        return self.parent or self


class KnownDirectories:
    """Directories by inode number, and by a number of 32 bits.

    Invariant: a directory is here while its lookup count or its number of children is positive; the root always.
    """

    def __init__(self, root: Entry) -> None:
        top = KnownDirectory(ROOT, 0, None, root, lookup_count=1)
        self._by_inode: dict[Inode, KnownDirectory] = {ROOT: top}
        self._by_number: list[KnownDirectory | None] = [top]
        self._free_numbers: list[int] = []

    def __len__(self) -> int:
        return len(self._by_inode)

    def __iter__(self) -> Iterator[KnownDirectory]:
        return iter(self._by_inode.values())

    def find(self, inode: int) -> KnownDirectory | None:
        """Return a directory if it is known."""
        return self._by_inode.get(Inode(inode))

    def get(self, inode: Inode) -> KnownDirectory:
        """Return a directory; KeyError if it is not known."""
        return self._by_inode[inode]

    def numbered(self, number: int) -> KnownDirectory:
        """Return the directory with a short number; whoever keeps that counts as a child."""
        found = self._by_number[number]
        if found is None:
            raise AssertionError(f"directory {number} was dropped too early")
        return found

    def add(self, inode: Inode, parent: Inode, entry: Entry) -> KnownDirectory:
        """Take in a directory without lookups yet; KeyError if its parent is not known."""
        above = self._by_inode[parent]
        number = self._free_numbers.pop() if self._free_numbers else len(self._by_number)
        directory = self._by_inode[inode] = KnownDirectory(inode, number, above, entry.copy())
        if number == len(self._by_number):
            self._by_number.append(directory)
        else:
            self._by_number[number] = directory
        above.children += 1
        return directory

    def drop_unneeded(self, directory: KnownDirectory) -> None:
        """Drop a directory that nobody needs any more, and those above it likewise."""
        while directory.parent is not None and directory.lookup_count <= 0 and not directory.children:
            del self._by_inode[directory.inode]
            self._by_number[directory.number] = None
            self._free_numbers.append(directory.number)
            directory = directory.parent
            directory.children -= 1

    def path(self, directory: KnownDirectory) -> bytes:
        """Return the absolute guest path of a directory."""
        names: list[bytes] = []
        while directory.parent is not None:
            names.append(directory.entry.name)
            directory = directory.parent
        return b"/" + b"/".join(reversed(names))
