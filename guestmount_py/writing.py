"""Handlers of a mount that writes: files' data and attributes."""

import os
import stat as modes
from contextlib import suppress
from typing import Final, cast

import pyfuse3

from guestmount_py.attributes import statvfs_data
from guestmount_py.errno_boundary import answers_errno
from guestmount_py.guest_writing import change_of
from guestmount_py.node_table import Node
from guestmount_py.writing_base import CAPABILITY
from guestmount_py.writing_names import NamingOperations
from guestmount_py.written_files import OpenFile
from rpc.changes import Change, Wish
from rpc.errors import GuestmountError, ProcedureError

_NS: Final = 1_000_000_000
_MODE_AT: Final = 2
_SIZE_AT: Final = 7
_OPEN_FLAGS: Final = os.O_ACCMODE | os.O_TRUNC | os.O_APPEND


class WritingOperations(NamingOperations):
    """A filesystem on a guest that can be written to."""

    # ── open files ──

    def _opened(self, node: Node, flags: int, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        handle = self._next_handle
        self._next_handle += 1
        told = self.behind.errors_told(node.inode)
        self._handles[handle] = OpenFile(node, bool(flags & os.O_APPEND), ctx.uid == 0, told)
        self._written.get(node.inode).opened += 1
        return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(handle), keep_cache=True)

    @answers_errno
    async def create(
        self,
        parent_inode: pyfuse3.InodeT,
        name: pyfuse3.FileNameT,
        mode: pyfuse3.ModeT,
        flags: pyfuse3.FlagT,
        ctx: pyfuse3.RequestContext,
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        """Make a regular file and open it."""
        node = await self._make_file(parent_inode, bytes(name), modes.S_IMODE(mode), ctx)
        return self._opened(node, flags, ctx), self._attributes(node)

    @answers_errno
    async def open(self, inode: pyfuse3.InodeT, flags: pyfuse3.FlagT, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        """Open a file; the guest is asked only whether it may be written to."""
        node = self._inodes.get(inode)
        written = self._written.get(node.inode)
        cuts = bool(flags & os.O_TRUNC)
        if cuts or (flags & os.O_ACCMODE != os.O_RDONLY and not written.is_fresh and not written.kept):
            await self.behind.settle(node.inode)
            async with self._paths.shared():
                path, kept = self._where(node)
                if kept:
                    change = change_of(node.entry, path, kept)._replace(wishes=Wish.SIZE)
                    stat = (await self._writing.change_one(change)).stat
                else:
                    stat = (await self._writing.open(path, node.entry.name, flags & _OPEN_FLAGS)).data
                self._adopt(node, stat)
            if cuts:
                written.is_dirty = True
                await self._strip(node, by_root=ctx.uid == 0)
        return self._opened(node, flags, ctx)

    async def _strip(self, node: Node, *, by_root: bool) -> None:
        """Take the setuid bits away that a change of data takes away."""
        mode = _stripped(node.entry.fields[_MODE_AT])
        if mode is not None and not by_root:
            async with self._paths.shared():
                change = change_of(node.entry, *self._where(node))
                answer = await self._writing.change_one(change._replace(wishes=Wish.MODE, mode=mode))
                self._adopt(node, answer.stat)

    @answers_errno
    async def read(self, fh: pyfuse3.FileHandleT, off: int, size: int) -> bytes:
        """Return part of a file."""
        file = self._handles[fh]
        node = file.node
        await self.behind.settle(node.inode)
        written = self._written.get(node.inode)
        async with self._paths.shared():
            path, kept = self._where(node)
            if kept:
                return await self._writing.read_kept(kept, size, off)
            if written.is_dirty or written.is_fresh:
                return await self._guest.pread(path, size, off)
            return cast("bytes", await self._files.read(node.inode, off, size))

    @answers_errno
    async def write(self, fh: pyfuse3.FileHandleT, off: int, buf: bytes) -> int:
        """Promise to write."""
        self._capability_asked = None
        file = self._handles[fh]
        node = file.node
        self._raise_error(file)
        await self.space.take(len(buf))
        self._written.get(node.inode).is_dirty = True
        fields = node.entry.fields
        if not await self._has_room(node, len(buf)):
            return await self._write_now(file, off, buf)
        await self.behind.write(node, off, buf, append=file.appends)
        if off + len(buf) > fields[_SIZE_AT]:
            self._estimate(node, st_size=max(off + len(buf), node.entry.fields[_SIZE_AT]))
        mode = None if file.by_root else _stripped(fields[_MODE_AT])
        if mode is not None:
            self.behind.draft(node).permit(mode)
            self._estimate(node, st_mode=modes.S_IFREG | mode)
        if node.entry.xattrs:  # capabilities are taken away from what is written to
            self._forget_xattrs(node)
        return len(buf)

    async def _has_room(self, node: Node, count: int) -> bool:
        return await self._is_plenty(self._inodes.get(node.parent), count)

    async def _write_now(self, file: OpenFile, offset: int, data: bytes) -> int:
        """Write where space is short, so that whoever writes is told; return how much could be written."""
        node = file.node
        await self.behind.settle(node.inode)
        self._raise_error(file)
        async with self._paths.shared():
            change = change_of(node.entry, *self._where(node))
            wishes = Wish.APPEND if file.appends else 0
            answer = await self._writing.change_one(change._replace(wishes=wishes, writes=[(offset, data)]))
            self._adopt(node, answer.stat)
        await self._strip(node, by_root=file.by_root)
        self._forget_xattrs(node)
        return answer.written

    def _raise_error(self, file: OpenFile, *, once: bool = True) -> None:
        """Tell what failed since this open file was told last."""
        count, number = self.behind.errors(file.node.inode)
        if file.errors_told < count:
            file.errors_told = count if once else file.errors_told
            raise pyfuse3.FUSEError(number)

    @answers_errno
    async def flush(self, fh: pyfuse3.FileHandleT) -> None:
        """Tell whoever closes a file what failed since; fsync will too, for that may be a child nobody listens to."""
        self._capability_asked = None
        self._raise_error(self._handles[fh], once=False)

    @answers_errno
    async def fsync(self, fh: pyfuse3.FileHandleT, datasync: bool) -> None:
        """Return when a file is on the disk."""
        file = self._handles[fh]
        node = file.node
        await self.behind.settle(node.inode)
        self._raise_error(file)
        await self._sync(node, datasync=datasync)

    @answers_errno
    async def fsyncdir(self, fh: pyfuse3.FileHandleT, datasync: bool) -> None:
        """Return when a directory is on the disk."""
        inode, _ = self._listings[fh]
        await self.behind.settle_names(inode)
        written = self._written.find(inode)
        if written is None or not written.is_gone:
            await self._sync(self._inodes.get(inode), datasync=datasync)

    async def _sync(self, node: Node, *, datasync: bool) -> None:
        async with self._paths.shared():
            await self._writing.sync(*self._where(node), datasync=datasync)

    @answers_errno
    async def release(self, fh: pyfuse3.FileHandleT) -> None:
        """Close a file; one that has no name any more goes with its last user."""
        file = self._handles.pop(fh)
        inode = file.node.inode
        written = self._written.get(inode)
        written.opened -= 1
        if written.kept and not written.opened:
            if not (written.has_others or written.aliases):  # by which all that was written is there for others
                self.behind.forget(inode)
            await self.behind.settle(inode)
        kept = self._pruned(inode)
        if kept:
            await self._writing.close_kept(kept)

    # ── attributes ──

    @answers_errno
    async def setattr(
        self,
        inode: pyfuse3.InodeT,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: pyfuse3.FileHandleT | None,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        """Change attributes: of a file that this mount has made behind the caller, of others before it returns."""
        node = self._inodes.get(inode)
        written = self._written.get(node.inode)
        self._capability_asked = None
        if written.is_fresh and not fields.update_size and modes.S_ISREG(node.entry.fields[_MODE_AT]):
            self._promise(node, attr, fields)
            return self._attributes(node)
        await self.behind.settle(node.inode)
        await self.behind.settle_names(node.inode)
        async with self._paths.shared():
            change = _wanted(change_of(node.entry, *self._where(node)), attr, fields)
            mode = _stripped(node.entry.fields[_MODE_AT])
            if fields.update_size:
                written.is_dirty = True
                if fh is None:
                    change = change._replace(wishes=change.wishes | Wish.BY_NAME)
                if ctx.uid and mode is not None and not fields.update_mode:
                    change = change._replace(wishes=change.wishes | Wish.MODE, mode=mode)
            answer = await self._writing.change_one(change)
            self._adopt(node, answer.stat)
            self._stale.discard(node.inode)
        if fields.update_mode or fields.update_uid or fields.update_size:
            self._forget_xattrs(node)  # an ACL follows the mode, capabilities go
        return self._attributes(node)

    def _promise(self, node: Node, attr: pyfuse3.EntryAttributes, fields: pyfuse3.SetattrFields) -> None:
        if node.entry.xattrs and (fields.update_mode or fields.update_uid or fields.update_gid):
            self._forget_xattrs(node)  # an ACL follows the mode
        draft = self.behind.draft(node)
        uid = attr.st_uid if fields.update_uid else None
        gid = attr.st_gid if fields.update_gid else None
        estimate: dict[str, int] = {}
        if uid is not None or gid is not None:
            if not draft.own(uid, gid):
                draft = self.behind.next_draft(node)
                draft.own(uid, gid)
            estimate |= {"st_uid": uid} if uid is not None else {}
            estimate |= {"st_gid": gid} if gid is not None else {}
        if fields.update_mode:
            draft.permit(modes.S_IMODE(attr.st_mode))
            estimate["st_mode"] = modes.S_IFREG | modes.S_IMODE(attr.st_mode)
        atime_ns = attr.st_atime_ns if fields.update_atime else None
        mtime_ns = attr.st_mtime_ns if fields.update_mtime else None
        draft.date(atime_ns, mtime_ns)
        if atime_ns is not None:
            estimate["st_atime_sec"], estimate["st_atime_nsec"] = divmod(atime_ns, _NS)
        if mtime_ns is not None:
            estimate["st_mtime_sec"], estimate["st_mtime_nsec"] = divmod(mtime_ns, _NS)
        self._estimate(node, **estimate)

    @answers_errno
    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        """Return the root filesystem's size and use."""
        return statvfs_data(await self._guest.statvfs(b"/"))

    # ── extended attributes; pyfuse3 sees to XATTR_CREATE and XATTR_REPLACE by asking for the attribute first ──

    @answers_errno
    async def setxattr(
        self, inode: pyfuse3.InodeT, name: pyfuse3.XAttrNameT, value: bytes, ctx: pyfuse3.RequestContext
    ) -> None:
        """Set an extended attribute."""
        node = self._inodes.get(inode)
        await self.space.take(len(value))
        await self._settle_made(node)
        async with self._paths.shared():
            path, kept = self._where(node)
            await self._writing.set_xattr(path, kept, bytes(name), bytes(value))
            known = node.entry.xattrs or ()
            self._changed_xattrs(node)
            if kept:
                others = tuple(pair for pair in known if pair[0] != name)
                node.entry.xattrs = (*others, (bytes(name), bytes(value)))

    @answers_errno
    async def removexattr(self, inode: pyfuse3.InodeT, name: pyfuse3.XAttrNameT, ctx: pyfuse3.RequestContext) -> None:
        """Remove an extended attribute."""
        node = self._inodes.get(inode)
        await self._settle_made(node)
        async with self._paths.shared():
            path, kept = self._where(node)
            await self._writing.remove_xattr(path, kept, bytes(name))
            known = node.entry.xattrs or ()
            self._changed_xattrs(node)
            if kept:
                node.entry.xattrs = tuple(pair for pair in known if pair[0] != name)

    async def _settle_made(self, node: Node) -> None:
        """See to it that a file is there, and what was promised to be made in it, which may inherit."""
        if self.behind.is_unmade(node.inode):
            await self.behind.settle(node.inode)
        await self.behind.settle_names(node.inode)

    def _changed_xattrs(self, node: Node) -> None:
        self._note_stale(node.inode)
        self._forget_xattrs(node)

    def _forget_xattrs(self, node: Node) -> None:
        """Have the extended attributes asked for again, by whatever name."""
        written = self._written.get(node.inode)
        known = node.entry.xattrs if written.kept else None
        # One without a name cannot be asked; a change of its data has taken no more than that.
        node.entry.xattrs = None if known is None else tuple(pair for pair in known if pair[0] != CAPABILITY)
        places = {(node.parent, node.entry.name), *written.aliases}
        for parent, name in places:
            listing = self._directories.cached(parent)
            entry = listing.by_name.get(name) if listing is not None else None
            if entry is not None:
                entry.xattrs = None
        linked = self._linked.get(node.inode)
        if linked is not None and linked is not node.entry:  # it tells what the file is by a name that nobody knows now
            linked.xattrs = None

    # ── the end ──

    async def finish(self) -> None:
        """Have the guest make all that was promised, and let go what it keeps for us: nothing comes any more.

        Raises:
            GuestmountError: something failed that nobody was told of.
        """
        await self.behind.settle_all()
        for kept in self._written.all_kept():
            with suppress(ProcedureError):
                await self._writing.close_kept(kept)
        if self.behind.unreported:
            raise GuestmountError(f"{self.behind.unreported} files could not be written as promised")


def _stripped(mode: int) -> int | None:
    """Return the permissions that are left when data are changed by who is not root; None if that is all of them."""
    bits = modes.S_IMODE(mode)
    left = bits & ~modes.S_ISUID
    if bits & modes.S_IXGRP:
        left &= ~modes.S_ISGID
    return left if left != bits else None


def _wanted(change: Change, attr: pyfuse3.EntryAttributes, fields: pyfuse3.SetattrFields) -> Change:
    """Return a change that does what setattr was asked for."""
    wishes = 0
    for wanted, wish in (
        (fields.update_mode, Wish.MODE),
        (fields.update_uid, Wish.UID),
        (fields.update_gid, Wish.GID),
        (fields.update_size, Wish.SIZE),
        (fields.update_atime, Wish.ATIME),
        (fields.update_mtime, Wish.MTIME),
    ):
        wishes |= wish if wanted else 0
    return change._replace(
        wishes=wishes,
        mode=modes.S_IMODE(attr.st_mode),
        uid=attr.st_uid & 0xFFFFFFFF,
        gid=attr.st_gid & 0xFFFFFFFF,
        atime=divmod(attr.st_atime_ns, _NS),
        mtime=divmod(attr.st_mtime_ns, _NS),
        size=attr.st_size,
    )
