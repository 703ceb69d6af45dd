"""Handlers that make, remove and rename: each waits for the guest, then changes what is known just so."""

import os
import stat as modes
from errno import EINVAL, ENOENT
from typing import Final

import pyfuse3

from guestmount_py.entries import Entry
from guestmount_py.errno_boundary import answers_errno
from guestmount_py.inode_numbers import Inode
from guestmount_py.node_table import Node
from guestmount_py.writing_base import WritingBase
from guestmount_py.written_files import Written
from rpc import hot
from rpc.types import Statns

_DEFAULT_ACL: Final = b"system.posix_acl_default"
_NLINK_AT: Final = 3
_RENAME_FLAGS: Final = pyfuse3.RENAME_NOREPLACE | pyfuse3.RENAME_EXCHANGE


class NamingOperations(WritingBase):
    """Names come and go."""

    async def _make(
        self,
        parent_inode: int,
        name: bytes,
        mode: int,
        ctx: pyfuse3.RequestContext,
        *,
        rdev: int = 0,
        target: bytes = b"",
    ) -> Node:
        """Make a file of any type that belongs to whoever asks."""
        parent = self._inodes.get(parent_inode)
        name = bytes(name)
        await self.space.take(0)
        inherited = await self._inherited_xattrs(parent)
        async with self._paths.shared():
            path = os.path.join(self._inodes.path(parent.inode), name)
            entry, directory = await self._writing.make(path, name, mode, rdev, (ctx.uid, ctx.gid), target)
            entry.target = target or None
            entry.xattrs = inherited
            self._forget_number(self._inodes.number(entry, parent.inode))
            node = self._remember(entry, parent.inode)
            if node.entry is not entry:  # it is known already by another name, which has gone behind our back
                node.entry.data, node.entry.offset = entry.data, entry.offset
            self._written.get(node.inode).is_fresh = self._exact_names
            self._changed_names(parent, name, entry, directory)
            if modes.S_ISDIR(mode):
                self._directories.keep(node.inode, [])
        return node

    async def _inherited_xattrs(self, parent: Node) -> tuple[tuple[bytes, bytes], ...] | None:
        """Return the extended attributes that a new file will have; None if the guest decides."""
        return None if any(key == _DEFAULT_ACL for key, _ in await self._xattrs(parent.inode)) else ()

    def _forget_number(self, inode: Inode) -> None:
        """Forget what was known of a file that had the number of a new one."""
        self._linked.pop(inode, None)
        self._stale.discard(inode)
        written = self._written.find(inode)
        if written is not None:
            written.has_others = False

    def _changed_names(self, parent: Node, name: bytes, entry: Entry | None, stat: bytes) -> None:
        """Note what a name means now, and the attributes that its directory has got by that."""
        self._directories.change(parent.inode, name, entry)
        self._stale.discard(parent.inode)
        self._adopt(parent, stat)

    @answers_errno
    async def mknod(
        self,
        parent_inode: pyfuse3.InodeT,
        name: pyfuse3.FileNameT,
        mode: pyfuse3.ModeT,
        rdev: int,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        """Make a file, a FIFO, a socket or a device node."""
        return self._attributes(await self._make(parent_inode, name, mode, ctx, rdev=rdev))

    @answers_errno
    async def mkdir(
        self, parent_inode: pyfuse3.InodeT, name: pyfuse3.FileNameT, mode: pyfuse3.ModeT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Make a directory."""
        return self._attributes(await self._make(parent_inode, name, modes.S_IFDIR | mode, ctx))

    @answers_errno
    async def symlink(
        self,
        parent_inode: pyfuse3.InodeT,
        name: pyfuse3.FileNameT,
        target: pyfuse3.FileNameT,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        """Make a symbolic link."""
        return self._attributes(await self._make(parent_inode, name, modes.S_IFLNK, ctx, target=bytes(target)))

    @answers_errno
    async def link(
        self,
        inode: pyfuse3.InodeT,
        new_parent_inode: pyfuse3.InodeT,
        new_name: pyfuse3.FileNameT,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        """Give a file one name more."""
        node, parent, name = self._inodes.get(inode), self._inodes.get(new_parent_inode), bytes(new_name)
        await self.space.take(0)
        async with self._paths.shared():
            written = self._written.get(node.inode)
            path, kept = self._where(node)
            if kept:
                path = self._path_beside(written)
            newpath = os.path.join(self._inodes.path(parent.inode), name)
            before, was_pending = written.changes, self.behind.is_pending(node.inode)
            entry, directory = await self._writing.link(path, newpath, name)
            stat = entry.data
            entry.target, entry.xattrs = node.entry.target, node.entry.xattrs
            self._changed_names(parent, name, entry, directory)
            self._remember(entry, parent.inode)
            if was_pending or self.behind.is_pending(node.inode) or written.changes != before:
                self._estimate(node, st_nlink=entry.fields[_NLINK_AT])
                entry.data, entry.offset = node.entry.data, 0  # nobody knows which of the answers is older
                self._linked[node.inode] = node.entry
                self._note_stale(node.inode)
            else:
                self._adopt(node, stat)
        return self._attributes(node)

    @answers_errno
    async def unlink(self, parent_inode: pyfuse3.InodeT, name: pyfuse3.FileNameT, ctx: pyfuse3.RequestContext) -> None:
        """Remove a name of a file."""
        parent, name_bytes = self._inodes.get(parent_inode), bytes(name)
        entry = await self._entry(parent, name_bytes)
        if entry is None:
            raise pyfuse3.FUSEError(ENOENT)
        inode = self._inodes.number(entry, parent.inode)
        _, name_bytes = self._place(inode, (parent.inode, name_bytes))
        await self._know_xattrs(inode)
        await self._pause(inode)
        written = self._written.find(inode)
        opened = written is not None and written.opened > 0
        try:  # whoever reads it does so by a path: by this one, if it has no other
            async with self._paths.alone() if opened else self._paths.shared():
                path = os.path.join(self._inodes.path(parent.inode), name_bytes)
                keep = self._must_keep(inode, (parent.inode, name_bytes))
                kept, directory = await self._writing.remove(path, directory=False, keep=keep)
                self._changed_names(parent, name_bytes, None, directory)
                self._lost_name(inode, (parent.inode, name_bytes), kept, directory)
        finally:
            self.behind.resume(inode)

    @answers_errno
    async def rmdir(self, parent_inode: pyfuse3.InodeT, name: pyfuse3.FileNameT, ctx: pyfuse3.RequestContext) -> None:
        """Remove an empty directory."""
        parent, name_bytes = self._inodes.get(parent_inode), bytes(name)
        entry = await self._entry(parent, name_bytes)
        if entry is None:
            raise pyfuse3.FUSEError(ENOENT)
        inode = self._inodes.number(entry, parent.inode)
        _, name_bytes = self._place(inode, (parent.inode, name_bytes))
        async with self._paths.shared():
            path = os.path.join(self._inodes.path(parent.inode), name_bytes)
            _, directory = await self._writing.remove(path, directory=True, keep=False)
            self._changed_names(parent, name_bytes, None, directory)
            self._lost_name(inode, (parent.inode, name_bytes), 0, directory)

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

    def _names_beside(self, written: Written, *places: tuple[Inode, bytes]) -> set[tuple[Inode, bytes]]:
        """Return the further names of a file to which there is a path: the kernel may have forgotten a directory."""
        return {alias for alias in written.aliases - {*places} if self._inodes.find(alias[0]) is not None}

    def _path_beside(self, written: Written) -> bytes:
        """Return a path to a file that is kept though it has names: they were found again later."""
        for parent, name in self._names_beside(written):
            return os.path.join(self._inodes.path(parent), name)
        raise pyfuse3.FUSEError(ENOENT)

    def _lost_name(self, inode: Inode, place: tuple[Inode, bytes], kept: int, directory: bytes) -> None:
        """Note that a file has lost a name.

        Args:
            inode: its number.
            place: where it had the name.
            kept: the number by which the guest keeps it, if that was the last name we knew.
            directory: the attributes of the directory thereafter; it and the file have changed at the same time.
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
        moment = Statns._make(hot.STATNS.unpack(directory))
        nlink = max(node.entry.fields[_NLINK_AT] - 1, 0) if linked else 0
        self._estimate(node, st_nlink=nlink, st_ctime_sec=moment.st_mtime_sec, st_ctime_nsec=moment.st_mtime_nsec)
        if not linked:
            self._linked.pop(inode, None)
            if not written.opened:
                self.behind.forget(inode)

    def _move(self, node: Node, parent: Inode, entry: Entry) -> None:
        self._inodes.move(node, parent, entry)
        if node.inode in self._linked:
            self._linked[node.inode] = entry

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
            await self._know_xattrs(other)
            await self.behind.pause(other)
        try:
            async with self._paths.alone():
                path, newpath = (os.path.join(self._inodes.path(parent), name) for parent, name in (source, target))
                exchanged = bool(flags & pyfuse3.RENAME_EXCHANGE)
                keep = other is not None and not exchanged and self._must_keep(other, target, replaced=True)
                kept, *stats = await self._writing.rename(path, newpath, flags, keep=keep)
                if other is not None and not exchanged:
                    self._lost_name(other, target, kept, stats[1])
                self._changed_names(self._inodes.get(source[0]), source[1], None, stats[0])
                if other is not None and replaced is not None and exchanged:
                    self._moved(other, replaced, target, source, stats[0])
                self._moved(inode, moved, source, target, stats[1])
        finally:
            if other is not None:
                self.behind.resume(other)

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
