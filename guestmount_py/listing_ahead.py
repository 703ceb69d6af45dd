"""Listing directories ahead of whoever walks a tree in a mount that writes: each would wait behind what he changes.

``rm -r`` lists a directory, removes what is in it, and lists the next one, behind all those removals.
"""

from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice
from typing import Final

import trio

from guestmount_py.changing_directories import ChangingDirectories
from guestmount_py.guest_files import GuestFiles
from guestmount_py.inode_numbers import ROOT, Inode
from guestmount_py.node_table import Node, NodeTable
from guestmount_py.path_lock import PathLock
from guestmount_py.walk_order import PATH_MAX_BYTES, Subdirectory, behind, subdirectories
from guestmount_py.write_behind import WriteBehind
from rpc.errors import GuestmountError

_MAX_ENTRIES: Final = (4096, 32768)
"""What is listed below a directory and, when the walker has come to a sibling of it, with its further siblings."""
_SIBLINGS_MAX: Final = 512
_OPENED_MAX: Final = 256


class ListingAhead:
    """List what is below a directory that is opened after the one that it is in; its siblings after two of them.

    Args:
        behind: waits meanwhile, and knows the directories that the guest does not have yet as they are.

    Invariant: whoever waits for a listing that is under way here waits for nobody who waits for paths.
    """

    def __init__(
        self,
        guest: GuestFiles,
        directories: ChangingDirectories,
        inodes: NodeTable,
        paths: PathLock,
        behind: WriteBehind,
        nursery: trio.Nursery,
    ) -> None:
        self._guest = guest
        self._directories = directories
        self._inodes = inodes
        self._paths = paths
        self._behind = behind
        self._nursery = nursery
        self._opened: OrderedDict[Inode, Inode | None] = OrderedDict()
        """Directories, and of each the one in it that was opened last."""
        self._is_walking = False

    async def opened(self, directory: Node) -> None:
        """Note that somebody opens a directory, and begin to list if that is the sign of a walk."""
        inode, parent = directory.inode, directory.parent
        before = self._opened.get(parent)
        self._opened.setdefault(inode, None)
        self._opened.move_to_end(inode)
        if len(self._opened) > _OPENED_MAX:
            self._opened.popitem(last=False)
        if inode == ROOT or parent not in self._opened or not self._guest.extended:
            return
        self._opened[parent] = inode
        if not self._is_walking and not self._directories.is_known(inode):
            self._is_walking = True
            try:
                await self._nursery.start(self._walk, directory, before not in (None, inode))
            except BaseException:
                self._is_walking = False
                raise

    async def _walk(
        self, first: Node, has_siblings: bool, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        expected: dict[bytes, Inode] = {}
        try:
            async with self._paths.shared():
                with self._directories.listed_ahead(self._behind.directories_of_names()), self._behind.held():
                    self._expect_from(first, expected, has_siblings=has_siblings)
                    task_status.started()
                    if expected:
                        await self._list(expected, first.entry.fields[0], _MAX_ENTRIES[has_siblings])
        finally:
            self._is_walking = False
            for inode in expected.values():
                self._directories.keep_ahead(inode, None)

    async def _list(self, expected: dict[bytes, Inode], device: int, max_entries: int) -> None:
        try:
            async with self._guest.walk(list(expected), max_entries) as listings:
                async for path, entries in listings:
                    inode = expected.pop(path, None)
                    listing = self._directories.keep_ahead(inode, entries) if inode is not None else None
                    if inode is not None and listing is not None:
                        below = subdirectories(listing, inode, device, self._inodes, by_name=False)
                        self._expect(path, below, expected)
        except GuestmountError:
            return  # whoever opens those directories hears of it

    def _expect_from(self, first: Node, expected: dict[bytes, Inode], *, has_siblings: bool) -> None:
        """Expect a directory, and those that are listed behind it."""
        listing = self._directories.peek(first.parent)
        entry = listing.by_name.get(first.entry.name) if listing is not None else None
        if listing is None or entry is None or self._inodes.number(entry, first.parent) != first.inode:
            return  # it has gone meanwhile
        siblings = [Subdirectory(first.entry.name, first.inode)]
        if has_siblings:
            listed = subdirectories(listing, first.parent, first.entry.fields[0], self._inodes, by_name=False)
            siblings += islice(behind(listed, first.inode), _SIBLINGS_MAX)
        self._expect(self._inodes.path(first.parent), siblings, expected)

    def _expect(self, path: bytes, found: Iterable[Subdirectory], expected: dict[bytes, Inode]) -> None:
        if len(path) < PATH_MAX_BYTES:
            prefix = path if path.endswith(b"/") else path + b"/"
            expected |= {prefix + each.name: each.inode for each in found if self._directories.await_ahead(each.inode)}
