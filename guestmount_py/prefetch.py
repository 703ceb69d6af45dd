"""Walk ahead of a walker: list the directories below the one it just opened, in the order it will come to them."""

from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice
from typing import Final, NamedTuple

import trio

from guestmount_py.dircache import DirectoryCache
from guestmount_py.guest_files import GuestFiles
from guestmount_py.inodes import ROOT, Inode, InodeTable, Node
from guestmount_py.log import logger
from guestmount_py.walk_order import PATH_MAX_BYTES, Subdirectory, behind, from_the_next_on, is_by_name, subdirectories
from rpc.errors import GuestmountError, RemoteProtocolError

_BATCH_MAX_DIRECTORIES: Final = 64
_BATCH_MAX_ENTRIES: Final = 8192
"""What one call lists at most: under emulation half a second of the guest's work, which stops when nobody wants it."""
_WAITING_MAX: Final = 4096
"""What is farther away than so many directories is looked for when the walker comes there."""
_AHEAD_MAX_LISTINGS: Final = 8192
_OPENED_MAX: Final = 8192
_TURN_S: Final = 0.25
_PATIENCE_S: Final = 5.0
"""A walk ends when nobody opens a directory for so long."""


class _Waiting(NamedTuple):
    inode: Inode
    parent: Inode
    device: int


