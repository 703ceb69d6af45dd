"""Changing the guest's files, as typed verbs over the channels; every answer is checked before anything sees it."""

import os
from collections.abc import Sequence
from stat import S_ISDIR
from typing import Final

from guestmount_py.drafts import LONG_STEP_MAX_BYTES, STEP_MAX_BYTES
from guestmount_py.entries import Entry, checked_fields, entry_of
from guestmount_py.mailbox import Mailbox
from rpc import hot, procedures
from rpc.arguments import PathArgs
from rpc.changes import Answer, Change, Wish, decode_answers, encode_changes
from rpc.codec import FileName, GuestPath, UInt32, UInt64
from rpc.errors import ProcedureError, RemoteProtocolError
from rpc.pool import ChannelPool
from rpc.procedures.writing import (
    ChangeFilesArgs,
    ChangeXattrArgs,
    KeptArgs,
    LinkFileArgs,
    MakeFileArgs,
    OpenFileArgs,
    ReadKeptArgs,
    RemoveNameArgs,
    RenameFileArgs,
    SyncFileArgs,
)
from rpc.types import Statns

_NOWHERE: Final = GuestPath(b"/")
"""The path of a file that is named by its number."""
_INLINE_BYTES: Final = 8 * 1024
"""A port takes 4 KiB at a time, so that what is longer goes by the mailbox."""
_UINT64: Final = (1 << 64) - 1


