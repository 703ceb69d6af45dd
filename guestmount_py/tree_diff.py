"""What differs between two states of one filesystem, each seen through an appliance of its own."""

import stat as modes
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

import trio

from guestmount_py.entries import Entry, Xattrs
from guestmount_py.guest_files import GuestFiles
from rpc.errors import ProcedureError

Kind: TypeAlias = Literal["added", "removed", "changed", "unreadable"]
_AT_ONCE: Final = 20_000
"""Entries that are listed ahead."""
_TYPES: Final = {
    modes.S_IFREG: "file",
    modes.S_IFDIR: "directory",
    modes.S_IFLNK: "symlink",
    modes.S_IFCHR: "character device",
    modes.S_IFBLK: "block device",
    modes.S_IFIFO: "fifo",
    modes.S_IFSOCK: "socket",
}


class Change(NamedTuple):
    """One file that is not what it was.

    Attributes:
        what: of a changed file, any of type, content, target, device, mode, owner, times, xattrs; of others, its type.
    """

    kind: Kind
    path: bytes
    what: tuple[str, ...]


@dataclass(slots=True)
class _Attributes:
    """The attributes that count, by the names that a change of them has."""

    inode: int
    type: int
    mode: int
    owner: tuple[int, int]
    device: int
    size: int
    times: tuple[int, int]
    changed: tuple[int, int]

    @classmethod
    def of(cls, entry: Entry) -> "_Attributes":
        _, ino, mode, _, uid, gid, rdev, size, _, _, _, _, mtime, mtime_ns, ctime, ctime_ns = entry.fields[:16]
        kind = modes.S_IFMT(mode)
        return cls(ino, kind, modes.S_IMODE(mode), (uid, gid), rdev, size, (mtime, mtime_ns), (ctime, ctime_ns))

    def is_untouched(self, other: "_Attributes") -> bool:
        """Tell whether nothing was done to the file, as a kernel notes it in the time of its last change.

        A filesystem that keeps only whole seconds cannot tell.
        """
        return self.inode == other.inode and self.changed == other.changed and self.changed[1] != 0


class _Listings:
    """Listings of one side, fetched with those of what is below.

    Each is given once.
    """

    def __init__(self, files: GuestFiles) -> None:
        self._files: Final = files
        self._ahead: dict[bytes, list[Entry] | None] = {}

    async def entries(self, path: bytes) -> dict[bytes, Entry] | None:
        """Return a directory's entries by name, None if it cannot be read."""
        if path not in self._ahead:
            await self._fetch(path)
        entries = self._ahead.pop(path)
        return None if entries is None else {entry.name: entry for entry in entries}

    async def _fetch(self, path: bytes) -> None:
        if not self._files.extended:
            try:
                self._ahead[path] = await self._files.list_directory(path)
            except ProcedureError:
                self._ahead[path] = None
            return
        async with self._files.walk([path], _AT_ONCE) as listings:
            async for directory, entries in listings:
                self._ahead[directory] = entries
        self._ahead.setdefault(path, None)


class TreeDiff:
    """Compares two trees, file by file.

    Args:
        old: the tree as it was.
        new: as it is.
    """

    def __init__(self, old: GuestFiles, new: GuestFiles) -> None:
        self._files: Final = (old, new)
        self._listings: Final = (_Listings(old), _Listings(new))

    async def changes(self) -> AsyncGenerator[Change, None]:
        """Yield the changes in the order of their paths, each directory before what is below it.

        Raises:
            ConnectionLost: an appliance has gone.
        """
        old, new = [await files.lstat(b"/", b"") for files in self._files]
        if what := await self._differences(b"/", old, new):
            yield Change("changed", b"/", what)
        async with aclosing(self._below(b"/", in_old=True, in_new=True)) as changes:
            async for change in changes:
                yield change

    async def _below(self, path: bytes, *, in_old: bool, in_new: bool) -> AsyncGenerator[Change, None]:
        olds, news = await self._both(path, in_old, in_new)
        if olds is None or news is None:
            yield Change("unreadable", path, ("directory",))
            return
        for name in sorted(olds.keys() | news.keys()):
            old, new = olds.get(name), news.get(name)
            below = path.rstrip(b"/") + b"/" + name
            if change := await self._change(below, old, new):
                yield change
            was, is_now = (entry is not None and _is_directory(entry) for entry in (old, new))
            if was or is_now:
                async with aclosing(self._below(below, in_old=was, in_new=is_now)) as changes:
                    async for each in changes:
                        yield each

    async def _both(
        self, path: bytes, in_old: bool, in_new: bool
    ) -> tuple[dict[bytes, Entry] | None, dict[bytes, Entry] | None]:
        found: list[dict[bytes, Entry] | None] = [{}, {}]

        async def fetch(side: int) -> None:
            found[side] = await self._listings[side].entries(path)

        async with trio.open_nursery() as nursery:
            for side, wanted in enumerate((in_old, in_new)):
                if wanted:
                    nursery.start_soon(fetch, side)
        return found[0], found[1]

    async def _change(self, path: bytes, old: Entry | None, new: Entry | None) -> Change | None:
        if any(entry is not None and entry.is_unreadable for entry in (old, new)):
            return Change("unreadable", path, ("file",))
        if old is None or new is None:
            there = old or new
            assert there is not None
            return Change("added" if old is None else "removed", path, (_TYPES[_Attributes.of(there).type],))
        what = await self._differences(path, old, new)
        return Change("changed", path, what) if what else None

    async def _differences(self, path: bytes, old_entry: Entry, new_entry: Entry) -> tuple[str, ...]:
        old, new = _Attributes.of(old_entry), _Attributes.of(new_entry)
        if old.is_untouched(new):
            return ()
        if old.type != new.type:
            return ("type",)
        what = []
        if old.type == modes.S_IFREG and (old.size != new.size or not await self._has_same_content(path, old.size)):
            what.append("content")
        if old.type == modes.S_IFLNK and old_entry.target != new_entry.target:
            what.append("target")
        what += [name for name in ("device", "mode", "owner") if getattr(old, name) != getattr(new, name)]
        if old.type != modes.S_IFDIR and old.times != new.times:  # a directory's change with what is in it
            what.append("times")
        one, other = [await _xattrs(files, path) for files in self._files]
        if one != other:
            what.append("xattrs")
        return tuple(what)

    async def _has_same_content(self, path: bytes, size_bytes: int) -> bool:
        if not size_bytes:
            return True
        old, new = self._files
        async with old.stream(path, 0, size_bytes) as one, new.stream(path, 0, size_bytes) as other:
            return await same_bytes(one, other)


async def _xattrs(files: GuestFiles, path: bytes) -> Xattrs:
    return tuple(sorted(await files.xattrs(path)))


def _is_directory(entry: Entry) -> bool:
    return not entry.is_unreadable and modes.S_ISDIR(entry.fields[2])


async def same_bytes(one: AsyncIterator[bytes], other: AsyncIterator[bytes]) -> bool:
    """Compare two streams, however they are cut, up to their first difference."""
    left = right = b""
    while True:
        if not left:
            left = await anext(one, b"")
        if not right:
            right = await anext(other, b"")
        count = min(len(left), len(right))
        if left[:count] != right[:count]:
            return False
        if not count:
            return left == right
        left, right = left[count:], right[count:]
