"""Handlers of a mount that writes: files' data and attributes."""

import os
import stat as modes
from contextlib import suppress
from errno import ENOENT
from typing import Final, cast

import pyfuse3
import trio

from guestmount_py.errno_boundary import answers_errno
from guestmount_py.guest_writing import change_of
from guestmount_py.node_table import Node
from guestmount_py.wanted_attributes import WantedAttributes, stripped
from guestmount_py.writing_names import Caller
from guestmount_py.writing_xattrs import XattrOperations
from guestmount_py.written_files import OpenFile
from rpc.changes import Wish
from rpc.errors import GuestmountError, ProcedureError
from rpc.types import Statvfs

_NS: Final = 1_000_000_000
_MODE_AT: Final = 2
_SIZE_AT: Final = 7
_PROMISING: Final = (modes.S_IFREG, modes.S_IFDIR, modes.S_IFLNK)
_BLKSIZE_AT: Final = 8
_SIZE_LIMIT: Final = (2 << 30) - 1
_SIZE_LIMITS: Final = {1024: 16 << 30, 2048: 256 << 30, 4096: (2 << 40) - 4096}
"""By size of block (Documentation/filesystems/ext2.rst)."""
_OPEN_FLAGS: Final = os.O_ACCMODE | os.O_TRUNC | os.O_APPEND


