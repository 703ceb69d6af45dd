"""Single changes of the guest's files by libguestfs's own calls, with an errno for each that fails."""

import errno
import os
from typing import Final, TypeVar

from guestmount_py.entries import checked_fields
from rpc import procedures
from rpc.arguments import PathArgs
from rpc.codec import GuestPath, Int32
from rpc.errors import ProcedureError
from rpc.pool import ChannelPool
from rpc.procedure import Procedure
from rpc.procedures.names import LnArgs, MkdirModeArgs, RenameArgs
from rpc.types import Statns

ArgsT = TypeVar("ArgsT")
RetT = TypeVar("RetT")

_NUMBERS: Final = {os.strerror(number): number for number in errno.errorcode}


class StandardCalls:
    """Calls that need nothing of ours in the daemon; what each raises is a ProcedureError."""

    def __init__(self, pool: ChannelPool) -> None:
        self._pool = pool

    async def do(self, procedure: Procedure[ArgsT, RetT], args: ArgsT) -> RetT:
        """Make a call; where a program has failed in the daemon's place, what it printed tells the errno."""
        try:
            return await self._pool.call(procedure, args)
        except ProcedureError as exc:
            number = _NUMBERS.get(exc.message.strip().rpartition(": ")[2])
            if exc.errno_name or number is None:
                raise
            raise ProcedureError(exc.procedure, number, "", exc.message) from exc

    async def lstat(self, path: bytes) -> Statns:
        """Return a file's attributes, checked."""
        stat = await self.do(procedures.LSTATNS, PathArgs(GuestPath(path)))
        checked_fields(stat)
        return stat

    async def is_there(self, path: bytes) -> bool:
        """Tell whether there is a file of that name."""
        try:
            await self.lstat(path)
        except ProcedureError as exc:
            if exc.errno == errno.ENOENT:
                return False
            raise
        return True

    async def mkdir(self, path: bytes, mode: int) -> None:
        """Make a directory."""
        await self.do(procedures.MKDIR_MODE, MkdirModeArgs(GuestPath(path), Int32(mode)))

    async def link(self, path: bytes, linkname: bytes) -> None:
        """Give a file one name more."""
        await self.do(procedures.LN, LnArgs(os.fsdecode(path), GuestPath(linkname)))

    async def rename(self, path: bytes, newpath: bytes) -> None:
        """Rename, in place of what has the new name."""
        await self.do(procedures.RENAME, RenameArgs(GuestPath(path), GuestPath(newpath)))

    async def unlink(self, path: bytes) -> None:
        """Remove a name that is no directory's."""
        await self.do(procedures.RM, PathArgs(GuestPath(path)))

    async def rmdir(self, path: bytes) -> None:
        """Remove an empty directory."""
        await self.do(procedures.RMDIR, PathArgs(GuestPath(path)))


def above(path: bytes) -> bytes:
    """Return the path of the directory that has a name."""
    return path.rpartition(b"/")[0] or b"/"


def refusal(procedure: str, number: int) -> ProcedureError:
    """Return an error as the daemon would have answered it."""
    return ProcedureError(procedure, number, "", os.strerror(number))
