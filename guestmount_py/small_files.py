"""Small files read one after another: their neighbours' contents are fetched with them, in one transfer."""

import stat as modes
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple

import trio

from guestmount_py.caches import CacheBudget
from guestmount_py.dircache import Listing
from guestmount_py.guest_files import GuestFiles
from guestmount_py.inode_numbers import Inode
from guestmount_py.known_files import KnownFiles

SMALL_MAX_BYTES: Final = 128 * 1024
BATCH_MAX_BYTES: Final = 2 << 20
_BATCH_MAX_FILES: Final = 512
_AT_ONCE_BYTES: Final = 256 * 1024
"""A directory with no more than this in small files is fetched with the first of them."""


class _Candidate(NamedTuple):
    name: bytes
    size_bytes: int
    inode: Inode


class _Directory:
    """The small files of one directory, in the two orders that readers take them: as listed, and by name."""

    def __init__(self, inode: Inode, listing: Listing, inodes: KnownFiles) -> None:
        self.inode: Final = inode
        self.entries: Final = listing.entries
        found = []
        for entry in self.entries:
            fields = entry.fields
            if modes.S_ISREG(fields[2]) and 0 < fields[7] <= SMALL_MAX_BYTES:
                found.append(_Candidate(entry.name, fields[7], inodes.number(entry, inode)))
        self._orders: Final = (found, sorted(found))
        self._positions: Final = tuple({each.inode: at for at, each in enumerate(order)} for order in self._orders)
        self.total_bytes: Final = sum(each.size_bytes for each in found)
        self.fetched: Final[set[Inode]] = set()
        self.last_read: Inode | None = None

    def following(self, inode: Inode) -> Sequence[_Candidate]:
        """Return a file and all others, in that order in which it came soonest after the last one read.

        Those before it come last. Empty if it is no candidate.
        """
        best: Sequence[_Candidate] = ()
        best_distance = len(self._orders[0]) + 1
        for order, positions in zip(self._orders, self._positions, strict=True):
            if inode in positions:
                at = positions[inode]
                before = positions.get(self.last_read, -1) if self.last_read is not None else -1
                distance = (at - before) % (len(order) + 1)
                if distance < best_distance:
                    best, best_distance = [*order[at:], *order[:at]], distance
        return best


class SmallFiles:
    """Contents of small files, by inode, least recently fetched ones dropped.

    The second small file read in a directory, or the first if there is little in it or the last batch was used,
    brings the others along: all of them if they fit into a batch, otherwise those that seem to come next. What was
    fetched once is not fetched again with others: by then the kernel has it.
    """

    def __init__(self, guest: GuestFiles, inodes: KnownFiles, budget: CacheBudget) -> None:
        self._guest = guest
        self._inodes = inodes
        self._cache = budget.open_cache("small", self._drop)
        self._contents: OrderedDict[Inode, bytes] = OrderedDict()
        self._directory: _Directory | None = None
        self._batch_left: set[Inode] = set()
        self._batch_size = 0
        self._fetching = trio.Lock()
        self._forgotten: set[Inode] = set()
        """Files that were forgotten while contents were fetched: those may be old."""

    def take(self, inode: Inode) -> bytes | None:
        """Return a content that is here; the kernel caches it from now on, so it is dropped."""
        data = self._contents.pop(inode, None)
        if data is not None:
            self._cache.remove(len(data))
            self._cache.hits += 1
            self._batch_left.discard(inode)
            if self._directory is not None:
                self._directory.last_read = inode
        return data

    def keep(self, inode: Inode, content: bytes) -> None:
        """Take a content back, or in."""
        if inode not in self._contents:
            self._contents[inode] = content
            self._cache.add(len(content))

    def forget(self, inode: Inode) -> None:
        """Drop a content, or what may come of it yet."""
        if self._fetching.locked():
            self._forgotten.add(inode)
        data = self._contents.pop(inode, None)
        if data is not None:
            self._cache.remove(len(data))

    async def read(self, inode: Inode, directory: Inode, directory_path: bytes, listing: Listing) -> bytes | None:
        """Return a small file's content together with others'; None if this one is better read by itself."""
        async with self._fetching:
            data = self.take(inode)
            if data is not None:
                return data
            self._cache.misses += 1
            return await self._fetch(inode, directory, directory_path, listing)

    async def _fetch(self, inode: Inode, directory: Inode, path: bytes, listing: Listing) -> bytes | None:
        known = self._directory
        if known is None or known.inode != directory or known.entries is not listing.entries:
            self._directory = known = _Directory(directory, listing, self._inodes)
            if known.total_bytes > _AT_ONCE_BYTES and not self._used_well():
                known.last_read = inode
                return None
        batch = self._batch(known, inode)
        known.last_read = inode
        known.fetched.add(inode)
        if len(batch) < 2:
            return None
        self._forgotten.clear()
        contents = await self._guest.small_files(path, [each.name for each in batch], SMALL_MAX_BYTES)
        return self._keep(known, inode, batch, contents)

    def _batch(self, directory: _Directory, inode: Inode) -> list[_Candidate]:
        batch: list[_Candidate] = []
        size_bytes = 0
        for each in directory.following(inode):
            if each.inode == inode or each.inode not in directory.fetched:
                batch.append(each)
                size_bytes += each.size_bytes
                if size_bytes >= BATCH_MAX_BYTES or len(batch) >= _BATCH_MAX_FILES:
                    break
        return batch

    def _keep(
        self, directory: _Directory, inode: Inode, batch: list[_Candidate], contents: list[bytes | None]
    ) -> bytes | None:
        """Keep what came, and return what was asked for."""
        wanted: bytes | None = None
        self._batch_left = set()
        for each, data in zip(batch, contents, strict=True):
            directory.fetched.add(each.inode)
            if data is None or len(data) != each.size_bytes:
                continue
            if each.inode == inode:
                wanted = data
            elif each.inode not in self._contents and each.inode not in self._forgotten:
                self.keep(each.inode, data)
                self._batch_left.add(each.inode)
        self._batch_size = len(self._batch_left)
        return wanted

    def _drop(self) -> bool:
        if not self._contents:
            return False
        _, dropped = self._contents.popitem(last=False)
        self._cache.remove(len(dropped))
        return True

    def _used_well(self) -> bool:
        """Tell whether at least half of the last batch was read."""
        return self._batch_size > 0 and len(self._batch_left) * 2 <= self._batch_size
