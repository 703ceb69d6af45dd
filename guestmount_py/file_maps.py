"""Maps of files by inode: asked for with those of their neighbours, the least recently used ones dropped."""

import sys
from collections import OrderedDict
from collections.abc import Sequence
from itertools import islice
from typing import Final

import trio

from guestmount_py.caches import CacheBudget
from guestmount_py.dircache import DirectoryCache
from guestmount_py.direct import Images
from guestmount_py.extents import AddressMap, FileMap, file_map
from guestmount_py.inodes import Inode, InodeTable
from guestmount_py.log import logger
from guestmount_py.map_requests import MapRequest, Wanted
from guestmount_py.map_sweep import OWN_ANSWER_BYTES, MapSweep
from rpc.errors import GuestmountError, ProcedureError, RemoteProtocolError
from rpc.extents import MapPart

_NEIGHBOURS: Final = 7
_FILESYSTEMS_MAX: Final = 256
"""A guest has a few; one that has another at each question would fill the memory with their maps."""
_ENTRY_BYTES: Final = 200
"""Python's dictionary entry and key, beside the map itself."""


class FileMaps:
    """Where the bytes of files lie.

    A file whose map is not here is asked for with a few of its neighbours. If that happens again, the maps of what
    comes behind it are fetched ahead of the reader, in this directory and in those that follow, as long as they are
    used.

    Invariant: an inode is under way while the answer to a question that names it has not come.
    """

    def __init__(
        self,
        images: Images,
        inodes: InodeTable,
        directories: DirectoryCache,
        budget: CacheBudget,
        nursery: trio.Nursery,
    ) -> None:
        self._mapping = images.mapping
        self._inodes = inodes
        self._directories = directories
        self._nursery = nursery
        self._drive_sizes = images.plane.drive_sizes
        self._cache = budget.open_cache("maps", self._drop)
        self._maps: OrderedDict[Inode, FileMap | None] = OrderedDict()
        self._underway: dict[Inode, MapRequest] = {}
        self._addresses: dict[int, AddressMap] = {}
        self._asking_addresses = trio.Lock()
        self._sweep = MapSweep(inodes, directories, self._is_known_or_underway)
        self._sweeping: MapRequest | None = None
        self._asked_count = 0
        self._was_asked = False

    def _is_known_or_underway(self, inode: Inode) -> bool:
        return inode in self._maps or inode in self._underway

    def is_known(self, inode: Inode) -> bool:
        """Tell whether ``known`` says of a file what ``get`` would."""
        return inode in self._maps

    def known(self, inode: Inode) -> FileMap | None:
        """Return a map that is here."""
        self._cache.hits += 1
        self._maps.move_to_end(inode)
        self._used(inode)
        return self._maps[inode]

    async def get(self, inode: Inode) -> FileMap | None:
        """Return the map of a file that the kernel knows, None if its bytes are not simply on a drive.

        Raises:
            RemoteProtocolError: what the daemon says of it is impossible.
        """
        if inode in self._maps:
            return self.known(inode)
        request = self._underway.get(inode)
        if request is None:
            self._cache.misses += 1
            request = self._ask(inode)
        else:
            self._cache.hits += 1
            self._used(inode)
        return await request.answer(inode)

    def _used(self, inode: Inode) -> None:
        self._sweep.used(inode)
        self._go_on()

    def _go_on(self) -> None:
        """Fetch what comes next, if enough of what was fetched ahead was read and nobody waits for anything else."""
        if self._sweeping is not None or self._asked_count or not self._sweep.is_due:
            return
        try:
            files = self._sweep.next_files()
            if files:
                self._sweeping = self._start(files)
        except Exception:  # whoever reads a file has nothing to do with those of others
            logger.exception("asking for maps ahead failed: this is a bug")
            self._sweep.stop()

    def _ask(self, inode: Inode) -> MapRequest:
        """Ask for a file and others; what comes of the others may already have to be given up again."""
        node = self._inodes.get(inode)
        name, size_bytes = node.entry.name, node.entry.fields[7]
        path = self._inodes.path(node.parent)
        files = [Wanted(path, name, inode, size_bytes)]
        listing, directory = self._directories.peek(node.parent), self._inodes.find(node.parent)
        if listing is not None and directory is not None and size_bytes < OWN_ANSWER_BYTES:
            others = self._sweep.files_of(listing, directory.inode, directory.entry.fields[0], path, name)
            files += islice((each for each in others if each.inode != inode), _NEIGHBOURS)
            if self._was_asked:
                self._sweep.begin(node.parent, name)
            self._was_asked = True
        self._asked_count += 1
        return self._start(files)

    def _start(self, files: Sequence[Wanted]) -> MapRequest:
        request = MapRequest(files)
        for each in files:
            self._underway[each.inode] = request
        self._nursery.start_soon(self._run, request)
        return request

    async def _run(self, request: MapRequest) -> None:
        error: GuestmountError | None = GuestmountError("the question for the maps of files was broken off")
        try:
            await self._fetch(request)
            error = None
        except ProcedureError as exc:
            logger.info("%r: its files cannot be mapped: %s", request.files[0].directory, exc)
            for each in request.files:
                if self._underway.get(each.inode) is request:
                    self._keep(each.inode, None)
            error = None
        except GuestmountError as exc:
            error = exc
        except Exception:
            logger.exception("asking for maps failed: this is a bug")  # it must not end the mount
        finally:
            for each in request.files:
                if self._underway.get(each.inode) is request:
                    del self._underway[each.inode]
            if self._sweeping is request:
                self._sweeping = None
            else:
                self._asked_count -= 1
            request.end(error)
        self._go_on()

    async def _fetch(self, request: MapRequest) -> None:
        rest = iter(request.files)
        async with self._mapping.map_directories(list(request.groups())) as parts:
            async for part in parts:
                await self._take(request, list(islice(rest, len(part.files))), part)

    async def _take(self, request: MapRequest, files: Sequence[Wanted], part: MapPart) -> None:
        """Keep the maps of some files of one directory."""
        addresses = self._addresses.get(part.filesystem)
        if addresses is None and any(extents is not None for extents in part.files):
            addresses = await self._ask_addresses(files[0].directory, part.filesystem)
        for wanted, extents in zip(files, part.files, strict=True):
            inode = wanted.inode
            try:
                found = (
                    None if extents is None or addresses is None else file_map(extents, wanted.size_bytes, addresses)
                )
                self._keep(inode, found)
                request.note(inode, found)
            except RemoteProtocolError as exc:
                if not request.note(inode, exc):
                    logger.error("the map of %r in %r: %s", wanted.name, wanted.directory, exc)
            if self._underway.get(inode) is request:
                del self._underway[inode]
        request.move()

    async def _ask_addresses(self, path: bytes, filesystem: int) -> AddressMap:
        async with self._asking_addresses:
            if filesystem in self._addresses:
                return self._addresses[filesystem]
            if len(self._addresses) >= _FILESYSTEMS_MAX:
                raise RemoteProtocolError(f"more than {_FILESYSTEMS_MAX} filesystems in one guest")
            addresses = await self._mapping.device_map(path, self._drive_sizes)
            if addresses.filesystem != filesystem:
                raise RemoteProtocolError(f"{path!r} is on filesystem {filesystem} and on {addresses.filesystem}")
            if addresses.reason:
                logger.info("files at %r are read by the guest: %s", path, addresses.reason)
            self._addresses[filesystem] = addresses
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