class GuestWriting:
    """Verbs that change the guest's files.

    Args:
        pool: channels to a daemon with our extensions.
        mailbox: where long data are handed over; None if there is none.

    Attributes:
        step_max_bytes: the longest step that it is given.
    """

    def __init__(self, pool: ChannelPool, mailbox: Mailbox | None) -> None:
        self._pool = pool
        self._mailbox = mailbox
        self.step_max_bytes: Final = LONG_STEP_MAX_BYTES if mailbox is not None else STEP_MAX_BYTES

    async def change(self, changes: Sequence[Change]) -> list[Answer]:
        """Make changes, each for itself, and return what became of each; the attributes are checked."""
        parts = encode_changes(changes)
        size_bytes = sum(map(len, parts))
        if self._mailbox is None or size_bytes <= _INLINE_BYTES:
            args = ChangeFilesArgs(b"".join(parts), UInt64(0), UInt32(0))
            answered = await self._pool.call(procedures.CHANGE_FILES, args)
        else:
            async with self._mailbox.delivered(parts) as place:
                args = ChangeFilesArgs(b"", UInt64(place), UInt32(size_bytes))
                answered = await self._pool.call(procedures.CHANGE_FILES, args)
        answers = decode_answers(answered, len(changes))
        for change, answer in zip(changes, answers, strict=True):
            if answer.written > sum(len(each) for _, each in change.writes):
                raise RemoteProtocolError(f"{answer.written} bytes were written, more than there were")
            if any(answer.stat) or not (answer.errno or change.wishes & Wish.REMOVE):
                checked_fields(hot.STATNS.unpack(answer.stat))
        return answers

    async def change_one(self, change: Change) -> Answer:
        """Make a change and return what became of it.

        Raises:
            ProcedureError: it failed; but if something was written, that is the answer.
        """
        (answer,) = await self.change([change])
        if answer.errno and not answer.written:
            raise ProcedureError("change_files", answer.errno, "", os.strerror(answer.errno))
        return answer

    async def make(
        self, path: bytes, name: bytes, mode: int, rdev: int, owner: tuple[int, int], target: bytes
    ) -> tuple[Entry, bytes]:
        """Make a file of any type; return it, and the attributes of its directory."""
        args = MakeFileArgs(GuestPath(path), UInt32(mode), UInt64(rdev), UInt32(owner[0]), UInt32(owner[1]), target)
        made = await self._pool.call(procedures.MAKE_FILE, args)
        return _entry(name, made.file), packed_directory(made.directory)

    async def link(self, path: bytes, linkname: bytes, name: bytes) -> tuple[Entry, bytes]:
        """Give a file one name more; return it under that name, and the attributes of that name's directory."""
        args = LinkFileArgs(GuestPath(path), GuestPath(linkname))
        made = await self._pool.call(procedures.LINK_FILE, args)
        return _entry(name, made.file), packed_directory(made.directory)

    async def remove(self, path: bytes, *, directory: bool, keep: bool) -> tuple[int, bytes]:
        """Remove a name.

        Returns:
            The number of the file that stays without a name, if it shall, and the attributes of the directory.
        """
        args = RemoveNameArgs(GuestPath(path), directory, keep)
        call = self._pool.call_first if keep else self._pool.call
        removed = await call(procedures.REMOVE_NAME, args)
        return _kept(removed.kept, wanted=keep), packed_directory(removed.directory)

    async def any_protected(self, path: bytes) -> bool:
        """Tell whether a file in a directory may be immutable or append-only."""
        return await self._pool.call(procedures.ANY_PROTECTED, PathArgs(GuestPath(path)))

    async def rename(self, path: bytes, newpath: bytes, flags: int, *, keep: bool) -> tuple[int, bytes, bytes]:
        """Rename.

        Returns:
            The number of the file that was replaced and stays without a name, if it shall; the attributes of the former
            and of the new directory.
        """
        args = RenameFileArgs(GuestPath(path), GuestPath(newpath), UInt32(flags), keep)
        call = self._pool.call_first if keep else self._pool.call
        renamed = await call(procedures.RENAME_FILE, args)
        return (
            _kept(renamed.kept, wanted=keep),
            packed_directory(renamed.directory),
            packed_directory(renamed.newdirectory),
        )

    async def open(self, path: bytes, name: bytes, flags: int) -> Entry:
        """Ask whether a file can be opened like that, which may cut it; return it."""
        args = OpenFileArgs(GuestPath(path), UInt32(flags))
        return _entry(name, await self._pool.call(procedures.OPEN_FILE, args))

    async def read_kept(self, kept: int, count: int, offset: int) -> bytes:
        """Return part of a file that has no name any more; shorter only at its end."""
        args = ReadKeptArgs(UInt64(kept), UInt32(count), UInt64(offset))
        data = await self._pool.call(procedures.READ_KEPT, args)
        if len(data) > count:
            raise RemoteProtocolError(f"{len(data)} bytes where {count} were asked for")
        return data

    async def close_kept(self, kept: int) -> None:
        """Let a file go that has no name any more."""
        await self._pool.call_first(procedures.CLOSE_KEPT, KeptArgs(UInt64(kept)))

    async def sync(self, path: bytes, kept: int, *, datasync: bool) -> None:
        """Make a file last."""
        await self._pool.call(procedures.SYNC_FILE, SyncFileArgs(GuestPath(path), UInt64(kept), datasync))

    async def set_xattr(self, path: bytes, kept: int, name: bytes, value: bytes) -> None:
        """Set an extended attribute; a link is not followed."""
        args = ChangeXattrArgs(GuestPath(path), UInt64(kept), FileName(name), value, UInt32(0), False)
        await self._pool.call(procedures.CHANGE_XATTR, args)

    async def remove_xattr(self, path: bytes, kept: int, name: bytes) -> None:
        """Remove an extended attribute; a link is not followed."""
        args = ChangeXattrArgs(GuestPath(path), UInt64(kept), FileName(name), b"", UInt32(0), True)
        await self._pool.call(procedures.CHANGE_XATTR, args)


def change_of(entry: Entry, path: bytes, kept: int) -> Change:
    """Return a change of a file that changes nothing yet."""
    return Change(path if not kept else _NOWHERE, kept, entry.fields[1] & _UINT64)


def _entry(name: bytes, stat: Statns) -> Entry:
    entry = entry_of(name, stat)
    checked_fields(entry.fields)
    return entry


def packed_directory(stat: Statns) -> bytes:
    """Return the attributes of a directory, packed.

    Raises:
        RemoteProtocolError: it is none.
    """
    checked_fields(stat)
    if not S_ISDIR(stat.st_mode):
        raise RemoteProtocolError(f"a directory with the mode {stat.st_mode:o}")
    return hot.STATNS.pack(*stat)


def _kept(number: int, *, wanted: bool) -> int:
    if bool(number) is not wanted:
        raise RemoteProtocolError(f"a file is kept as {number}, wanted {wanted}")
    return number
