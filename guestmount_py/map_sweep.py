"""Which files' maps a reader of a whole tree will want next."""

import stat as modes
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from guestmount_py.dircache import DirectoryCache, Listing
from guestmount_py.inodes import ROOT, Inode, InodeTable
from guestmount_py.map_requests import Wanted
from guestmount_py.walk_order import PATH_MAX_BYTES, behind, subdirectories

OWN_ANSWER_BYTES: Final = 64 << 20
"""A file of this size may be in many pieces: it is asked for alone."""
_WINDOW_FIRST: Final = 64
_WINDOW_MIN: Final = 8
_WINDOW_MAX: Final = 1024
"""Under emulation 30 ms of the guest's work, which whoever wants another file may have to wait for."""
_DIRECTORIES_MAX: Final = 4096
"""So many are remembered to go to; a reader who comes to another one is followed from there."""
_VISITED_MAX: Final = 1 << 16
_LOOKED_AT_MAX: Final = 1 << 14
"""Entries looked at between two pauses, about: nothing else is answered meanwhile."""


class MapSweep:
    """Goes through the listings that are here, from where files were read, depth first.

    How many files it looks ahead grows as long as those it named before are read, and shrinks where they are not.
    It waits at a directory that has no listing yet. It goes to none twice, for the guest may say that one is in itself.

    Args:
        is_known: tells of an inode that its map is here or on its way.
    """

    def __init__(self, inodes: InodeTable, directories: DirectoryCache, is_known: Callable[[Inode], bool]) -> None:
        self._inodes = inodes
        self._directories = directories
        self._is_known = is_known
        self._files: Iterator[Wanted | None] = iter(())
        self._ahead: set[Inode] = set()
        self._named = self._latest = 0
        self._window = _WINDOW_FIRST
        self._visited: set[Inode] = set()
        self._looked_at = 0

    def begin(self, directory: Inode, name: bytes) -> None:
        """Go on behind a file that was not foreseen."""
        if len(self._ahead) * 2 > self._named:
            self._window = max(self._window // 4, _WINDOW_MIN)
        self.stop()
        self._files = self._behind(directory, name)

    def stop(self) -> None:
        """Name no more files."""
        self._ahead.clear()
        self._visited.clear()
        self._named = self._latest = 0
        self._files = iter(())

    def used(self, inode: Inode) -> None:
        """Note that a file is read."""
        self._ahead.discard(inode)

    @property
    def is_due(self) -> bool:
        """Tell whether it is time to ask for more: half of what was named last has been read."""
        return len(self._ahead) * 2 <= self._latest

    def next_files(self) -> list[Wanted]:
        """Return what to ask for now; nothing if that is not known yet, or if this was all."""
        found: list[Wanted] = []
        for file in self._files:
            if file is None:
                break
            found.append(file)
            if len(found) == self._window:
                break
        if found:
            self._latest = len(found)
            self._ahead.update(file.inode for file in found)
            self._named += len(found)
            self._window = min(self._window * 2, _WINDOW_MAX)
        return found

    def files_of(
        self, listing: Listing, directory: Inode, device: int, path: bytes, after: bytes = b""
    ) -> Iterator[Wanted]:
        """Yield files of a directory whose maps are not known, those after a name first.

        A file said to be on another device than the directory is left alone: it is none of its filesystem, and the
        number of a device never seen takes the path of a directory that the kernel may not know.

        Args:
            listing: the directory's.
            directory: its number.
            path: its path.
            device: the guest's number of its filesystem.
            after: the name; empty for none.
        """
        entries = listing.entries
        if self._directories.by_name:
            entries = sorted(entries, key=lambda entry: entry.name)
        start = next((at + 1 for at, entry in enumerate(entries) if entry.name == after), 0) if after else 0
        for at in range(start - len(entries), start):
            entry = entries[at]
            fields = entry.fields
            if modes.S_ISREG(fields[2]) and fields[0] == device and 0 < fields[7] < OWN_ANSWER_BYTES:
                number = self._inodes.number(entry, directory)
                if not self._is_known(number):
                    yield Wanted(path, entry.name, number, fields[7])

    def _behind(self, directory: Inode, name: bytes) -> Iterator[Wanted | None]:
        """Yield the files of a directory, of those below it, and of those that come after it; None is a pause."""
        node = self._inodes.find(directory)
        if node is None:
            return
        path = self._inodes.path(directory)
        device = node.entry.fields[0]
        yield from self._below([(path, directory)], device, name)
        while node.inode != ROOT:
            inode, parent = node.inode, self._inodes.find(node.parent)
            listing = self._directories.peek(node.parent)
            if parent is None or listing is None or parent.entry.fields[0] != device:
                return
            node, path = parent, path.rpartition(b"/")[0]
            by_name = self._directories.by_name
            siblings = behind(subdirectories(listing, node.inode, device, self._inodes, by_name=by_name), inode)
            later = [(path + b"/" + each.name, each.inode) for each in islice(siblings, _DIRECTORIES_MAX)]
            yield from self._below(later[::-1], device)

    def _below(self, stack: list[tuple[bytes, Inode]], device: int, after: bytes = b"") -> Iterator[Wanted | None]:
        """Yield the files of directories, the last one first, and of those below each."""
        while stack:
            path, inode = stack.pop()
            if inode in self._visited or len(self._visited) >= _VISITED_MAX or len(path) > PATH_MAX_BYTES:
                continue
            self._visited.add(inode)
            if self._looked_at >= _LOOKED_AT_MAX:
                self._looked_at = 0
                yield None
            while (listing := self._directories.peek(inode)) is None:
                yield None
            self._looked_at += len(listing.entries)
            yield from self.files_of(listing, inode, device, path, after)
            after = b""
            by_name = self._directories.by_name
            found = subdirectories(listing, inode, device, self._inodes, by_name=by_name)
            prefix = path if path.endswith(b"/") else path + b"/"
            below = [(prefix + each.name, each.inode) for each in islice(found, _DIRECTORIES_MAX)]
            stack += reversed(below)
            del stack[:-_DIRECTORIES_MAX]
