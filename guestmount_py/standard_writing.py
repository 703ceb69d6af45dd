"""Changing the guest's files by libguestfs's own calls alone, a step at a time, where its own daemon is behind.

Nobody but this mount changes the guest, so that to look first and then to act is as good as both at once.
"""

import errno
import os
import stat as modes
from collections.abc import Sequence
from typing import Final

from guestmount_py.entries import Entry, entry_of
from guestmount_py.guest_writing import GuestWriting, packed_directory
from guestmount_py.hidden_files import HiddenFiles
from guestmount_py.standard_calls import StandardCalls, above, refusal
from rpc import hot, procedures
from rpc.arguments import NoArgs
from rpc.changes import Answer, Change, Wish
from rpc.codec import GuestPath, Int32, Int64
from rpc.errors import ProcedureError, RemoteProtocolError
from rpc.pool import ChannelPool
from rpc.procedures.allocation import TruncateSizeArgs
from rpc.procedures.contents import InternalWriteArgs, PreadArgs, PwriteArgs
from rpc.procedures.names import (
    ChmodArgs,
    ChownArgs,
    LnArgs,
    MknodArgs,
    UmaskArgs,
    UtimensArgs,
)
from rpc.procedures.xattrs import RemovexattrArgs, SetxattrArgs
from rpc.types import Statns

_NOREPLACE: Final = 1
_EXCHANGE: Final = 2
"""RENAME_NOREPLACE and RENAME_EXCHANGE of linux/fs.h."""
_SPECIAL_BITS: Final = modes.S_ISUID | modes.S_ISGID
_OMITTED: Final = -2
_CALL_MAX_BYTES: Final = 1 << 20
"""Well below what a message may take."""
_UINT32: Final = 1 << 32
_TIMES: Final = Wish.ATIME | Wish.MTIME
_NS: Final = 1_000_000_000
_NO_STAT: Final = bytes(hot.STATNS.size)


class _Done:
    """What a change has come to."""

    written = 0
    is_there = False
    """The file that was to be made has been."""
    appended = False
    """The file can only be appended to."""


