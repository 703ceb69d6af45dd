"""Verbs of libguestfs's that are not one procedure, in terms of those that are (guestfs-protocol section 5.14)."""

import stat as modes
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final, TypeVar

from guestmount_py.arguments import GuestName, bound
from guestmount_py.entries import checked_name, terminated_names
from guestmount_py.verbs import AsyncVerbs
from rpc import hot, procedures
from rpc.codec import FileName
from rpc.errors import ProcedureError, RemoteProtocolError
from rpc.procedure import Procedure
from rpc.types import Dirent, Statns, Xattr

ArgsT = TypeVar("ArgsT")
RetT = TypeVar("RetT")

_WRITE_MAX_BYTES: Final = 2 << 20
"""The longest content that goes in one message; longer ones are uploaded."""
_NAMES_PER_CALL: Final = 1000
_ENTRIES_MAX: Final = 16_000_000
_LETTERS: Final = {
    modes.S_IFBLK: "b",
    modes.S_IFCHR: "c",
    modes.S_IFDIR: "d",
    modes.S_IFIFO: "f",
    modes.S_IFLNK: "l",
    modes.S_IFREG: "r",
    modes.S_IFSOCK: "s",
}
"""What a directory entry calls the types."""


class Conveniences(AsyncVerbs, ABC):
    """Whole files, sorted names, attributes of many files."""

    @abstractmethod
    async def call(self, procedure: Procedure[ArgsT, RetT], args: ArgsT) -> RetT:
        """Make a call without file transfer and return its result."""

    async def read_file(self, path: GuestName) -> bytes:
        """Return a file's content."""
        return await self.download(path).read()

    async def cat(self, path: GuestName) -> str:
        """Return a file's content as text: UTF-8, with surrogateescape."""
        return (await self.read_file(path)).decode("utf-8", "surrogateescape")

    async def read_lines(self, path: GuestName) -> list[str]:
        r"""Return a file's lines without their ends, ``\n`` or ``\r\n``."""
        lines = (await self.cat(path)).split("\n")
        if not lines[-1]:
            lines.pop()
        return [line.removesuffix("\r") for line in lines]

    async def write(self, path: GuestName, content: bytes) -> None:
        """Make a file, or empty it, and fill it."""
        if len(content) <= _WRITE_MAX_BYTES:
            await self.internal_write(path, content)
        else:
            await self.upload([content], path, size_hint_bytes=len(content))

    async def write_append(self, path: GuestName, content: bytes) -> None:
        """Add to the end of a file, which is made if there is none."""
        if len(content) <= _WRITE_MAX_BYTES:
            await self.internal_write_append(path, content)
        else:
            size_bytes = await self.filesize(path) if await self.exists(path) else 0
            await self.upload_offset([content], path, size_bytes, size_hint_bytes=len(content))

    async def ls(self, directory: GuestName) -> list[bytes]:
        """Return the names in a directory, sorted, without ``.`` and ``..``."""
        names = terminated_names(await self.ls0(directory).read())
        for name in names:
            checked_name(name)
        return sorted(names)

    async def find(self, directory: GuestName) -> list[bytes]:
        """Return the paths of all that is below a directory, sorted; they begin behind the directory's own path."""
        paths = terminated_names(await self.find0(directory).read())
        for path in paths:
            for name in path.removeprefix(b"/").split(b"/"):
                checked_name(name)
        return sorted(paths)

    async def stat(self, path: GuestName) -> Statns:
        """Return a file's attributes, of the target if it is a symbolic link."""
        return await self.statns(path)

    async def lstat(self, path: GuestName) -> Statns:
        """Return a file's own attributes."""
        return await self.lstatns(path)

    async def readdir(self, dir: GuestName) -> list[Dirent]:  # noqa: A002  # the row's own name for it
        """Return a directory's entries, however many, with ``.`` and ``..``, in the filesystem's order.

        Inode numbers of mount points may be those of what is mounted there.
        """
        entries: list[Dirent] = []
        try:
            async with self.internal_readdir(dir) as pieces:
                async for piece in pieces:
                    entries.extend(hot.decode_dirents(piece))
                    if len(entries) > _ENTRIES_MAX:
                        raise RemoteProtocolError(f"a directory of more than {_ENTRIES_MAX} entries")
        except ProcedureError as exc:
            if exc.errno_name:
                raise
            # a daemon before 1.49.1 does not know the stream
            return await self._listed_at_once(dir)
        return entries

    async def _listed_at_once(self, directory: GuestName) -> list[Dirent]:
        """Read a directory with the old call; what does not fit in its one message is looked at file by file."""
        try:
            return await self.call(procedures.READDIR, bound(procedures.READDIR, (directory,), {}))
        except ProcedureError as exc:
            if exc.errno_name:
                raise
        names = [b".", b"..", *terminated_names(await self.ls0(directory).read())]
        stats = await self.lstatlist(directory, names)
        if len(stats) != len(names):
            raise RemoteProtocolError(f"{len(stats)} attributes where {len(names)} were asked for")
        return [
            Dirent(stat.st_ino, _LETTERS.get(modes.S_IFMT(stat.st_mode), "u"), FileName(name))
            for name, stat in zip(names, stats, strict=True)
        ]

    async def lstatlist(self, path: GuestName, names: Sequence[GuestName]) -> list[Statns]:
        """Return the attributes of files in one directory; st_ino is -1 for one that has none."""
        found: list[Statns] = []
        for batch in _batches(names):
            found += await self.internal_lstatnslist(path, batch)
        return found

    async def readlinklist(self, path: GuestName, names: Sequence[GuestName]) -> list[bytes]:
        """Return where symbolic links in one directory lead; empty for what is none."""
        found: list[bytes] = []
        for batch in _batches(names):
            found += await self.internal_readlinklist(path, batch)
        return found

    async def lxattrlist(self, path: GuestName, names: Sequence[GuestName]) -> list[Xattr]:
        """Return the extended attributes of files in one directory, each file's after one that has no name."""
        found: list[Xattr] = []
        for batch in _batches(names):
            found += await self.internal_lxattrlist(path, batch)
        return found

    async def feature_available(self, groups: Sequence[str]) -> bool:
        """Tell whether the daemon has all of some optional groups, such as ``lvm2``."""
        answers = [await self.internal_feature_available(group) for group in groups]
        return not any(answers)


def _batches(names: Sequence[GuestName]) -> list[Sequence[GuestName]]:
    return [names[start : start + _NAMES_PER_CALL] for start in range(0, len(names), _NAMES_PER_CALL)]
