"""Files that have lost their last name but are still in use, where the daemon keeps no descriptor of them.

They get another name, as NFS's clients do it, in a directory of their own at the root of their filesystem. One that has
further names counts one too many until it is let go.
"""

import errno
import os
from contextlib import suppress
from typing import Final

import trio

from guestmount_py.standard_calls import StandardCalls, above
from rpc.errors import ProcedureError

DIRECTORY: Final = b".guestmount-py-unlinked"


class HiddenFiles:
    """Hidden files by the numbers that stand for them; none is 0."""

    def __init__(self, calls: StandardCalls) -> None:
        self._calls = calls
        self._paths: dict[int, bytes] = {}
        self._last_number = 0
        self._using = trio.Lock()
        """Held while something is put into a directory, which goes when it is empty."""

    def path(self, number: int) -> bytes:
        """Return where a file is now."""
        return self._paths[number]

    async def hide(self, path: bytes) -> int:
        """Have a file leave its name; return its number."""
        async with self._using:
            hidden = await self._new_path(path)
            try:
                await self._calls.rename(path, hidden)
            except ProcedureError:
                await self._drop(hidden)
                raise
            return self._number(hidden)

    async def replace(self, path: bytes, newpath: bytes) -> int:
        """Rename in place of a file that shall stay; return its number."""
        async with self._using:
            hidden = await self._new_path(newpath)
            try:
                await self._leave(newpath, hidden)
                await self._calls.rename(path, newpath)
            except ProcedureError:
                with suppress(ProcedureError):
                    await self._calls.rename(hidden, newpath)  # which does nothing if both are names of one file
                await self._drop(hidden)
                raise
            return self._number(hidden)

    async def _leave(self, path: bytes, hidden: bytes) -> None:
        """Give a file another name, and leave the first to be replaced: so it always means something."""
        try:
            await self._calls.link(path, hidden)
        except ProcedureError as exc:
            if exc.errno != errno.EPERM:
                raise
            await self._calls.rename(path, hidden)  # a filesystem without links

    async def close(self, number: int) -> None:
        """Let a file go; the last one takes the directory along."""
        async with self._using:
            await self._drop(self._paths.pop(number))

    def _number(self, hidden: bytes) -> int:
        self._last_number += 1
        self._paths[self._last_number] = hidden
        return self._last_number

    async def _new_path(self, path: bytes) -> bytes:
        """Return a free path in the directory for such files, on the filesystem that holds another path."""
        top = above(path)
        device = (await self._calls.lstat(top)).st_dev
        while top != b"/" and (await self._calls.lstat(above(top))).st_dev == device:
            top = above(top)
        directory = os.path.join(top, DIRECTORY)
        try:
            await self._calls.mkdir(directory, 0o700)
        except ProcedureError as exc:
            if exc.errno != errno.EEXIST:
                raise
        return os.path.join(directory, os.urandom(8).hex().encode())

    async def _drop(self, hidden: bytes) -> None:
        with suppress(ProcedureError):
            await self._calls.unlink(hidden)
        with suppress(ProcedureError):  # there are others
            await self._calls.rmdir(above(hidden))