class StandardWriting(GuestWriting):
    """The verbs by libguestfs's own calls; there is none for RENAME_EXCHANGE, which answers EINVAL."""

    def __init__(self, pool: ChannelPool) -> None:
        super().__init__(pool, None)
        self._calls = StandardCalls(pool)
        self._hidden = HiddenFiles(self._calls)

    async def _directory_of(self, path: bytes) -> bytes:
        return packed_directory(await self._calls.lstat(above(path)))

    # ── attributes and data ──

    async def change(self, changes: Sequence[Change]) -> list[Answer]:
        """Make changes, each for itself, and return what became of each."""
        return [await self._answer(change) for change in changes]

    async def any_protected(self, path: bytes) -> bool:
        """Tell that a file may be protected: to look would take a call for each."""
        return True

    async def _answer(self, change: Change) -> Answer:
        done, number = _Done(), 0
        path = self._path(change.path, change.kept)
        try:
            await self._make_change(path, change, done)
        except ProcedureError as exc:
            number = exc.errno
        if change.wishes & Wish.REMOVE or (change.wishes & Wish.CREATE and not done.is_there):
            return Answer(number, 0, _NO_STAT)
        try:
            stat = await self._calls.lstat(path)
        except ProcedureError as exc:
            return Answer(number or exc.errno, done.written, _NO_STAT)
        if change.kept:  # the hidden name is none
            stat = stat._replace(st_nlink=max(stat.st_nlink - 1, 0))
        return Answer(number, done.written, hot.STATNS.pack(*stat))

    async def _make_change(self, path: bytes, change: Change, done: _Done) -> None:
        wishes = change.wishes
        if wishes & Wish.CREATE:
            owner = change.uid, change.gid
            target = b"".join(bytes(data) for _, data in change.writes) if modes.S_ISLNK(change.mode) else b""
            change = change._replace(writes=()) if target else change
            stat, _ = await self._made(path, change.mode if target else modes.S_IFREG | change.mode, 0, owner, target)
            done.is_there = True
            wishes &= ~(Wish.MODE | Wish.UID | (Wish.GID if stat.st_gid == change.gid else 0))
        else:
            stat = await self._calls.lstat(path)
            if change.ino and stat.st_ino != change.ino:
                raise refusal("change_files", errno.ESTALE)
        if wishes & Wish.REMOVE:
            await (self._calls.rmdir(path) if modes.S_ISDIR(stat.st_mode) else self._calls.unlink(path))
            return
        if (change.writes or wishes & Wish.SIZE) and not modes.S_ISREG(stat.st_mode):
            raise refusal("change_files", errno.EINVAL)
        if wishes & Wish.SIZE:
            await self._calls.do(procedures.TRUNCATE_SIZE, TruncateSizeArgs(GuestPath(path), Int64(change.size)))
        for offset, data in change.writes:
            await self._write(path, offset, bytes(data), done, append=bool(wishes & Wish.APPEND))
        if wishes & (Wish.UID | Wish.GID):
            uid = change.uid if wishes & Wish.UID else -1
            await self._give(path, uid, change.gid if wishes & Wish.GID else -1)
        if wishes & Wish.MODE:
            await self._calls.do(procedures.CHMOD, ChmodArgs(Int32(change.mode), GuestPath(path)))
        if wishes & _TIMES and not done.appended:  # to a file whose times nobody may set
            atime = divmod(change.atime_ns, _NS) if wishes & Wish.ATIME else (0, _OMITTED)
            mtime = divmod(change.mtime_ns, _NS) if wishes & Wish.MTIME else (0, _OMITTED)
            await self._calls.do(procedures.UTIMENS, UtimensArgs(GuestPath(path), *map(Int64, (*atime, *mtime))))

    async def _write(self, path: bytes, offset: int, data: bytes, done: _Done, *, append: bool) -> None:
        while data:
            piece = data[:_CALL_MAX_BYTES]
            try:
                count = await self._calls.do(procedures.PWRITE, PwriteArgs(GuestPath(path), piece, Int64(offset)))
            except ProcedureError as exc:
                if not append or exc.errno != errno.EPERM or (await self._calls.lstat(path)).st_size != offset:
                    raise
                await self._calls.do(procedures.INTERNAL_WRITE_APPEND, InternalWriteArgs(GuestPath(path), piece))
                count = len(piece)
                done.appended = True
            if not 0 < count <= len(piece):
                raise RemoteProtocolError(f"{count} of {len(data)} bytes were written")
            done.written += count
            offset += count
            data = data[count:]

    async def _give(self, path: bytes, uid: int, gid: int) -> None:
        owner, group = (number - _UINT32 if number >= _UINT32 // 2 else number for number in (uid, gid))
        await self._calls.do(procedures.LCHOWN, ChownArgs(Int32(owner), Int32(group), GuestPath(path)))

    async def open(self, path: bytes, name: bytes, flags: int) -> Entry:
        """Ask whether a file can be opened like that, which may cut it; return it."""
        if flags & os.O_TRUNC:
            await self._calls.do(procedures.TRUNCATE_SIZE, TruncateSizeArgs(GuestPath(path), Int64(0)))
        elif flags & os.O_APPEND:
            await self._calls.do(procedures.INTERNAL_WRITE_APPEND, InternalWriteArgs(GuestPath(path), b""))
        elif flags & os.O_ACCMODE != os.O_RDONLY:
            await self._calls.do(procedures.PWRITE, PwriteArgs(GuestPath(path), b"", Int64(0)))
        return entry_of(name, await self._calls.lstat(path))

    async def set_xattr(self, path: bytes, kept: int, name: bytes, value: bytes) -> None:
        """Set an extended attribute; a link is not followed."""
        text = value.decode("utf-8", "surrogateescape")
        args = SetxattrArgs(os.fsdecode(name), text, Int32(len(value)), GuestPath(self._path(path, kept)))
        await self._calls.do(procedures.LSETXATTR, args)

    async def remove_xattr(self, path: bytes, kept: int, name: bytes) -> None:
        """Remove an extended attribute; a link is not followed."""
        args = RemovexattrArgs(os.fsdecode(name), GuestPath(self._path(path, kept)))
        await self._calls.do(procedures.LREMOVEXATTR, args)

    async def sync(self, path: bytes, kept: int, *, datasync: bool) -> None:
        """Make all that was written last: there is no smaller call."""
        await self._calls.do(procedures.SYNC, NoArgs())

    # ── names ──

    async def make(
        self, path: bytes, name: bytes, mode: int, rdev: int, owner: tuple[int, int], target: bytes
    ) -> tuple[Entry, bytes]:
        """Make a file of any type; return it, and the attributes of its directory."""
        stat, directory = await self._made(path, mode, rdev, owner, target)
        return entry_of(name, stat), directory

    async def _made(
        self, path: bytes, mode: int, rdev: int, owner: tuple[int, int], target: bytes
    ) -> tuple[Statns, bytes]:
        if modes.S_ISLNK(mode):
            if await self._calls.is_there(path):  # ln(1), which makes it, would go into a directory of that name
                raise refusal("ln_s", errno.EEXIST)
            await self._calls.do(procedures.LN_S, LnArgs(os.fsdecode(target), GuestPath(path)))
        elif modes.S_ISDIR(mode):
            await self._calls.mkdir(path, modes.S_IMODE(mode))
        else:
            device = Int32(os.major(rdev)), Int32(os.minor(rdev))
            await self._calls.do(procedures.MKNOD, MknodArgs(Int32(mode), *device, GuestPath(path)))
        stat = await self._calls.lstat(path)
        directory = await self._calls.lstat(above(path))
        uid, gid = owner[0], directory.st_gid if directory.st_mode & modes.S_ISGID else owner[1]
        if (stat.st_uid, stat.st_gid) != (uid, gid):
            await self._give(path, uid, gid)
            if stat.st_mode & _SPECIAL_BITS and not modes.S_ISLNK(stat.st_mode):  # which chown(2) has taken away
                await self._calls.do(procedures.CHMOD, ChmodArgs(Int32(modes.S_IMODE(stat.st_mode)), GuestPath(path)))
            stat = await self._calls.lstat(path)
        return stat, packed_directory(directory)

    async def link(self, path: bytes, linkname: bytes, name: bytes) -> tuple[Entry, bytes]:
        """Give a file one name more; return it under that name, and the attributes of that name's directory."""
        await self._calls.link(path, linkname)
        return entry_of(name, await self._calls.lstat(linkname)), await self._directory_of(linkname)

    async def remove(self, path: bytes, *, directory: bool, keep: bool) -> tuple[int, bytes]:
        """Remove a name, or hide the file if it shall stay; return its number then, and the directory's attributes."""
        if keep:
            return await self._hidden.hide(path), await self._directory_of(path)
        await (self._calls.rmdir if directory else self._calls.unlink)(path)
        return 0, await self._directory_of(path)

    async def rename(self, path: bytes, newpath: bytes, flags: int, *, keep: bool) -> tuple[int, bytes, bytes]:
        """Rename; return what ``GuestWriting.rename`` does."""
        if flags & _EXCHANGE:
            raise refusal("rename", errno.EINVAL)
        if flags & _NOREPLACE and await self._calls.is_there(newpath):
            raise refusal("rename", errno.EEXIST)
        if keep:
            return (
                await self._hidden.replace(path, newpath),
                await self._directory_of(path),
                await self._directory_of(newpath),
            )
        await self._calls.rename(path, newpath)
        return 0, await self._directory_of(path), await self._directory_of(newpath)

    # ── files without a name ──

    def _path(self, path: bytes, kept: int) -> bytes:
        return self._hidden.path(kept) if kept else path

    async def read_kept(self, kept: int, count: int, offset: int) -> bytes:
        """Return part of a file that has no name any more; shorter only at its end."""
        data = await self._calls.do(procedures.PREAD, PreadArgs(GuestPath(self._hidden.path(kept)), count, offset))
        if len(data) > count:
            raise RemoteProtocolError(f"{len(data)} bytes where {count} were asked for")
        return data

    async def close_kept(self, kept: int) -> None:
        """Let a file go that has no name any more."""
        await self._hidden.close(kept)


async def standard_writing(pool: ChannelPool) -> StandardWriting:
    """Return the verbs, and see to it that modes become what is asked for: the umask is the daemon's until it ends."""
    await pool.call(procedures.UMASK, UmaskArgs(Int32(0)))
    return StandardWriting(pool)
