"""Handlers that make and remove: each waits for the guest, or promises what nothing can keep it from."""

import os
import stat as modes
from errno import ENOENT
from typing import Final, Protocol

import pyfuse3

from guestmount_py.drafts import promised_now_ns
from guestmount_py.entries import Entry
from guestmount_py.errno_boundary import answers_errno
from guestmount_py.guest_space import NAME_BYTES
from guestmount_py.inode_numbers import Inode
from guestmount_py.node_table import PROMISED_DEVICE, Node
from guestmount_py.writing_base import NAME_MAX_BYTES
from guestmount_py.writing_notes import KnownNames, moment_of
from guestmount_py.written_files import Written
from rpc import hot

_DEFAULT_ACL: Final = b"system.posix_acl_default"
_DEV_AT: Final = 0
_MODE_AT: Final = 2
_NLINK_AT: Final = 3
_GID_AT: Final = 5
_BLKSIZE_AT: Final = 8
_NS: Final = 1_000_000_000
_SPARE: Final = (0,) * 6
_ASKING_TAKES: Final = 32
_TARGET_MAX_BYTES: Final = 1000
"""Less than any filesystem with exact names can hold in a link: ext's with blocks of 1 KiB 1023, xfs 1023."""
_LINK_MODE: Final = modes.S_IFLNK | 0o777


