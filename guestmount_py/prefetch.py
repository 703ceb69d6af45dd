"""Walk ahead of a walker: list the directories below the one it just opened, in the order it will come to them."""

import stat as modes
from collections import deque
from itertools import islice
from typing import Final, NamedTuple

import trio

from guestmount_py.dircache import DirectoryCache
from guestmount_py.guest_files import GuestFiles
from guestmount_py.inodes import Inode, InodeTable, Node
from guestmount_py.log import logger
from rpc.errors import GuestmountError, RemoteProtocolError

_BATCH_MAX_DIRECTORIES: Final = 64
_BATCH_MAX_ENTRIES: Final = 8192
"""What one call lists at most: under emulation half a second of the guest's work, which stops when nobody wants it."""
_AHEAD_MAX_LISTINGS: Final = 8192
_LARGE_DIRECTORY_BYTES: Final = 1 << 20
"""A directory file longer than this is not listed unasked."""
_PATIENCE_S: Final = 5.0
"""A walk ends when nobody opens a directory for so long."""


class _Waiting(NamedTuple):
    inode: Inode
    device: int


class Prefetcher:
    """List directories before they are asked for, once somebody opens a directory and then one below it.

    The queue is depth first in listing order, as find, tar, du and rsync walk, and so does the guest; the directory at
    its head is the one that comes next. What was listed and not opened yet is bounded; a walker that turns elsewhere
    ends the walk.
    """

    def __init__(
        self, guest: GuestFiles, directories: DirectoryCache, inodes: InodeTable, nursery: trio.Nursery
    ) -> None:
        self._guest = guest
        self._directories = directories
        self._inodes = inodes
        self._nursery = nursery
        self._queue: deque[bytes] = deque()
        self._waiting: dict[bytes, _Waiting] = {}
        self._ahead: dict[Inode, int] = {}
        self._ahead_bytes = 0
        self._opened: set[Inode] = set()
        self._expanded: set[Inode] = set()
        self._last_opened_s = 0.0
        self._walk_scope: trio.CancelScope | None = None

    def opened(self, directory: Node, path: bytes) -> None:
        """Note that somebody opened a directory; walk on below it if its parent was opened before."""
        self._last_opened_s = trio.current_time()
        self._ahead_bytes -= self._ahead.pop(directory.inode, 0)
        if directory.parent not in self._opened or directory.parent == directory.inode:
            self._forget_all()
        else:
            device = directory.entry.fields[0]
            self._expand(directory.parent, path.rpartition(b"/")[0] or b"/", device)
            self._expand(directory.inode, path, device)
        self._opened.add(directory.inode)
        if self._walk_scope is None and self._queue and self._has_room():
            self._walk_scope = trio.CancelScope()
            self._nursery.start_soon(self._walk, self._walk_scope)

    def _forget_all(self) -> None:
        if self._walk_scope is not None:
            self._walk_scope.cancel()
        for collection in (self._queue, self._waiting, self._ahead, self._opened, self._expanded):
            collection.clear()
        self._ahead_bytes = 0

    def _has_room(self) -> bool:
        return len(self._ahead) < _AHEAD_MAX_LISTINGS and self._ahead_bytes < self._directories.share_bytes // 4

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
                number = self._inodes.number(entry, inode)
                if not self._directories.is_known(number):
                    found.append(prefix + entry.name)
                    self._waiting[found[-1]] = _Waiting(number, device)
        self._queue.extendleft(reversed(found))

    async def _walk(self, scope: trio.CancelScope) -> None:
        try:
            with scope:
                while self._has_room() and trio.current_time() - self._last_opened_s < _PATIENCE_S:
                    self._expect_next()
                    batch = list(
                        islice((path for path in self._queue if path in self._waiting), _BATCH_MAX_DIRECTORIES)
                    )
                    if not batch:
                        break
                    await self._list(batch)
                    if batch[0] in self._waiting and self._has_room():
                        raise RemoteProtocolError("a walk that does not begin where it was asked to")
        except GuestmountError:
            self._forget_all()  # whoever opens those directories hears of it
        except Exception:
            logger.exception("listing ahead failed: this is a bug")  # it must not end the mount
            self._forget_all()
        finally:
            self._directories.expect(None)
            self._walk_scope = None

    async def _list(self, batch: list[bytes]) -> None:
        async with self._guest.walk(batch, _BATCH_MAX_ENTRIES) as listings:
            async for path, entries in listings:
                waiting = self._waiting.pop(path, None)
                if waiting is not None and entries is not None:
                    if not self._directories.is_listed(waiting.inode):
                        listing = self._directories.keep(waiting.inode, entries)
                        self._ahead[waiting.inode] = listing.cost_bytes
                        self._ahead_bytes += listing.cost_bytes
                    self._expand(waiting.inode, path, waiting.device)
                self._expect_next()
                if not self._has_room():
                    return

    def _expect_next(self) -> None:
        """Let whoever comes to the head of the queue wait for it."""
        while self._queue and self._queue[0] not in self._waiting:
            self._queue.popleft()
        self._directories.expect(self._waiting[self._queue[0]].inode if self._queue else None)