class Prefetcher:
    """List directories before they are asked for, once somebody opens a directory and then one below it.

    At first that is what lies below the second one; its siblings too when another of them is opened, for who only wants
    one directory opens those on the way to it. The queue is depth first, by name or as listed, as whoever walks has
    been seen to go; the directory at its head is the one that comes next. What was listed and not opened yet is
    bounded; so is the queue, and what it had no room for is put in when a walker comes there. A walker that turns
    elsewhere ends the walk.
    """

    def __init__(
        self, guest: GuestFiles, directories: DirectoryCache, inodes: InodeTable, nursery: trio.Nursery
    ) -> None:
        self._guest = guest
        self._directories = directories
        self._inodes = inodes
        self._nursery = nursery
        self._waiting: OrderedDict[bytes, _Waiting] = OrderedDict()
        self._cut: set[Inode] = set()
        """Directories some of whose subdirectories found no room in the queue."""
        self._ahead: dict[Inode, int] = {}
        self._ahead_bytes = 0
        self._opened: dict[Inode, Inode | None] = {}
        """Directories that were opened, and of each the one below it that was opened last."""
        self._expanded: set[Inode] = set()
        self._last_opened_s = 0.0
        self._walk_scope: trio.CancelScope | None = None
        self._is_astray = False
        self._turned_s = -_TURN_S

    def opened(self, directory: Node, path: bytes) -> None:
        """Note that somebody opened a directory; walk on below it if its parent was opened before."""
        self._last_opened_s = trio.current_time()
        self._ahead_bytes -= self._ahead.pop(directory.inode, 0)
        if directory.parent not in self._opened or directory.parent == directory.inode:
            self._forget_all()
        else:
            self._note_child(directory, path)
            if directory.parent in self._cut and len(self._waiting) < _BATCH_MAX_DIRECTORIES:
                self._take_up(directory, path)
            self._expand(directory.inode, path, directory.entry.fields[0])
        self._opened.setdefault(directory.inode, None)
        if max(len(self._opened), len(self._expanded)) > _OPENED_MAX:
            self._forget_far(directory)
        if self._walk_scope is None and self._waiting and self._has_room():
            self._walk_scope = trio.CancelScope()
            self._nursery.start_soon(self._walk, self._walk_scope)

    def _note_child(self, directory: Node, path: bytes) -> None:
        """See by a directory and the sibling opened before it how the walk goes, and go on where the walker is."""
        parent = directory.parent
        before = self._opened[parent]
        self._opened[parent] = directory.inode
        is_early = self._waiting.pop(path, None) is not None  # the walk ahead would have come to it later
        listing = self._directories.peek(parent)
        if listing is None or (parent in self._expanded and not (is_early and self._may_turn())):
            return
        device = directory.entry.fields[0]
        siblings = list(subdirectories(listing, parent, device, self._inodes, by_name=False))
        by_name = is_by_name(siblings, before, directory.inode, otherwise=self._directories.by_name)
        self._directories.by_name = by_name
        if before in (None, directory.inode) and parent not in self._expanded:
            return
        self._expanded.add(parent)
        siblings = from_the_next_on(sorted(siblings) if by_name else siblings, directory.inode)
        self._enqueue(siblings, path.rpartition(b"/")[0], parent, device)
        self._is_astray = is_early

    def _take_up(self, directory: Node, path: bytes) -> None:
        """Go on with the siblings behind a directory, which had no room in the queue."""
        parent, device = directory.parent, directory.entry.fields[0]
        self._cut.discard(parent)
        listing = self._directories.peek(parent)
        if listing is not None:
            by_name = self._directories.by_name
            siblings = subdirectories(listing, parent, device, self._inodes, by_name=by_name)
            self._enqueue(behind(siblings, directory.inode), path.rpartition(b"/")[0], parent, device)

    def _may_turn(self) -> bool:
        """Tell whether the walk may be sent elsewhere: not all the time, for there may be two walkers."""
        now_s = trio.current_time()
        if now_s - self._turned_s < _TURN_S:
            return False
        self._turned_s = now_s
        return True

    def _forget_far(self, directory: Node) -> None:
        """Remember of what was opened only the way to a directory."""
        way = {ROOT}
        node: Node | None = directory
        while node is not None and node.inode not in way:
            way.add(node.inode)
            node = self._inodes.find(node.parent)
        self._opened = {inode: child for inode, child in self._opened.items() if inode in way}
        self._expanded &= way
        self._cut &= way

    def _forget_all(self) -> None:
        if self._walk_scope is not None:
            self._walk_scope.cancel()
        for collection in (self._waiting, self._cut, self._ahead, self._opened, self._expanded):
            collection.clear()
        self._ahead_bytes = 0

    def _has_room(self) -> bool:
        return len(self._ahead) < _AHEAD_MAX_LISTINGS and self._ahead_bytes < self._directories.share_bytes // 4

    def _expand(self, inode: Inode, path: bytes, device: int) -> None:
        """Put a directory's subdirectories before all that waits."""
        listing = self._directories.peek(inode)
        if listing is None or inode in self._expanded:
            return
        self._expanded.add(inode)
        by_name = self._directories.by_name
        self._enqueue(subdirectories(listing, inode, device, self._inodes, by_name=by_name), path, inode, device)

    def _enqueue(self, found: Iterable[Subdirectory], path: bytes, parent: Inode, device: int) -> None:
        """Put directories before all that waits, and give up those that wait beyond the bound."""
        if len(path) > PATH_MAX_BYTES:
            return
        prefix = path if path.endswith(b"/") else path + b"/"
        unknown = (each for each in found if not self._directories.is_known(each.inode))
        nearest = list(islice(unknown, _WAITING_MAX + 1))
        for each in reversed(nearest):
            self._waiting[prefix + each.name] = _Waiting(each.inode, parent, device)
            self._waiting.move_to_end(prefix + each.name, last=False)
        while len(self._waiting) > _WAITING_MAX:
            _, farthest = self._waiting.popitem()
            if farthest.parent in self._expanded:
                self._cut.add(farthest.parent)

    async def _walk(self, scope: trio.CancelScope) -> None:
        try:
            with scope:
                while self._has_room() and trio.current_time() - self._last_opened_s < _PATIENCE_S:
                    self._expect_next()
                    batch = list(islice(self._waiting, _BATCH_MAX_DIRECTORIES))
                    if not batch:
                        break
                    self._is_astray = False
                    await self._list(batch)
                    if batch[0] in self._waiting and self._has_room() and not self._is_astray:
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
        by_name = self._directories.by_name
        async with self._guest.walk(batch, _BATCH_MAX_ENTRIES, by_name=by_name) as listings:
            async for path, entries in listings:
                waiting = self._waiting.pop(path, None)
                if waiting is not None and entries is not None:
                    if not self._directories.is_listed(waiting.inode):
                        listing = self._directories.keep(waiting.inode, entries)
                        self._ahead[waiting.inode] = listing.cost_bytes
                        self._ahead_bytes += listing.cost_bytes
                    self._expand(waiting.inode, path, waiting.device)
                self._expect_next()
                if self._is_astray or not self._has_room():
                    return

    def _expect_next(self) -> None:
        """Let whoever comes to the head of the queue wait for it."""
        first = next(iter(self._waiting.values()), None)
        self._directories.expect(first.inode if first is not None else None)
