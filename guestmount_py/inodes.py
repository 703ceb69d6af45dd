"""The inode table: which guest file each inode number means, and how often the kernel knows it."""

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from guestmount_py.caches import Cache, CacheBudget
from guestmount_py.dircache import DirectoryCache, Listing
from guestmount_py.entries import NO_POSITION, Entry
from guestmount_py.inode_numbers import ROOT, Inode, InodeNumbers
from guestmount_py.known_directories import KnownDirectories, KnownDirectory
from guestmount_py.known_files import UnknownInode
from guestmount_py.lookups import Lookups
from rpc.errors import RemoteProtocolError

__all__ = ["ROOT", "Inode", "InodeTable", "Node", "Unlisted"]

_DIRECTORY_BYTES: Final = 700
"""Objects and numbers of a directory, its attributes and its name."""
_LOOSE_BYTES: Final = 550
"""Objects of an entry that came with no listing, its attributes and its name."""
_FILES_BETWEEN_COUNTS: Final = 256
"""What is kept of files is counted now and then: this many take at most 120 kB."""


class Unlisted(Exception):
    """The kernel knows a file, but the listing that tells about it is not here.

    Attributes:
        directory: whose listing that is.
    """

    def __init__(self, directory: "Inode") -> None:
        super().__init__(f"the listing of inode {directory} is not here")
        self.directory: Final = directory


class Node(NamedTuple):
    """One inode the kernel knows, for as long as a request is answered.

    Attributes:
        parent, entry: where it was found first; other hard links lead to the same.
    """

    inode: Inode
    parent: Inode
    entry: Entry


