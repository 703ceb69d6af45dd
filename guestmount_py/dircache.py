"""Directory listings, kept while there is room: a read-only mount's never grow old."""

import errno
import os
import sys
from collections import OrderedDict
from typing import Final

import trio

from guestmount_py.caches import CacheBudget
from guestmount_py.entries import Entry
from guestmount_py.guest_files import GuestFiles
from guestmount_py.inode_numbers import Inode
from rpc.errors import ProcedureError

_ENTRY_BYTES: Final = 260
"""Python's objects for one entry, beside the listing's own bytes."""
_TEXT_BYTES: Final = 33
_PAIR_BYTES: Final = 64 + 2 * _TEXT_BYTES
"""Those of a link's target and of an extended attribute, beside what they say."""
_LARGE_DIRECTORY_BYTES: Final = 256 * 1024
"""A single name in a directory file longer than this is asked for by itself, not by listing it all."""


class Listing:
    """One directory's entries, in the order the guest gave them.

    Attributes:
        cost_bytes: about what it takes, as of when it was measured last.
    """

    def __init__(self, entries: list[Entry]) -> None:
        self._entries: list[Entry] | None = entries
        self.by_name: Final = {entry.name: entry for entry in entries}
        self.cost_bytes = self.measured_bytes()

    @property
    def entries(self) -> list[Entry]:
        """Return the entries in order; the list stays as it is, whatever becomes of the directory."""
        if self._entries is None:
            self._entries = list(self.by_name.values())
        return self._entries

    def change(self, name: bytes, entry: Entry | None) -> None:
        """Have a name mean something else, or nothing any more."""
        self._entries = None
        if entry is None:
            self.by_name.pop(name, None)
        else:
            self.by_name[name] = entry

    def measured_bytes(self) -> int:
        """Return about what it takes now."""
        pieces = {id(entry.data): len(entry.data) for entry in self.entries}
        texts = sum(_texts_bytes(entry) for entry in self.entries if entry.target or entry.xattrs)
        return sum(pieces.values()) + len(self.entries) * _ENTRY_BYTES + sys.getsizeof(self.by_name) + texts


def _texts_bytes(entry: Entry) -> int:
    pairs = entry.xattrs or ()
    target_bytes = _TEXT_BYTES + len(entry.target) if entry.target else 0
    return target_bytes + sum(_PAIR_BYTES + len(key) + len(value) for key, value in pairs)


class DirectoryCache:
    """Listings by inode, least recently used ones dropped.

    Two tasks that want the same directory share one call. No await stands between a reply and its insertion.

    Attributes:
        share_bytes: what listings always may take.
        by_name: whoever walks takes the directories within one by name, not as listed; the walk ahead finds out.
        plainly: list without extended attributes.
    """

    def __init__(self, guest: GuestFiles, budget: CacheBudget) -> None:
        self._guest = guest
        self._cache = budget.open_cache("listings", self._drop)
        self.share_bytes: Final = self._cache.share_bytes
        self.by_name = False
        self.plainly = False
        self._listings: OrderedDict[Inode, Listing] = OrderedDict()
        self._underway: dict[Inode, trio.Event] = {}
        self._expected: Inode | None = None

    def cached(self, inode: Inode) -> Listing | None:
        """Return a listing that is here."""
        listing = self.touched(inode)
        if listing is not None:
            self._cache.hits += 1
        return listing

    def touched(self, inode: Inode) -> Listing | None:
        """Return a listing that is here, for one of its files: used, but not what statistics call a hit."""
        listing = self._listings.get(inode)
        if listing is not None:
            self._listings.move_to_end(inode)
        return listing

    async def listing(self, inode: Inode, path: bytes) -> Listing:
        """Return a directory's listing, asking the guest if it is not here; raises what the guest raises."""
        while True:
            listing = self.cached(inode)
            if listing is not None:
                return listing
            event = self._underway.get(inode)
            if event is None:
                return await self._fetch(inode, path)
            await event.wait()

    async def entry(self, inode: Inode, path: bytes, size_bytes: int, name: bytes) -> Entry | None:
        """Return what a name in a directory means, None if there is no such name; raises what the guest raises.

        Args:
            inode: of the directory.
            path: of the directory.
            size_bytes: of the directory's own file.
            name: in it.
        """
        listing = self.cached(inode)
        if listing is None and size_bytes <= _LARGE_DIRECTORY_BYTES:
            listing = await self.listing(inode, path)
        entry = listing.by_name.get(name) if listing is not None else None
        if entry is not None and not entry.is_unreadable:
            return entry
        try:  # a name that is not listed may still be there: some filesystems fold case or have short names
            return await self._guest.lstat(os.path.join(path, name), name)
        except ProcedureError as exc:
            if exc.errno == errno.ENOENT:
                return None
            raise

    async def _fetch(self, inode: Inode, path: bytes) -> Listing:
        event = self._underway[inode] = trio.Event()
        self._cache.misses += 1
        try:
            listed = self._guest.list_plainly(path) if self.plainly else self._guest.list_directory(path)
            return self.keep(inode, await listed)
        finally:
            del self._underway[inode]
            event.set()

    def expect(self, inode: Inode | None) -> None:
        """Say which directory somebody else is about to ``keep``; who wants it waits for that, or until it is another.

        None says that nothing is expected any more.
        """
        if self._expected is not None and self._expected != inode:
            self._underway.pop(self._expected).set()
            self._expected = None
        if inode is not None and inode not in self._underway:
            self._expected = inode
            self._underway[inode] = trio.Event()

    def peek(self, inode: Inode) -> Listing | None:
        """Return a listing that is here, without counting that as its use."""
        return self._listings.get(inode)

    def is_listed(self, inode: Inode) -> bool:
        """Tell whether a listing is here."""
        return inode in self._listings

    def is_known(self, inode: Inode) -> bool:
        """Tell whether a listing is here or on its way."""
        return inode in self._listings or inode in self._underway

    def keep(self, inode: Inode, entries: list[Entry]) -> Listing:
        """Take a listing in."""
        replaced = self._listings.pop(inode, None)
        if replaced is not None:
            self._cache.remove(replaced.cost_bytes)
        listing = self._listings[inode] = Listing(entries)
        self._cache.add(listing.cost_bytes)
        return listing

    def count_again(self, inode: Inode) -> None:
        """Note that the entries of a listing have got more to say, such as extended attributes."""
        listing = self.touched(inode)
        if listing is not None:
            self._cache.remove(listing.cost_bytes)
            listing.cost_bytes = listing.measured_bytes()
            self._cache.add(listing.cost_bytes)

    def _drop(self) -> bool:
        """Give up the least recently used listing, never the last one."""
        if len(self._listings) < 2:
            return False
        _, dropped = self._listings.popitem(last=False)
        self._cache.remove(dropped.cost_bytes)
        return True
