"""Maps of files by inode: asked for with those of their neighbours, the least recently used ones dropped."""

import stat as modes
import sys
from collections import OrderedDict
from typing import Final, NamedTuple

import trio

from guestmount_py.caches import CacheBudget
from guestmount_py.dircache import DirectoryCache, Listing
from guestmount_py.direct import Images
from guestmount_py.extents import AddressMap, FileMap, file_map
from guestmount_py.inodes import Inode, InodeTable
from guestmount_py.log import logger
from rpc.errors import ProcedureError, RemoteProtocolError

_FIRST_BATCH: Final = 8
_BATCH_GROWTH: Final = 8
_BATCH_MAX: Final = 512
_OWN_ANSWER_BYTES: Final = 64 << 20
"""A file of this size may be in many pieces: it is asked for alone."""
_FILESYSTEMS_MAX: Final = 256
"""A guest has a few; one that has another at each question would fill the memory with their maps."""
_ENTRY_BYTES: Final = 200
"""Python's dictionary entry and key, beside the map itself."""


class _Batch(NamedTuple):
    """The latest batch: of which directory, how many files it might have, and where in the listing it ended."""

    directory: Inode
    size: int
    end: int


class FileMaps:
    """Where the bytes of files lie.

    The first file read in a directory brings few others along, those after it many: a reader of one file shall not
    wait for the maps of all, and a reader of all not ask for each.
    """

    def __init__(self, images: Images, inodes: InodeTable, directories: DirectoryCache, budget: CacheBudget) -> None:
        self._mapping = images.mapping
        self._inodes = inodes
        self._directories = directories
        self._drive_sizes = images.plane.drive_sizes
        self._cache = budget.open_cache("maps", self._drop)
        self._maps: OrderedDict[Inode, FileMap | None] = OrderedDict()
        self._addresses: dict[int, AddressMap] = {}
        self._asking = trio.Lock()
        self._last: _Batch | None = None

    def is_known(self, inode: Inode) -> bool:
        """Tell whether ``known`` says of a file what ``get`` would."""
        return inode in self._maps

    def known(self, inode: Inode) -> FileMap | None:
        """Return a map that is here."""
        self._cache.hits += 1
        self._maps.move_to_end(inode)
        return self._maps[inode]

    async def get(self, inode: Inode) -> FileMap | None:
        """Return the map of a file that the kernel knows, None if its bytes are not simply on a drive.

        Raises:
            RemoteProtocolError: what the daemon says of it is impossible.
        """
        if inode not in self._maps:
            async with self._asking:
                if inode not in self._maps:
                    self._cache.misses += 1
                    return await self._ask(inode)
        self._cache.hits += 1
        self._maps.move_to_end(inode)
        return self._maps[inode]

    async def _ask(self, inode: Inode) -> FileMap | None:
        """Ask for a file and others; what comes of the others may already have to be given up again."""
        node = self._inodes.get(inode)
        path = self._inodes.path(node.parent)
        names = {node.entry.name: (inode, node.entry.fields[7])}
        listing = self._directories.cached(node.parent)
        if listing is not None and listing.entries and node.entry.fields[7] < _OWN_ANSWER_BYTES:
            self._add_neighbours(names, node.parent, node.entry.name, listing)
        try:
            filesystem, answers = await self._mapping.map_files(path, list(names))
        except ProcedureError as exc:  # the directory itself cannot be opened
            logger.info("%r: its files cannot be mapped: %s", path, exc)
            self._keep(inode, None)
            return None
        addresses = self._addresses.get(filesystem)
        if addresses is None:
            addresses = self._addresses[filesystem] = await self._ask_addresses(path, filesystem)
        wanted = None
        for (number, size_bytes), extents in zip(names.values(), answers, strict=True):
            try:
                found = None if extents is None else file_map(extents, size_bytes, addresses)
            except RemoteProtocolError as exc:
                if number == inode:
                    raise
                logger.error("the map of a file in %r: %s", path, exc)
                continue
            self._keep(number, found)
            wanted = found if number == inode else wanted
        return wanted

    def _add_neighbours(
        self, names: dict[bytes, tuple[Inode, int]], directory: Inode, name: bytes, listing: Listing
    ) -> None:
        """Add files that come after one in its directory, or before it if there are none left."""
        entries = listing.entries
        size, start = _FIRST_BATCH, 0
        if self._last is not None and self._last.directory == directory:
            size, start = min(self._last.size * _BATCH_GROWTH, _BATCH_MAX), self._last.end
        total = len(entries)
        position = next((at % total for at in range(start, start + total) if entries[at % total].name == name), 0)
        end = position + 1
        while end < position + total and len(names) < size:
            entry = entries[end % total]
            fields = entry.fields
            if modes.S_ISREG(fields[2]) and 0 < fields[7] < _OWN_ANSWER_BYTES:
                number = self._inodes.number(entry, directory)
                if number not in self._maps:
                    names.setdefault(entry.name, (number, fields[7]))
            end += 1
        self._last = _Batch(directory, size, end % total)

    async def _ask_addresses(self, path: bytes, filesystem: int) -> AddressMap:
        if len(self._addresses) >= _FILESYSTEMS_MAX:
            raise RemoteProtocolError(f"more than {_FILESYSTEMS_MAX} filesystems in one guest")
        addresses = await self._mapping.device_map(path, self._drive_sizes)
        if addresses.filesystem != filesystem:
            raise RemoteProtocolError(f"{path!r} is on filesystem {filesystem} and on {addresses.filesystem}")
        if addresses.reason:
            logger.info("files at %r are read by the guest: %s", path, addresses.reason)
        return addresses

    def _keep(self, inode: Inode, found: FileMap | None) -> None:
        if inode in self._maps:  # by another of its names
            self._cache.remove(_cost_bytes(self._maps.pop(inode)))
        self._maps[inode] = found
        self._cache.add(_cost_bytes(found))

    def _drop(self) -> bool:
        if not self._maps:
            return False
        _, dropped = self._maps.popitem(last=False)
        self._cache.remove(_cost_bytes(dropped))
        return True


def _cost_bytes(found: FileMap | None) -> int:
    return _ENTRY_BYTES + (0 if found is None else sys.getsizeof(found))