class InodeTable:
    """What the kernel knows, by inode number.

    Directories are objects, with a copy of their attributes. Of another file only its position in its directory's
    listing is kept, in eight bytes: the rest is in the listing, which may have to be asked for again. An entry that
    came with no listing is kept whole.

    Args:
        root: the directory at the root.
        devices: st_dev of all mounts, in their order.
        unnumbered: those of filesystems without inode numbers, see ``InodeNumbers``.

    Attributes:
        number: returns the inode number of an entry and its directory's.
    """

    def __init__(self, root: Entry, devices: Iterable[int], unnumbered: Collection[int] = ()) -> None:
        self._directories = KnownDirectories(root)
        self._files = Lookups()
        self._loose: dict[Inode, Entry] = {}
        self._listings: DirectoryCache | None = None
        self._account: Cache | None = None
        self.number: Final = InodeNumbers(root, devices, unnumbered, self.path, self._device_of).number

    def attach(self, directories: DirectoryCache, budget: CacheBudget) -> None:
        """Say where listings are, and what bound counts for the table too."""
        self._listings = directories
        self._account = budget.open_cache("inodes", lambda: False)
        self._count()

    def _count(self) -> None:
        """Tell the account what the table takes now."""
        if self._account is None:
            return
        count = self._files.count + len(self._directories)
        objects_bytes = len(self._directories) * _DIRECTORY_BYTES + len(self._loose) * _LOOSE_BYTES
        self._account.set(count, objects_bytes + self._files.used_bytes)

    def _device_of(self, inode: Inode) -> int | None:
        directory = self._directories.find(inode)
        return directory.entry.fields[0] if directory is not None else None

    def get(self, inode: int) -> Node:
        """Return what an inode number means, without asking the guest; that of a directory always.

        Raises:
            KeyError: the kernel does not know it, or the guest has it elsewhere by now.
            Unlisted: its directory has to be listed first.
        """
        directory = self._directories.find(inode)
        if directory is not None:
            above = directory.above
            listing = self._listings.peek(above.inode) if self._listings is not None else None
            found = self._entry_at(directory.entry.position, directory.inode, above, listing) if listing else None
            return Node(directory.inode, above.inode, found or directory.entry)
        place = self._files.place(inode)
        if place is None:
            raise UnknownInode(inode)
        above = self._directories.numbered(place.directory)
        if place.position == NO_POSITION:
            return Node(Inode(inode), above.inode, self._loose[Inode(inode)])
        listing = self._listings.touched(above.inode) if self._listings is not None else None
        if listing is None:
            raise Unlisted(above.inode)
        return Node(Inode(inode), above.inode, self._entry_in(listing, place.position, Inode(inode), above))

    async def node(self, inode: int) -> Node:
        """Return what an inode number means; ask the guest for its directory's listing if that is not here.

        Raises:
            KeyError: the kernel does not know it, or the guest has it elsewhere by now.
            GuestmountError: the directory cannot be listed.
        """
        while True:
            try:
                return self.get(inode)
            except Unlisted as exc:
                if self._listings is None:
                    raise
                await self._listings.listing(exc.directory, self.path(exc.directory))

    def _entry_in(self, listing: Listing, position: int, inode: Inode, directory: KnownDirectory) -> Entry:
        found = self._entry_at(position, inode, directory, listing)
        if found is None:  # the guest lists in another order than before
            found = next((each for each in listing.entries if self._is(each, inode, directory)), None)
        if found is None:
            raise UnknownInode(inode)
        return found

    def _entry_at(self, position: int, inode: Inode, directory: KnownDirectory, listing: Listing) -> Entry | None:
        if position >= len(listing.entries):
            return None
        entry = listing.entries[position]
        return entry if self._is(entry, inode, directory) else None

    def _is(self, entry: Entry, inode: Inode, directory: KnownDirectory) -> bool:
        return not entry.is_unreadable and self.number(entry, directory.inode) == inode

    def find(self, directory: Inode) -> Node | None:
        """Return a directory, if the kernel knows it or something below it."""
        found = self._directories.find(directory)
        return Node(directory, found.above.inode, found.entry) if found is not None else None

    def lookup_count(self, inode: int) -> int:
        """Return how many references the kernel has."""
        directory = self._directories.find(inode)
        return directory.lookup_count if directory is not None else self._files.lookup_count(inode)

    def remember(self, entry: Entry, parent: Inode, inode: Inode | None = None) -> Inode:
        """Count one lookup of a directory's entry and return its number.

        Args:
            entry: the file.
            parent: the directory.
            inode: the number, if that is known already.

        Raises:
            RemoteProtocolError: the guest says of one file that it is a directory and that it is none.
        """
        if inode is None:
            inode = self.number(entry, parent)
        if entry.is_directory:
            directory = self._directories.find(inode)
            if directory is None:
                if self._files.place(inode) is not None:
                    raise _two_things(inode, entry)
                directory = self._directories.add(inode, parent, entry)
                self._count()
            directory.lookup_count += 1
            return inode
        above = self._directories.get(parent)
        position = min(entry.position, NO_POSITION)
        if self._files.add(inode, above.number, position):
            if self._directories.find(inode) is not None:
                self._files.subtract(inode, 1)
                raise _two_things(inode, entry)
            above.children += 1
            if position == NO_POSITION:
                self._loose[inode] = entry.copy()
            if not self._files.count % _FILES_BETWEEN_COUNTS:
                self._count()
        return inode

    def forget(self, inode: int, count: int) -> None:
        """Take back lookups; what nobody needs any more is dropped, and directories above it likewise."""
        directory = self._directories.find(inode)
        if directory is not None:
            directory.lookup_count -= count
        else:
            place = self._files.subtract(inode, count)
            if place is None:
                return
            if place.position == NO_POSITION:
                del self._loose[Inode(inode)]
            directory = self._directories.numbered(place.directory)
            directory.children -= 1
        self._directories.drop_unneeded(directory)
        if not self._files.count % _FILES_BETWEEN_COUNTS:
            self._count()

    def path(self, inode: int) -> bytes:
        """Return the absolute guest path of an inode, of a directory always; raises what ``get`` raises."""
        directory = self._directories.find(inode)
        return self._directories.path(directory) if directory is not None else self.path_of(self.get(inode))

    def path_of(self, node: Node) -> bytes:
        """Return the absolute guest path of a node."""
        above = self.path(node.parent)
        return above if node.inode == ROOT else above + b"/" * (above != b"/") + node.entry.name

    def check_invariants(self) -> None:
        """Insist on what the class promises; for tests."""
        children = {each.number: 0 for each in self._directories}
        places = self._files.places()
        for number in (place.directory for place in places):
            children[number] += 1
        for directory in self._directories:
            if directory.parent is not None:
                children[directory.parent.number] += 1
        for directory in self._directories:
            found = self._directories.get(directory.inode), self._directories.numbered(directory.number)
            if any(each is not directory for each in found) or directory.children != children[directory.number]:
                raise AssertionError(f"{directory} is inconsistent")
            if directory.parent is not None and directory.lookup_count <= 0 and not directory.children:
                raise AssertionError(f"{directory} should have been dropped")
        if len(places) != self._files.count or len(self._loose) != sum(at == NO_POSITION for _, at in places):
            raise AssertionError(f"{len(places)} files, {self._files.count} counted, {len(self._loose)} loose")


def _two_things(inode: Inode, entry: Entry) -> RemoteProtocolError:
    return RemoteProtocolError(f"inode {inode} is a directory and something else, {entry.name!r}")
