"""Small files read one after another: their neighbours' contents are fetched with them, in one transfer."""

import stat as modes
from collections import OrderedDict
from typing import Final, NamedTuple

import trio

from guestmount_py.dircache import Listing
from guestmount_py.guest import Guest
from guestmount_py.inodes import Inode, InodeTable

SMALL_MAX_BYTES: Final = 64 * 1024
CAPACITY_BYTES: Final = 16 << 20
_BATCH_MIN_BYTES: Final = 256 * 1024
_BATCH_MAX_BYTES: Final = 2 << 20
_BATCH_MAX_FILES: Final = 512


class _Candidate(NamedTuple):
    guest_inode: int
    name: bytes
    size_bytes: int
    inode: Inode


class SmallFiles:
    """Contents of small files, by inode, least recently fetched ones dropped.

    A second small file opened in the same directory starts batches, in inode order: that is the order tar, cp and most
    filesystems' own layout use. While batches are used they grow, and begin with the first file of the next directory;
    when they are not, they shrink.
    """

    def __init__(self, guest: Guest, inodes: InodeTable, capacity_bytes: int = CAPACITY_BYTES) -> None:
        self._guest = guest
        self._inodes = inodes
        self._capacity_bytes = capacity_bytes
        self._contents: OrderedDict[Inode, bytes] = OrderedDict()
        self._used_bytes = 0
        self._directory: Inode | None = None
        self._candidates: tuple[Listing, list[_Candidate]] | None = None
        self._batch_bytes = _BATCH_MIN_BYTES
        self._batch_left: set[Inode] = set()
        self._batch_size = 0
        self._fetching = trio.Lock()

    def take(self, inode: Inode) -> bytes | None:
        """Return a content that is here; the kernel caches it from now on, so it is dropped."""
        data = self._contents.pop(inode, None)
        if data is not None:
            self._used_bytes -= len(data)
            self._batch_left.discard(inode)
        return data

    async def read(self, inode: Inode, directory: Inode, directory_path: bytes, listing: Listing) -> bytes | None:
        """Return a small file's content together with its neighbours'; None if this one was not among them."""
        if self._directory != directory:
            self._directory = directory
            self._candidates = None
            if not self._used_well():
                return None
        async with self._fetching:
            data = self.take(inode)
            return data if data is not None else await self._fetch(inode, directory, directory_path, listing)

    async def _fetch(self, inode: Inode, directory: Inode, path: bytes, listing: Listing) -> bytes | None:
        batch = self._next_batch(inode, directory, listing)
        if not batch:
            return None
        contents = await self._guest.small_files(path, [each.name for each in batch], SMALL_MAX_BYTES)
        wanted: bytes | None = None
        self._batch_left = set()
        for each, data in zip(batch, contents, strict=True):
            if each.inode == inode:
                wanted = data
            elif data is not None and each.inode not in self._contents:
                self._contents[each.inode] = data
                self._used_bytes += len(data)
                self._batch_left.add(each.inode)
        self._batch_size = len(self._batch_left)
        while self._used_bytes > self._capacity_bytes:
            _, dropped = self._contents.popitem(last=False)
            self._used_bytes -= len(dropped)
        return wanted

    def _next_batch(self, inode: Inode, directory: Inode, listing: Listing) -> list[_Candidate]:
        grown = self._batch_bytes * 2 if self._used_well() else self._batch_bytes // 4
        self._batch_bytes = min(max(grown, _BATCH_MIN_BYTES), _BATCH_MAX_BYTES)
        candidates = self._sorted_candidates(directory, listing)
        position = next((i for i, each in enumerate(candidates) if each.inode == inode), None)
        if position is None:
            return []
        batch: list[_Candidate] = []
        size_bytes = 0
        for each in candidates[position:]:
            if each.inode in self._contents:
                continue
            batch.append(each)
            size_bytes += each.size_bytes
            if size_bytes >= self._batch_bytes or len(batch) >= _BATCH_MAX_FILES:
                break
        return batch

    def _used_well(self) -> bool:
        """Tell whether at least half of the last batch was read."""
        return self._batch_size > 0 and len(self._batch_left) * 2 <= self._batch_size

    def _sorted_candidates(self, directory: Inode, listing: Listing) -> list[_Candidate]:
        if self._candidates is None or self._candidates[0] is not listing:
            found = []
            for entry in listing.entries:
                fields = entry.fields
                if modes.S_ISREG(fields[2]) and 0 < fields[7] <= SMALL_MAX_BYTES:
                    number = self._inodes.number(entry, directory)
                    found.append(_Candidate(fields[1], entry.name, fields[7], number))
            self._candidates = (listing, sorted(found))
        return self._candidates[1]
