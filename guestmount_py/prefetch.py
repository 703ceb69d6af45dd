"""Walk ahead of a walker: list the directories below the one it just opened, in the order it will come to them."""

import stat as modes
from collections import deque
from typing import Final

import trio

from guestmount_py.dircache import DirectoryCache
from guestmount_py.inodes import Inode, InodeTable, Node
from guestmount_py.log import logger
from rpc.errors import GuestmountError

_WALKERS: Final = 2
_BATCH_MAX_DIRECTORIES: Final = 16
_AHEAD_MAX_LISTINGS: Final = 2048
_AHEAD_MAX_BYTES: Final = 24 << 20
_LARGE_DIRECTORY_BYTES: Final = 1 << 20
"""A directory file longer than this is not listed unasked."""


class Prefetcher:
    """List directories before they are asked for, once somebody opens a directory and then one below it.

    The queue is depth first in listing order, as find, tar, du and rsync walk. What was listed and not opened yet is
    bounded; a walker that turns elsewhere resets it.
    """

    def __init__(self, directories: DirectoryCache, inodes: InodeTable, nursery: trio.Nursery) -> None:
        self._directories = directories
        self._inodes = inodes
        self._nursery = nursery
        self._queue: deque[tuple[Inode, bytes, int]] = deque()
        self._ahead: dict[Inode, int] = {}
        self._opened: set[Inode] = set()
        self._expanded: set[Inode] = set()
        self._running = 0

    def opened(self, directory: Node, path: bytes) -> None:
        """Note that somebody opened a directory; walk on below it if its parent was opened before."""
        self._ahead.pop(directory.inode, None)
        if directory.parent not in self._opened or directory.parent == directory.inode:
            self._queue.clear()
            self._ahead.clear()
            self._opened.clear()
            self._expanded.clear()
        else:
            device = directory.entry.fields[0]
            self._expand(directory.parent, path.rpartition(b"/")[0] or b"/", device)
            self._expand(directory.inode, path, device)
        self._opened.add(directory.inode)
        while self._queue and self._running < _WALKERS and self._has_room():
            self._running += 1
            self._nursery.start_soon(self._walk)

    def _has_room(self) -> bool:
        return len(self._ahead) < _AHEAD_MAX_LISTINGS and sum(self._ahead.values()) < _AHEAD_MAX_BYTES

    def _expand(self, inode: Inode, path: bytes, device: int) -> None:
        """Put a directory's subdirectories before all that waits; large ones and other filesystems are left alone."""
        listing = self._directories.cached(inode)
        if listing is None or inode in self._expanded:
            return
        self._expanded.add(inode)
        prefix = path if path.endswith(b"/") else path + b"/"
        found = []
        for entry in listing.entries:
            fields = entry.fields
            if modes.S_ISDIR(fields[2]) and fields[0] == device and fields[7] <= _LARGE_DIRECTORY_BYTES:
                found.append((self._inodes.number(entry, inode), prefix + entry.name, device))
        self._queue.extendleft(reversed(found))

    async def _walk(self) -> None:
        try:
            while batch := self._next_batch():
                for inode, _, _ in batch:
                    self._ahead[inode] = 0
                listings = await self._directories.fetch_ahead([(inode, path) for inode, path, _ in batch])
                for (inode, path, device), listing in reversed(list(zip(batch, listings, strict=True))):
                    if listing is not None:
                        if inode in self._ahead:
                            self._ahead[inode] = listing.cost_bytes
                        self._expand(inode, path, device)
        except GuestmountError:
            self._queue.clear()  # whoever opens those directories hears of it
        except Exception:
            logger.exception("listing ahead failed: this is a bug")  # it must not end the mount
            self._queue.clear()
        finally:
            self._running -= 1

    def _next_batch(self) -> list[tuple[Inode, bytes, int]]:
        batch: list[tuple[Inode, bytes, int]] = []
        while self._queue and self._has_room() and len(batch) < _BATCH_MAX_DIRECTORIES:
            waiting = self._queue.popleft()
            if not self._directories.is_known(waiting[0]):
                batch.append(waiting)
        return batch
