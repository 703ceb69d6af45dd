"""Handlers that make, remove and rename: each waits for the guest, or promises what nothing can keep it from."""

import os
import stat as modes
import time
from errno import EINVAL, ENOENT
from typing import Final

import pyfuse3

from guestmount_py.entries import Entry
from guestmount_py.errno_boundary import answers_errno
from guestmount_py.guest_space import NAME_BYTES
from guestmount_py.inode_numbers import Inode
from guestmount_py.node_table import PROMISED_DEVICE, Node
from guestmount_py.writing_base import NAME_MAX_BYTES
from guestmount_py.writing_notes import KnownNames, moment_of
from rpc import hot

_DEFAULT_ACL: Final = b"system.posix_acl_default"
_MODE_AT: Final = 2
_NLINK_AT: Final = 3
_GID_AT: Final = 5
_BLKSIZE_AT: Final = 8
_NS: Final = 1_000_000_000
_SPARE: Final = (0,) * 6
_RENAME_FLAGS: Final = pyfuse3.RENAME_NOREPLACE | pyfuse3.RENAME_EXCHANGE


class NamingOperations(KnownNames):
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
        if self.behind.has_names(parent.inode, name):
            await self.behind.settle_names(parent.inode)
        inherited = await self._inherited_xattrs(parent)
        async with self._paths.shared():
            path = os.path.join(self._inodes.path(parent.inode), name)
            entry, directory = await self._writing.make(path, name, mode, rdev, (ctx.uid, ctx.gid), target)
            entry.target = target or None
            entry.xattrs = inherited
            self._inodes.drop_promised(entry, parent.inode)
            self._forget_number(self._inodes.number(entry, parent.inode))
            node = self._remember(entry, parent.inode)
            if node.entry is not entry:  # it is known already by another name, which has gone behind our back
                node.entry.data, node.entry.offset = entry.data, entry.offset
            self._written.get(node.inode).is_fresh = self._exact_names
            self._written.get(parent.inode).takes_names = True
            self._changed_names(parent, name, entry, directory)
            if modes.S_ISDIR(mode):
                self._directories.keep(node.inode, [])
        return node

    async def _inherited_xattrs(self, parent: Node) -> tuple[tuple[bytes, bytes], ...] | None:
        """Return the extended attributes that a new file will have; None if the guest decides."""
        return None if any(key == _DEFAULT_ACL for key, _ in await self._xattrs(parent.inode)) else ()

    async def _make_file(self, parent_inode: int, name: bytes, mode: int, ctx: pyfuse3.RequestContext) -> Node:
        """Make a regular file, behind whoever asks if nothing can keep the guest from it."""
        parent = self._inodes.get(parent_inode)
        if not await self._may_promise_file(parent, name):
            return await self._make(parent_inode, name, modes.S_IFREG | mode, ctx)
        owner = parent.entry.fields
        gid = owner[_GID_AT] if owner[_MODE_AT] & modes.S_ISGID else ctx.gid
        moment = divmod(time.time_ns(), _NS)
        identity = PROMISED_DEVICE, self._inodes.next_promised(), modes.S_IFREG | mode, 1, ctx.uid, gid
        stat = hot.STATNS.pack(*identity, 0, 0, owner[_BLKSIZE_AT], 0, *moment, *moment, *moment, *_SPARE)
        entry = Entry(name, stat, 0, None, ())
        node = self._remember(entry, parent.inode)
        self._written.get(node.inode).is_fresh = True
        self._directories.change(parent.inode, name, entry)
        self._promised(parent, moment, ctx.pid)
        self._promised_to[node.inode] = ctx.pid
        self.behind.create(node, mode, ctx.uid, ctx.gid)
        return node

    def _promised(self, directory: Node, moment: tuple[int, int], pid: int) -> None:
        """Note that a name of a directory will change, and when somebody was promised that."""
        self._stale.add(directory.inode)
        self._promised_to[directory.inode] = pid
        self._estimate(
            directory,
            st_mtime_sec=moment[0],
            st_mtime_nsec=moment[1],
            st_ctime_sec=moment[0],
            st_ctime_nsec=moment[1],
        )

    async def _may_promise_file(self, parent: Node, name: bytes) -> bool:
        """Tell whether a file can be made for sure: its directory lets us, there is no such name, and there is room."""
        written, listing = self._written.find(parent.inode), self._directories.cached(parent.inode)
        if (
            not self._exact_names
            or self.behind.is_lost
            or written is None
            or listing is None
            or name in listing.by_name
        ):
            return False
        if not (written.is_fresh or written.takes_names) or len(name) > NAME_MAX_BYTES:
            return False
        await self.space.take(0)
        if self.behind.has_names(parent.inode, name):
            await self.behind.settle_names(parent.inode)
        if await self._inherited_xattrs(parent) is None or not await self._is_plenty(parent, NAME_BYTES, 1):
            return False
        await self.behind.room()
        return not written.is_gone

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
        await self.behind.settle_names(parent.inode)
        if self.behind.is_unmade(node.inode):
            await self.behind.settle(node.inode)
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

    async def _named_file(self, parent: Node, name: bytes) -> tuple[Inode, bytes]:
        """Return the file of that name, and the spelling by which it is known."""
        entry = await self._entry(parent, name)
        if entry is None:
            raise pyfuse3.FUSEError(ENOENT)
        inode = self._inodes.number(entry, parent.inode)
        return inode, self._place(inode, (parent.inode, name))[1]

    @answers_errno
    async def unlink(self, parent_inode: pyfuse3.InodeT, name: pyfuse3.FileNameT, ctx: pyfuse3.RequestContext) -> None:
        """Remove a name of a file."""
        parent = self._inodes.get(parent_inode)
        inode, name_bytes = await self._named_file(parent, bytes(name))
        if self.behind.is_unmade(inode):
            await self.behind.settle(inode)
        if await self._may_promise_removal(inode, (parent.inode, name_bytes)):
            self._promise_removal(self._inodes.get(inode), parent, ctx.pid)
            return
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
                self._lost_name(inode, (parent.inode, name_bytes), kept, moment_of(directory))
                self._gave_name(parent)
        finally:
            self.behind.resume(inode)

    async def _may_promise_removal(self, inode: Inode, place: tuple[Inode, bytes]) -> bool:
        """Tell whether a file can be removed for sure: it and its directory let us, and this is its only name."""
        node, file, above = self._inodes.find(inode), self._written.find(inode), self._written.find(place[0])
        if node is None or file is None or above is None or not self._exact_names or self.behind.is_lost:
            return False
        if not await self._is_plenty(self._inodes.get(place[0]), NAME_BYTES):
            return False
        await self.behind.room()
        return (
            file.is_fresh
            and (above.is_fresh or above.gives_names)
            and not (file.opened or file.is_gone or file.has_others or file.aliases)
            and (node.parent, node.entry.name) == place
            and node.entry.fields[_NLINK_AT] == 1
            and inode not in self._stale
            and not self.behind.is_unmade(inode)
        )

    def _promise_removal(self, node: Node, directory: Node, pid: int) -> None:
        place, moment = (directory.inode, node.entry.name), divmod(time.time_ns(), _NS)
        self._directories.change(*place, None)
        self._promised(directory, moment, pid)
        self._lost_name(node.inode, place, 0, moment)
        self.behind.remove(node)

    def _gave_name(self, directory: Node) -> None:
        """Note that names can be removed from a directory, and so also made in it."""
        written = self._written.get(directory.inode)
        written.takes_names = written.gives_names = True

    @answers_errno
    async def rmdir(self, parent_inode: pyfuse3.InodeT, name: pyfuse3.FileNameT, ctx: pyfuse3.RequestContext) -> None:
        """Remove an empty directory."""
        parent = self._inodes.get(parent_inode)
        inode, name_bytes = await self._named_file(parent, bytes(name))
        await self.behind.settle_names(inode)
        async with self._paths.shared():
            path = os.path.join(self._inodes.path(parent.inode), name_bytes)
            _, directory = await self._writing.remove(path, directory=True, keep=False)
            self._changed_names(parent, name_bytes, None, directory)
            self._lost_name(inode, (parent.inode, name_bytes), 0, moment_of(directory))
            self._gave_name(parent)

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
            await self.behind.settle_names(directory)
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
            await self.behind.settle_names(other)
            await self._know_xattrs(other)
            await self.behind.pause(other)
        try:
            async with self._paths.alone():
                path, newpath = (os.path.join(self._inodes.path(parent), name) for parent, name in (source, target))
                exchanged = bool(flags & pyfuse3.RENAME_EXCHANGE)
                keep = other is not None and not exchanged and self._must_keep(other, target, replaced=True)
                kept, *stats = await self._writing.rename(path, newpath, flags, keep=keep)
                if other is not None and not exchanged:
                    self._lost_name(other, target, kept, moment_of(stats[1]))
                self._changed_names(self._inodes.get(source[0]), source[1], None, stats[0])
                if other is not None and replaced is not None and exchanged:
                    self._moved(other, replaced, target, source, stats[0])
                self._moved(inode, moved, source, target, stats[1])
        finally:
            if other is not None:
                self.behind.resume(other)