class Caller(Protocol):
    """Who makes a request."""

    @property
    def uid(self) -> int:
        """Return the user's id."""

    @property
    def gid(self) -> int:
        """Return the group's id."""

    @property
    def pid(self) -> int:
        """Return the process's id."""


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
        await self._settle_place(parent.inode, name)
        inherited = await self._inherited_xattrs(parent)
        async with self._changing(parent.inode), self._paths.shared():
            path = os.path.join(self._inodes.path(parent.inode), name)
            entry, directory = await self._writing.make(path, name, mode, rdev, (ctx.uid, ctx.gid), target)
            entry.target = target or None
            entry.xattrs = inherited
            self._inodes.drop_promised(entry, parent.inode)
            self._forget_number(self._inodes.number(entry, parent.inode))
            node = self._remember(entry, parent.inode)
            if node.entry is not entry:  # it is known already by another name, which has gone behind our back
                node.entry.data, node.entry.offset = entry.data, entry.offset
            self._written.get(node.inode).is_fresh = self._has_exact_names(parent)
            self._written.get(parent.inode).takes_names = True
            self._changed_names(parent, name, entry, directory)
            if modes.S_ISDIR(mode):
                self._directories.keep(node.inode, [])
                for directory_made_in in (node, parent):
                    self._written.get(directory_made_in.inode).note_promised(ctx.pid)
        return node

    async def _settle_place(self, directory: Inode, name: bytes) -> None:
        """Wait until a name means what it will."""
        if self.behind.has_names(directory, name):
            await self.behind.settle(directory)

    async def _inherited_xattrs(self, parent: Node) -> tuple[tuple[bytes, bytes], ...] | None:
        """Return the extended attributes that a new file will have; None if the guest decides."""
        return None if any(key == _DEFAULT_ACL for key, _ in await self._xattrs(parent.inode)) else ()

    async def _make_file(
        self, parent_inode: int, name: bytes, mode: int, ctx: pyfuse3.RequestContext, target: bytes = b""
    ) -> Node:
        """Make a regular file, or a link, behind whoever asks if nothing can keep the guest from it."""
        parent = self._inodes.get(parent_inode)
        if len(target) <= _TARGET_MAX_BYTES and await self._may_promise_file(parent, name):
            return self._promise_file(parent, name, mode, ctx, target)
        return await self._make(parent_inode, name, mode, ctx, target=target)

    def make_link_now(self, parent_inode: int, name: bytes, target: bytes, caller: Caller) -> Node | None:
        """Promise to make a symbolic link, if nobody need be asked whether that is possible."""
        if len(target) > _TARGET_MAX_BYTES:
            return None
        return self.make_file_now(parent_inode, name, _LINK_MODE, caller, target)

    def make_file_now(
        self, parent_inode: int, name: bytes, mode: int, caller: Caller, target: bytes = b""
    ) -> Node | None:
        """Promise to make a regular file, or a link, if nobody need be asked whether that is possible."""
        parent = self._inodes.get(parent_inode)
        inode, xattrs = parent.inode, parent.entry.xattrs
        if not self._lets_promise(parent, name) or xattrs is None or any(key == _DEFAULT_ACL for key, _ in xattrs):
            return None
        if self.behind.has_names(inode, name) or not self.behind.has_room:
            return None
        if not self._is_plenty_now(parent, NAME_BYTES, 1) or not self.space.take_now(0):
            return None
        return self._promise_file(parent, name, mode, caller, target)

    def _promise_file(self, parent: Node, name: bytes, mode: int, caller: Caller, target: bytes = b"") -> Node:
        owner = parent.entry.fields
        gid = owner[_GID_AT] if owner[_MODE_AT] & modes.S_ISGID else caller.gid
        moment = self._moment(parent)
        dated = moment if target else divmod(promised_now_ns(), _NS)
        identity = PROMISED_DEVICE, self._inodes.next_promised(), mode, 1, caller.uid, gid
        stat = hot.STATNS.pack(*identity, 0, len(target), owner[_BLKSIZE_AT], 0, *dated, *dated, *moment, *_SPARE)
        entry = Entry(name, stat, 0, target or None, ())
        node = self._remember(entry, parent.inode)
        self._written.get(node.inode).is_fresh = True
        self._directories.change(parent.inode, name, entry)
        self._promised(parent, moment, caller.pid)
        self._written.get(node.inode).note_promised(caller.pid)
        draft_mode = mode if target else modes.S_IMODE(mode)
        self.behind.create(node, draft_mode, caller.uid, caller.gid, target)
        return node

    def _promised(self, directory: Node, moment: tuple[int, int], pid: int) -> None:
        """Note that a name of a directory will change, and when somebody was promised that."""
        self._stale.add(directory.inode)
        self.behind.outdate(directory.inode)
        self._written.get(directory.inode).note_promised(pid)
        self._estimate(
            directory,
            st_mtime_sec=moment[0],
            st_mtime_nsec=moment[1],
            st_ctime_sec=moment[0],
            st_ctime_nsec=moment[1],
        )

    def _lets_promise(self, parent: Node, name: bytes) -> bool:
        """Tell whether a directory lets us make a file in it, and has no such name."""
        written, listing = self._written.find(parent.inode), self._directories.cached(parent.inode)
        if not self._has_exact_names(parent) or self.behind.is_lost or written is None or listing is None:
            return False
        lets_us = (written.is_fresh or written.takes_names) and not written.is_gone
        return lets_us and name not in listing.by_name and len(name) <= NAME_MAX_BYTES

    async def _may_promise_file(self, parent: Node, name: bytes) -> bool:
        """Tell whether a file can be made for sure: its directory lets us, there is no such name, and there is room."""
        if not self._lets_promise(parent, name):
            return False
        await self.space.take(0)
        await self._settle_place(parent.inode, name)
        if await self._inherited_xattrs(parent) is None or not await self._is_plenty(parent, NAME_BYTES, 1):
            return False
        await self.behind.room()
        return self._lets_promise(parent, name)

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
        return self._attributes(await self._make_file(parent_inode, bytes(name), _LINK_MODE, ctx, bytes(target)))

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
        await self._settle_place(parent.inode, name)
        if self.behind.is_unmade(node.inode):
            await self.behind.settle(node.inode)
        async with self._changing(parent.inode), self._paths.shared():
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
            async with self._changing(parent.inode), self._paths.alone() if opened else self._paths.shared():
                with self._holding_names(inode):
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
        directory, above = self._inodes.get(place[0]), self._written.get(place[0])
        if not self._has_exact_names(directory) or not await self._is_plenty(directory, NAME_BYTES):
            return False
        file = self._written.find(inode)
        if file is None or not file.is_fresh:
            await self._ask_free(directory, above)
        await self.behind.room_to_remove()
        return self._lets_go(inode, place)

    def remove_now(self, parent_inode: int, name: bytes, pid: int, *, directory: bool) -> bool:
        """Promise to remove a file's name, or an empty directory, if nobody need be asked whether that is possible."""
        parent = self._inodes.get(parent_inode)
        listing = self._directories.cached(parent.inode)
        entry = listing.by_name.get(name) if listing is not None else None
        if entry is None or entry.is_unreadable or not self.behind.has_room_to_remove:
            return False
        inode = self._inodes.number(entry, parent.inode)
        if entry.is_directory is not directory or not self._is_plenty_now(parent, NAME_BYTES):
            return False
        if not self._lets_go(inode, (parent.inode, name)) or (directory and not self._is_empty(inode, parent)):
            return False
        self._promise_removal(self._inodes.get(inode), parent, pid)
        return True

    def _lets_go(self, inode: Inode, place: tuple[Inode, bytes]) -> bool:
        """Tell whether a file and its directory let us remove it, and this is its only name."""
        node, file, above = self._inodes.find(inode), self._written.find(inode), self._inodes.get(place[0])
        if node is None or not self._has_exact_names(node) or self.behind.is_lost:
            return False
        around = self._written.get(above.inode)
        return (
            self._gives_names(above)
            and (node.entry.is_unprotected or around.is_free is True or (file is not None and file.is_fresh))
            and not (file is not None and (file.opened or file.is_gone or file.has_others or file.aliases))
            and (node.parent, node.entry.name) == place
            and (node.entry.is_directory or (node.entry.fields[_NLINK_AT] == 1 and inode not in self._stale))
            and not self.behind.is_unmade(inode)
        )

    def _gives_names(self, directory: Node) -> bool:
        """Tell whether names can go from a directory: it is neither immutable nor append-only."""
        written = self._written.get(directory.inode)
        return written.is_fresh or written.given_names > 0 or written.is_free is True or directory.entry.is_unprotected

    def _is_empty(self, inode: Inode, parent: Node) -> bool:
        """Tell whether nothing will be in a directory any more, which nothing is mounted on."""
        listing, node = self._directories.cached(inode), self._inodes.get(inode)
        is_mounted_on = node.entry.fields[_DEV_AT] != parent.entry.fields[_DEV_AT]
        return listing is not None and not listing.by_name and not is_mounted_on

    async def _ask_free(self, directory: Node, above: Written) -> None:
        """Ask whether a file in a directory is protected, for which there are no means while it is mounted.

        That takes the guest as long as to remove a few of the files, so not before as many have been removed.
        """
        listing = self._directories.cached(directory.inode)
        if listing is not None and above.given_names * _ASKING_TAKES > len(listing.by_name):
            await self._ask_now(directory, above)

    async def _ask_now(self, directory: Node, above: Written) -> None:
        if above.is_free is None:
            async with self._paths.shared():
                above.is_free = not await self._writing.any_protected(self._inodes.path(directory.inode))

    def _promise_removal(self, node: Node, directory: Node, pid: int) -> None:
        place, moment = (directory.inode, node.entry.name), self._moment(directory, node)
        self._directories.change(*place, None)
        self._promised(directory, moment, pid)
        links = directory.entry.fields[_NLINK_AT]
        if node.entry.is_directory and links > 2:  # btrfs counts one, whatever is below
            self._estimate(directory, st_nlink=links - 1)
        self._lost_name(node.inode, place, 0, moment)
        self.behind.remove(node)

    def _gave_name(self, directory: Node) -> None:
        """Note that names can be removed from a directory, and so also made in it."""
        written = self._written.get(directory.inode)
        written.takes_names = True
        written.given_names += 1

    @answers_errno
    async def rmdir(self, parent_inode: pyfuse3.InodeT, name: pyfuse3.FileNameT, ctx: pyfuse3.RequestContext) -> None:
        """Remove an empty directory."""
        parent = self._inodes.get(parent_inode)
        inode, name_bytes = await self._named_file(parent, bytes(name))
        if self.behind.has_names(inode) and await self._is_plenty(parent, NAME_BYTES):
            await self._ask_now(parent, self._written.get(parent.inode))  # sooner answered than all that is in it goes
            await self.behind.room_to_remove()
            if self.remove_now(parent.inode, name_bytes, ctx.pid, directory=True):
                return
        await self.behind.settle(inode)
        async with self._changing(parent.inode), self._paths.shared():
            path = os.path.join(self._inodes.path(parent.inode), name_bytes)
            _, directory = await self._writing.remove(path, directory=True, keep=False)
            self._changed_names(parent, name_bytes, None, directory)
            self._lost_name(inode, (parent.inode, name_bytes), 0, moment_of(directory))
            self._gave_name(parent)
