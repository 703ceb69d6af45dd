"""What becomes of files whose names come, go and change, in what this mount knows of them."""

import os
import stat as modes
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from errno import ENOENT
from typing import Final

import pyfuse3

from guestmount_py.entries import Entry
from guestmount_py.inode_numbers import Inode
from guestmount_py.node_table import Node
from guestmount_py.writing_looking import LookingOperations
from guestmount_py.written_files import Written
from rpc import hot
from rpc.types import Statns

_PROMISED_AT: Final = (2, 4, 5, 10, 11)
"""Mode, owner, group and atime of a directory, which the guest may not have been told yet."""
_NLINK_AT: Final = 3


class KnownNames(LookingOperations):
    """Notes of what the guest has done to names; no await stands between its answer and them."""

    def _forget_number(self, inode: Inode) -> None:
        """Forget what was known of a file that had the number of a new one."""
        self._linked.pop(inode, None)
        self._stale.discard(inode)
        written = self._written.find(inode)
        if written is not None:
            written.has_others = False

    @asynccontextmanager
    async def _changing(self, directory: Inode) -> AsyncIterator[None]:
        """Begin nothing of a directory's own while the guest changes a name in it, which may move its times."""
        if self.behind.has_directories_to_go(directory):
            await self.behind.settle(directory)
        await self.behind.pause(directory)
        try:
            yield
        finally:
            self.behind.resume(directory)

    def _changed_names(self, parent: Node, name: bytes, entry: Entry | None, stat: bytes) -> None:
        """Note what a name means now, and the attributes that its directory has got by that."""
        self._directories.change(parent.inode, name, entry)
        if self.behind.is_pending(parent.inode):
            self.behind.outdate(parent.inode)
            self.behind.draft(parent)  # which tells what it is after both
            fields = list(hot.STATNS.unpack(stat))
            for at in _PROMISED_AT:
                fields[at] = parent.entry.fields[at]
            stat = hot.STATNS.pack(*fields)
        if self.behind.is_pending(parent.inode) or self.behind.has_names(parent.inode):
            self._note_stale(parent.inode)
        else:
            self._stale.discard(parent.inode)
        self._adopt(parent, stat)

    async def _pause(self, inode: Inode) -> None:
        """Begin nothing of a file that is about to lose a name.

        If it may have names that we do not know, all is made first: thereafter there may be no way to it.
        """
        while True:
            await self.behind.pause(inode)
            node = self._inodes.find(inode)
            if node is None or not self.behind.is_pending(inode):
                return
            if node.entry.fields[_NLINK_AT] < 2 and inode not in self._stale:
                return
            self.behind.resume(inode)
            await self.behind.settle(inode)

    async def _know_xattrs(self, inode: Inode) -> None:
        """Ask for the extended attributes of an open file that may be about to lose its last name."""
        written = self._written.find(inode)
        if written is not None and written.opened and not written.is_gone:
            await self._xattrs(inode)

    def _must_keep(self, inode: Inode, place: tuple[Inode, bytes], *, replaced: bool = False) -> bool:
        """Tell whether a file will be in use though we know no name of it any more, once it has lost this one.

        One that is ``replaced`` may just be about to be opened by who has found it: it is kept until the kernel
        forgets it.
        """
        node, written = self._inodes.find(inode), self._written.find(inode)
        if node is None or (written is not None and (written.kept or self._names_beside(written, place))):
            return False
        if (node.parent, node.entry.name) != place and not (written is not None and written.is_gone):
            return False
        if replaced and modes.S_ISREG(node.entry.fields[2]):
            return True
        return written is not None and written.opened > 0

    @contextmanager
    def _holding_names(self, inode: Inode | None) -> Iterator[None]:
        """Have the directories of a file's further names stay known while it loses one: it will be found by another."""
        written = self._written.find(inode) if inode is not None else None
        known = [self._inodes.find(parent) for parent, _ in written.aliases] if written is not None else []
        held = [node for node in known if node is not None]
        for node in held:
            node.lookup_count += 1
        try:
            yield
        finally:
            for node in held:
                self._release(node)

    def _path_beside(self, written: Written) -> bytes:
        """Return a path to a file that is kept though it has names: they were found again later."""
        for parent, name in self._names_beside(written):
            return os.path.join(self._inodes.path(parent), name)
        raise pyfuse3.FUSEError(ENOENT)

    def _lost_name(self, inode: Inode, place: tuple[Inode, bytes], kept: int, moment: tuple[int, int]) -> None:
        """Note that a file has lost a name.

        Args:
            inode: its number.
            place: where it had the name.
            kept: the number by which the guest keeps it, if that was the last name we knew.
            moment: when, in seconds and nanoseconds.
        """
        node, was_stale = self._inodes.find(inode), inode in self._stale
        self._note_stale(inode)
        self._files.moved(inode)
        if node is None:
            return
        written = self._written.get(inode)
        written.aliases.discard(place)
        if (node.parent, node.entry.name) != place and not written.is_gone:
            return
        linked = (node.entry.fields[_NLINK_AT] > 1 or was_stale) and not modes.S_ISDIR(node.entry.fields[2])
        for parent, name in self._names_beside(written, place):
            written.aliases.discard((parent, name))
            entry = Entry(name, node.entry.data, node.entry.offset, node.entry.target, node.entry.xattrs)
            self._move(node, parent, entry)
            return
        written.is_gone = True
        written.has_others = linked
        written.kept = written.kept or kept
        self._directories.discard(inode)
        nlink = max(node.entry.fields[_NLINK_AT] - 1, 0) if linked else 0
        self._estimate(node, st_nlink=nlink, st_ctime_sec=moment[0], st_ctime_nsec=moment[1])
        if not linked:
            self._inodes.drop_promised(node.entry, node.parent)
            self._linked.pop(inode, None)
            if not written.opened:
                self.behind.forget(inode)

    def _move(self, node: Node, parent: Inode, entry: Entry) -> None:
        self._inodes.move(node, parent, entry)
        if node.inode in self._linked:
            self._linked[node.inode] = entry

    def _moved(
        self, inode: Inode, entry: Entry, source: tuple[Inode, bytes], target: tuple[Inode, bytes], stat: bytes
    ) -> None:
        """Note that a file has another name."""
        node = self._inodes.find(inode)
        known = node.entry if node is not None else entry
        new = Entry(target[1], known.data, known.offset, known.target, known.xattrs)
        self._changed_names(self._inodes.get(target[0]), target[1], new, stat)
        self._note_stale(inode)
        self._files.moved(None if known.is_directory else inode)
        if node is None:
            return
        written = self._written.get(inode)
        if (node.parent, node.entry.name) == source:
            self._move(node, target[0], new)
        else:
            written.aliases.discard(source)
            written.aliases.add(target)


def moment_of(directory: bytes) -> tuple[int, int]:
    """Return when a directory was changed, from its packed attributes: what lost its name there changed then too."""
    stat = Statns._make(hot.STATNS.unpack(directory))
    return stat.st_mtime_sec, stat.st_mtime_nsec
