"""Directory listings of a mount that writes: what is kept changes with the guest, exactly by what was done."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import trio

from guestmount_py.caches import CacheBudget
from guestmount_py.dircache import DirectoryCache, Listing
from guestmount_py.entries import Entry
from guestmount_py.guest_files import GuestFiles
from guestmount_py.inode_numbers import Inode
from rpc import hot

_IDENTITY_BYTES: Final = 16
"""Of packed attributes: device and inode number."""
_NEW_ENTRY_BYTES: Final = 500
"""About what an entry takes that did not come with a listing."""


class ChangingDirectories(DirectoryCache):
    """Listings that are changed when a name is.

    A listing that was under way meanwhile may or may not have seen the change: it is asked for once more.
    """

    def __init__(self, guest: GuestFiles, budget: CacheBudget) -> None:
        super().__init__(guest, budget)
        self.plainly = True  # it tells what can be removed for sure
        self._changed_meanwhile: set[Inode] = set()
        self._changed_ahead: set[Inode] | None = None

    async def _fetch(self, inode: Inode, path: bytes) -> Listing:
        while True:
            listing = await super()._fetch(inode, path)
            if inode not in self._changed_meanwhile:
                return listing
            self._changed_meanwhile.discard(inode)
            self.discard(inode)

    def note_change(self, inode: Inode) -> None:
        """Note that a directory, or the attributes of a file in it, changed: a listing under way is not to be kept."""
        if inode in self._underway:
            self._changed_meanwhile.add(inode)
        if self._changed_ahead is not None:
            self._changed_ahead.add(inode)

    @contextmanager
    def listed_ahead(self, unsettled: Iterable[Inode]) -> Iterator[None]:
        """Note which directories change while others are listed before anybody asks; one block at a time.

        Args:
            unsettled: directories that are already about to change.
        """
        self._changed_ahead = {*unsettled}
        try:
            yield
        finally:
            self._changed_ahead = None

    def await_ahead(self, inode: Inode) -> bool:
        """Have whoever wants a listing wait for ``keep_ahead``; False if it is here or on its way."""
        if self.is_known(inode):
            return False
        self._underway[inode] = trio.Event()
        return True

    def keep_ahead(self, inode: Inode, entries: list[Entry] | None) -> Listing | None:
        """Take in a listing that was awaited, unless the directory has changed meanwhile: whoever wants it asks again.

        Args:
            inode: of the directory.
            entries: None if it could not be listed.
        """
        self._underway.pop(inode).set()
        self._changed_meanwhile.discard(inode)
        if entries is None or self._changed_ahead is None or inode in self._changed_ahead or self.is_listed(inode):
            return None
        return self.keep(inode, entries)

    def change(self, inode: Inode, name: bytes, entry: Entry | None) -> None:
        """Note that a name in a directory means something else now, or nothing any more."""
        self.note_change(inode)
        listing = self._listings.get(inode)
        if listing is not None and entry is None and name not in listing.by_name:
            self.discard(inode)  # the name stands there by another spelling
        elif listing is not None:
            listing.change(name, entry)
            self._cache.remove(listing.cost_bytes)
            listing.cost_bytes += _NEW_ENTRY_BYTES if entry is not None else 0
            self._cache.add(listing.cost_bytes)

    def update(self, inode: Inode, name: bytes, stat: bytes) -> None:
        """Note the attributes that a file has now."""
        self.note_change(inode)
        listing = self._listings.get(inode)
        entry = listing.by_name.get(name) if listing is not None else None
        if entry is not None and entry.data[entry.offset : entry.offset + _IDENTITY_BYTES] == stat[:_IDENTITY_BYTES]:
            entry.data, entry.offset = stat, 0

    def discard(self, inode: Inode) -> None:
        """Drop a listing."""
        if self._changed_ahead is not None:
            self._changed_ahead.add(inode)
        dropped = self._listings.pop(inode, None)
        if dropped is not None:
            self._cache.remove(dropped.cost_bytes)
            _detach(dropped)

    def _drop(self) -> bool:
        oldest = next(iter(self._listings.values()), None)
        is_dropped = super()._drop()
        if is_dropped and oldest is not None:
            _detach(oldest)
        return is_dropped


def _detach(listing: Listing) -> None:
    """Have the entries that nodes go on using not keep the whole listing's bytes alive."""
    for entry in listing.entries:
        entry.data, entry.offset = entry.data[entry.offset : entry.offset + hot.STATNS.size], 0