class WritingOperations(XattrOperations):
    """A filesystem on a guest that can be written to."""

    # ── open files ──

    def opened(self, node: Node, flags: int, caller: Caller) -> int:
        """Return the handle of a file that is open from now on."""
        handle = self._next_handle
        self._next_handle += 1
        told = self.behind.broken.told(node.inode)
        self._handles[handle] = OpenFile(node, bool(flags & os.O_APPEND), caller.uid == 0, told)
        self._written.get(node.inode).opened += 1
        return handle

    def _opened(self, node: Node, flags: int, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(self.opened(node, flags, ctx)), keep_cache=True)

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
        node = await self._make_file(parent_inode, bytes(name), modes.S_IFREG | modes.S_IMODE(mode), ctx)
        return self._opened(node, flags, ctx), self._attributes(node)

    @answers_errno
    async def open(self, inode: pyfuse3.InodeT, flags: pyfuse3.FlagT, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        """Open a file; the guest is asked only whether it may be written to."""
        node = self._inodes.get(inode)
        await self.behind.resumed(node.inode)
        written = self._written.get(node.inode)
        if written.is_gone and not written.kept:
            raise pyfuse3.FUSEError(ENOENT)  # all names by which the kernel can have come to it have gone
        file = self._opened(node, flags, ctx)  # so that the file is kept if it loses its name meanwhile
        try:
            await self._ask_to_open(node, flags, by_root=ctx.uid == 0)
        except BaseException:
            with trio.CancelScope(shield=True):
                await self._close(file.fh)
            raise
        return file

    async def _ask_to_open(self, node: Node, flags: int, *, by_root: bool) -> None:
        written = self._written.get(node.inode)
        cuts = bool(flags & os.O_TRUNC)
        if not cuts and (flags & os.O_ACCMODE == os.O_RDONLY or written.is_fresh or written.kept):
            return
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
            await self._strip(node, by_root=by_root)

    async def _strip(self, node: Node, *, by_root: bool) -> None:
        """Take the setuid bits away that a change of data takes away."""
        mode = stripped(node.entry.fields[_MODE_AT])
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
        is_long = off + len(buf) > self._size_limit(node)
        if is_long or not await self._is_plenty(self._inodes.get(node.parent), len(buf)):
            return await self._write_through(file, off, buf)
        await self.behind.room()
        self._promise_data(file, off, buf)
        return len(buf)

    def write_now(self, fh: int, offset: int, data: memoryview) -> bool:
        """Promise to write, if there is room without asking anybody; tell whether it was done."""
        file = self._handles[fh]
        self._raise_error(file)
        count = len(data)
        if offset + count > self._size_limit(file.node) or not self.behind.has_room:
            return False
        if not self._is_plenty_now(self._inodes.get(file.node.parent), count) or not self.space.take_now(count):
            return False
        self._capability_asked = None
        self._promise_data(file, offset, bytes(data))
        return True

    def _promise_data(self, file: OpenFile, offset: int, data: bytes) -> None:
        node = file.node
        fields, end = node.entry.fields, offset + len(data)
        self._written.get(node.inode).is_dirty = True
        self.behind.write(node, offset, data, append=file.appends)
        seconds, ns = divmod(self.behind.draft(node).written_ns, _NS)
        changed = self._moment(node)
        dates = {"st_mtime_sec": seconds, "st_mtime_nsec": ns, "st_ctime_sec": changed[0], "st_ctime_nsec": changed[1]}
        self._estimate(node, st_size=max(end, fields[_SIZE_AT]), **dates)
        mode = None if file.by_root else stripped(fields[_MODE_AT])
        if mode is not None:
            self.behind.draft(node).permit(mode)
            self._estimate(node, st_mode=modes.S_IFREG | mode)
        if node.entry.xattrs:  # capabilities are taken away from what is written to
            self._forget_xattrs(node)

    def _size_limit(self, node: Node) -> int:
        """Return how long a file can be on any filesystem of its kind, in bytes: what ext3 and vfat can do."""
        return (
            _SIZE_LIMITS.get(node.entry.fields[_BLKSIZE_AT], _SIZE_LIMIT)
            if self._has_exact_names(node)
            else _SIZE_LIMIT
        )

    async def _write_through(self, file: OpenFile, offset: int, data: bytes) -> int:
        """Write where space is short, so that whoever writes is told; return how much could be written."""
        node = file.node
        self._written.get(node.inode).is_dirty = True
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
        count, number = self.behind.broken.tell(file.node.inode)
        if file.errors_told < count:
            file.errors_told = count if once else file.errors_told
            raise pyfuse3.FUSEError(number)

    @answers_errno
    async def flush(self, fh: pyfuse3.FileHandleT) -> None:
        """Tell whoever closes a file what failed since; fsync will too, for that may be a child nobody listens to."""
        self.flush_now(fh)

    def flush_now(self, fh: int) -> None:
        """Do what ``flush`` does, which waits for nobody."""
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
        await self.behind.settle(inode)
        number = self.behind.broken.tell_name(inode)
        if number:
            raise pyfuse3.FUSEError(number)
        written = self._written.find(inode)
        if written is None or not written.is_gone:
            await self._sync(self._inodes.get(inode), datasync=datasync)

    async def _sync(self, node: Node, *, datasync: bool) -> None:
        async with self._paths.shared():
            await self._writing.sync(*self._where(node), datasync=datasync)

    @answers_errno
    async def release(self, fh: pyfuse3.FileHandleT) -> None:
        """Close a file; one that has no name any more goes with its last user."""
        if not self.release_now(fh):
            await self._close(fh)

    async def _close(self, fh: pyfuse3.FileHandleT) -> None:
        inode = self._handles.pop(fh).node.inode
        written = self._written.get(inode)
        written.opened -= 1
        if written.kept and not written.opened:
            if not (written.has_others or written.aliases):  # by which all that was written is there for others
                self.behind.forget(inode)
            await self.behind.settle(inode)
        kept = self._pruned(inode)
        if kept:
            await self._writing.close_kept(kept)

    def release_now(self, fh: int) -> bool:
        """Close a file that the guest does not keep for us; tell whether it was one."""
        inode = self._handles[fh].node.inode
        written = self._written.get(inode)
        if written.kept:
            return False
        del self._handles[fh]
        written.opened -= 1
        self._prune(inode)
        return True

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
        wanted = WantedAttributes.of(attr, fields)
        if self.setattr_now(inode, wanted) is not None:
            return self._attributes(node)
        await self.behind.settle(node.inode)
        async with self._paths.shared():
            change = wanted.as_change(change_of(node.entry, *self._where(node)))
            mode = stripped(node.entry.fields[_MODE_AT])
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

    def setattr_now(self, inode: int, wanted: WantedAttributes) -> Node | None:
        """Promise to change attributes but the size, of a file or directory that this mount has made; else None."""
        node = self._inodes.get(inode)
        written, kind = self._written.find(node.inode), modes.S_IFMT(node.entry.fields[_MODE_AT])
        mode, uid, gid, atime_ns, mtime_ns, size_bytes = wanted
        if written is None or not written.is_fresh or kind not in _PROMISING or size_bytes is not None:
            return None
        if kind == modes.S_IFDIR and (node.entry.fields[_MODE_AT] | (mode or 0)) & modes.S_ISGID:
            return None  # whose group decides about the files in it
        self._capability_asked = None
        if node.entry.xattrs and not mode is uid is gid is None:
            self._forget_xattrs(node)  # an ACL follows the mode
        draft = self.behind.draft(node)
        estimate: dict[str, int] = {}
        if uid is not None or gid is not None:
            if not draft.own(uid, gid):
                draft = self.behind.next_draft(node)
                draft.own(uid, gid)
            estimate |= {"st_uid": uid} if uid is not None else {}
            estimate |= {"st_gid": gid} if gid is not None else {}
        if mode is not None:
            draft.permit(mode)
            estimate["st_mode"] = kind | mode
        draft.date(atime_ns, mtime_ns)
        if atime_ns is not None:
            estimate["st_atime_sec"], estimate["st_atime_nsec"] = divmod(atime_ns, _NS)
        if mtime_ns is not None:
            estimate["st_mtime_sec"], estimate["st_mtime_nsec"] = divmod(mtime_ns, _NS)
        estimate["st_ctime_sec"], estimate["st_ctime_nsec"] = self._moment(node)
        self._estimate(node, **estimate)
        return node

    async def statvfs(self, inode: int) -> Statvfs:
        """Return the size and use of the filesystem that a file is on; pyfuse3 does not tell which file is meant."""
        node = self._inodes.get(inode)
        directory = node if node.entry.is_directory else self._inodes.get(node.parent)
        await self.behind.settle(directory.inode)
        async with self._paths.shared():
            path, kept = self._where(directory)
            return await self._guest.statvfs(b"/" if kept else path)

    # ── the end ──

    async def finish(self) -> None:
        """Have the guest make all that was promised, and let go what it keeps for us: nothing comes any more.

        Raises:
            GuestmountError: something failed that nobody was told of.
        """
        while not self.behind.is_idle:  # what directories have become is asked behind the names in them
            await self.behind.settle_all()
        for kept in self._written.all_kept():
            with suppress(ProcedureError):
                await self._writing.close_kept(kept)
        unreported = self.behind.broken.unreported
        if unreported:
            raise GuestmountError(unreported)
