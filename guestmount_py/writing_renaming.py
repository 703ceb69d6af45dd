"""Handlers that rename: a file that is still to be made just by another name, all others when the guest has done it."""

import os
from errno import EINVAL, ENOENT
from typing import Final

import pyfuse3

from guestmount_py.entries import Entry
from guestmount_py.errno_boundary import answers_errno
from guestmount_py.writing_names import NamingOperations
from guestmount_py.writing_notes import moment_of

_RENAME_FLAGS: Final = pyfuse3.RENAME_NOREPLACE | pyfuse3.RENAME_EXCHANGE
_NS: Final = 1_000_000_000


class RenamingOperations(NamingOperations):
    """Names change."""

    def rename_now(self, parents: tuple[int, int], names: tuple[bytes, bytes], flags: int, pid: int) -> bool:
        """Have a file made by another name, if it is still to be made and there is no such name in its directory yet.

        Args:
            parents: the directories of the former and of the new name.
            names: both.
            flags: of renameat2(2).
            pid: who asks.
        """
        parent, (name, new_name) = self._inodes.get(parents[0]), names
        if parents[0] != parents[1] or flags & ~pyfuse3.RENAME_NOREPLACE or not self._lets_promise(parent, new_name):
            return False
        if self.behind.has_names(parent.inode, new_name) or not self._gives_names(parent):
            return False
        listing = self._directories.cached(parent.inode)
        entry = listing.by_name.get(name) if listing is not None else None
        if entry is None or entry.is_unreadable or not self._paths.is_free:
            return False
        node = self._inodes.find(self._inodes.number(entry, parent.inode))
        if (
            node is None
            or not self.behind.can_move(node.inode)
            or (node.parent, node.entry.name) != (parent.inode, name)
        ):
            return False
        moment = self._moment(parent, node)
        self._estimate(node, st_ctime_sec=moment[0], st_ctime_nsec=moment[1])
        moved = Entry(new_name, node.entry.data, node.entry.offset, node.entry.target, node.entry.xattrs)
        self._directories.change(parent.inode, name, None)
        self._directories.change(parent.inode, new_name, moved)
        self._move(node, parent.inode, moved)
        self.behind.move(node)
        self._promised(parent, moment, pid)
        return True

    @answers_errno
    async def rename(
        self,
        parent_inode_old: pyfuse3.InodeT,
        name_old: pyfuse3.FileNameT,
        parent_inode_new: pyfuse3.InodeT,
        name_new: pyfuse3.FileNameT,
        flags: pyfuse3.FlagT,
        ctx: pyfuse3.RequestContext,
    ) -> None:
        """Rename as renameat2(2) does, alone with all paths."""
        if flags & ~_RENAME_FLAGS:
            raise pyfuse3.FUSEError(EINVAL)
        source = (self._inodes.get(parent_inode_old).inode, bytes(name_old))
        target = (self._inodes.get(parent_inode_new).inode, bytes(name_new))
        for directory in {source[0], target[0]}:
            await self.behind.settle(directory)
        moved = await self._entry(self._inodes.get(source[0]), source[1])
        replaced = await self._entry(self._inodes.get(target[0]), target[1])
        if moved is None:
            raise pyfuse3.FUSEError(ENOENT)
        inode = self._inodes.number(moved, source[0])
        other = self._inodes.number(replaced, target[0]) if replaced is not None else None
        source = self._place(inode, source)
        await self.behind.settle(inode)  # a file that replaces another one has its data first
        if other is not None:
            target = self._place(other, target)
            if self.behind.has_names(other):
                await self.behind.settle(other)
            await self._know_xattrs(other)
            await self.behind.pause(other)
        try:
            async with self._paths.alone():
                with self._holding_names(other):
                    path, newpath = (os.path.join(self._inodes.path(parent), name) for parent, name in (source, target))
                    exchanged = bool(flags & pyfuse3.RENAME_EXCHANGE)
                    keep = other is not None and not exchanged and self._must_keep(other, target, replaced=True)
                    kept, *stats = await self._writing.rename(path, newpath, flags, keep=keep)
                    self._gave_name(self._inodes.get(source[0]))
                    if other is not None and not exchanged:
                        self._lost_name(other, target, kept, moment_of(stats[1]))
                    self._changed_names(self._inodes.get(source[0]), source[1], None, stats[0])
                    if other is not None and replaced is not None and exchanged:
                        self._moved(other, replaced, target, source, stats[0])
                    self._moved(inode, moved, source, target, stats[1])
        finally:
            if other is not None:
                self.behind.resume(other)
