"""The guest's files as typed verbs over the channels; every answer is checked before anything above sees it."""

import errno
import stat as modes
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from guestmount_py.log import logger
from rpc import hot, procedures
from rpc.arguments import NoArgs, PathArgs, PathNamesArgs
from rpc.codec import DeviceOrPath, FileName, GuestPath, Mountable, UInt32
from rpc.errors import ProcedureError, RemoteProtocolError
from rpc.pool import ChannelPool
from rpc.procedures.contents import PreadArgs
from rpc.procedures.directories import ReaddirArgs
from rpc.procedures.extensions import ReadFilesArgs, WalkArgs, WalkState
from rpc.procedures.mounting import MountOptionsArgs, MountVfsArgs
from rpc.procedures.transfers import DownloadOffsetArgs
from rpc.types import Statns, Statvfs

PREAD_MAX_BYTES: Final = 2 << 20
"""What the stock library asks for at most."""
_NAME_MAX_BYTES: Final = 1024
"""FUSE_NAME_MAX of Linux: the 255 UTF-16 units that NTFS and vfat allow take up to 765 bytes."""
_LISTING_MAX_BYTES: Final = 2 << 30
"""What a listing may take, whatever the daemon sends: some eight million entries."""
_NAMES_PER_CALL: Final = 1000
_DIRECTORY_MAX_ENTRIES: Final = 200_000
"""More than any directory has that is short enough to be listed unasked."""
_FILE_TYPES: Final = frozenset(
    (modes.S_IFBLK, modes.S_IFCHR, modes.S_IFDIR, modes.S_IFIFO, modes.S_IFLNK, modes.S_IFREG, modes.S_IFSOCK)
)
_NS: Final = 1_000_000_000
_ST_INO: Final = struct.Struct(">q")
_UNREADABLE: Final = hot.STATNS.pack(0, -1, *([0] * 20))
Xattrs = tuple[tuple[bytes, bytes], ...]


@dataclass(slots=True)
class Entry:
    """One file as a directory listing tells it.

    Its attributes stay packed (22 x i64, ``rpc.hot.STATNS``) in the piece of the listing they came with.

    Attributes:
        target: of a symlink; None means not asked yet.
        xattrs: None means not asked yet, or not listable.
    """

    name: bytes
    data: bytes
    offset: int
    target: bytes | None
    xattrs: Xattrs | None

    @property
    def fields(self) -> tuple[int, ...]:
        """Return the attributes in the order of ``Statns``."""
        return hot.STATNS.unpack_from(self.data, self.offset)

    @property
    def is_unreadable(self) -> bool:
        """Tell whether the guest could read the name only: st_ino, the second of the attributes, is -1."""
        (ino,) = _ST_INO.unpack_from(self.data, self.offset + 8)
        return bool(ino == -1)

    def detach(self) -> None:
        """Let the piece of the listing go: whoever still needs this entry shall not keep it alive."""
        self.data, self.offset = self.data[self.offset : self.offset + hot.STATNS.size], 0


def checked_fields(values: Sequence[int]) -> None:
    """Refuse attributes that no file can have.

    Raises:
        RemoteProtocolError: one is out of range.
    """
    _, ino, mode, nlink, uid, gid, rdev, size, blksize, blocks, _, ans, _, mns, _, cns = values[:16]
    if (
        ino < 1
        or modes.S_IFMT(mode) not in _FILE_TYPES
        or mode >> 16
        or not 0 <= nlink < 1 << 32
        or not 0 <= uid < 1 << 32
        or not 0 <= gid < 1 << 32
        or rdev < 0
        or min(size, blocks) < 0
        or not 0 <= blksize < 1 << 32
        or not (0 <= ans < _NS and 0 <= mns < _NS and 0 <= cns < _NS)
    ):
        raise RemoteProtocolError(f"impossible attributes {tuple(values[:16])}")


def checked_name(name: bytes) -> None:
    """Refuse a name that no directory entry can have.

    Raises:
        RemoteProtocolError: it is empty, too long, a dot name, or holds a slash or NUL.
    """
    if not 0 < len(name) <= _NAME_MAX_BYTES or b"/" in name or b"\0" in name or name in (b".", b".."):
        raise RemoteProtocolError(f"impossible file name {name[:300]!r}")


class GuestFiles:
    """Verbs on the guest's files.

    Args:
        pool: channels to the daemon.
        extended: the daemon has our extensions; without them only libguestfs's calls are used.
    """

    def __init__(self, pool: ChannelPool, *, extended: bool) -> None:
        self._pool = pool
        self.extended: Final = extended
        self._streams_names = True

    async def mount(self, device: str, mountpoint: bytes, options: str, fstype: str) -> None:
        """Mount a filesystem in the guest."""
        where = mountpoint.decode("utf-8", "surrogateescape")
        if fstype:
            await self._pool.call(procedures.MOUNT_VFS, MountVfsArgs(options, fstype, Mountable(device), where))
        else:
            await self._pool.call(procedures.MOUNT_OPTIONS, MountOptionsArgs(options, Mountable(device), where))

    async def filesystems(self) -> list[tuple[str, str]]:
        """Return the devices with filesystems and their types."""
        return await self._pool.call(procedures.LIST_FILESYSTEMS, NoArgs())

    async def lstat(self, path: bytes, name: bytes) -> Entry:
        """Return one file without its link target and extended attributes."""
        stat = await self._pool.call(procedures.LSTATNS, PathArgs(GuestPath(path)))
        entry = _entry_of(name, stat)
        checked_fields(entry.fields)
        return entry

    async def readlink(self, path: bytes) -> bytes:
        """Return a symlink's target."""
        return await self._pool.call(procedures.READLINK, PathArgs(GuestPath(path)))

    async def xattrs(self, path: bytes) -> Xattrs:
        """Return a file's extended attributes; none if the filesystem has no such thing."""
        try:
            found = await self._pool.call(procedures.LGETXATTRS, PathArgs(GuestPath(path)))
        except ProcedureError as exc:
            if exc.errno == errno.ENOTSUP:
                return ()
            raise
        return tuple((pair.attrname, pair.attrval) for pair in found)

    async def neighbours_xattrs(self, path: bytes, entries: Sequence[Entry]) -> None:
        """Ask for the extended attributes of files of one directory that have not been asked for yet."""
        for start in range(0, len(entries), _NAMES_PER_CALL):
            batch = entries[start : start + _NAMES_PER_CALL]
            args = PathNamesArgs(GuestPath(path), [FileName(entry.name) for entry in batch])
            for entry, xattrs in zip(batch, await self._xattr_batch(args), strict=True):
                entry.xattrs = xattrs

    async def statvfs(self, path: bytes) -> Statvfs:
        """Return a filesystem's size and use."""
        found = await self._pool.call(procedures.STATVFS, PathArgs(GuestPath(path)))
        if min(found.bsize, found.frsize, found.blocks, found.bfree, found.bavail, found.files, found.ffree) < 0:
            raise RemoteProtocolError(f"impossible filesystem sizes {found}")
        return found

    async def pread(self, path: bytes, count: int, offset: int) -> bytes:
        """Return part of a regular file; shorter only at its end."""
        parts: list[bytes] = []
        while count > 0:
            wanted = min(count, PREAD_MAX_BYTES)
            data = await self._pool.call(procedures.PREAD, PreadArgs(GuestPath(path), wanted, offset))
            if len(data) > wanted:
                raise RemoteProtocolError(f"{len(data)} bytes where {wanted} were asked for")
            parts.append(data)
            offset += len(data)
            count -= len(data)
            if not data:
                break
        return b"".join(parts)

    @asynccontextmanager
    async def stream(self, path: bytes, offset: int, size_bytes: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """Stream part of a regular file in order.

        The path is written ``/./…``: the daemon would take ``/dev/sda`` for its device, whatever the guest has there.
        """
        args = DownloadOffsetArgs(DeviceOrPath(b"/." + path), offset, size_bytes)
        async with self._pool.download(procedures.DOWNLOAD_OFFSET, args) as pieces:
            yield pieces

    async def small_files(self, path: bytes, names: Sequence[bytes], max_bytes: int) -> list[bytes | None]:
        """Return the contents of files in one directory; None for one that is not regular or longer."""
        args = ReadFilesArgs(GuestPath(path), [FileName(name) for name in names], max_bytes)
        contents: list[bytes | None] = []
        async with self._pool.download(procedures.READ_FILES, args) as pieces:
            async for piece in pieces:
                contents.extend(hot.decode_file_contents(piece))
                if len(contents) > len(names):
                    break
        if len(contents) != len(names) or any(data is not None and len(data) > max_bytes for data in contents):
            raise RemoteProtocolError(f"{len(contents)} file contents where {len(names)} were asked for")
        return contents

    async def list_directory(self, path: bytes) -> list[Entry]:
        """Return a directory's entries without ``.`` and ``..``, also those that are unreadable."""
        if not self.extended:
            return _checked(await self._list_standard(path))
        args = PathArgs(GuestPath(path))
        async with self._pool.download(procedures.LIST_DIRECTORY, args) as pieces:
            entries = [entry async for entry in _entries(pieces)]
        if not entries or entries[0].name != b".":
            raise RemoteProtocolError("a listing that does not begin with the directory itself")
        return _checked(entries[1:])

    @asynccontextmanager
    async def walk(
        self, paths: Sequence[bytes], max_entries: int
    ) -> AsyncIterator[AsyncIterator[tuple[bytes, list[Entry] | None]]]:
        """Stream the listings of directories and of what is below each, depth first, until there are so many entries.

        Each comes as its path and its entries; None stands for one that cannot be listed. The entries' extended
        attributes are not asked for.
        """
        args = WalkArgs([GuestPath(path) for path in paths], UInt32(max_entries))
        async with (
            self._pool.download(procedures.WALK, args) as pieces,
            aclosing(_walked(pieces, max_entries)) as found,
        ):
            yield found

    async def _list_standard(self, path: bytes) -> list[Entry]:
        """List with libguestfs's own calls: the names, then attributes, xattrs and targets in batches."""
        names = [name for name in await self._names(path) if name not in (b".", b"..")]
        entries: list[Entry] = []
        for start in range(0, len(names), _NAMES_PER_CALL):
            batch = names[start : start + _NAMES_PER_CALL]
            args = PathNamesArgs(GuestPath(path), [FileName(name) for name in batch])
            stats = await self._pool.call(procedures.INTERNAL_LSTATNSLIST, args)
            targets = await self._pool.call(procedures.INTERNAL_READLINKLIST, args)
            xattrs = await self._xattr_batch(args)
            if not len(stats) == len(targets) == len(xattrs) == len(batch):
                raise RemoteProtocolError(f"{len(stats)} attributes where {len(batch)} were asked for")
            for name, stat, target, pairs in zip(batch, stats, targets, xattrs, strict=True):
                entry = _entry_of(name, stat)
                entry.target, entry.xattrs = target or None, pairs  # an unreadable link has an empty one
                entries.append(entry)
        return entries

    async def _names(self, path: bytes) -> list[bytes]:
        args = ReaddirArgs(GuestPath(path))
        if self._streams_names:
            try:
                found: list[bytes] = []
                async with self._pool.download(procedures.INTERNAL_READDIR, args) as pieces:
                    async for piece in pieces:
                        found.extend(entry.name for entry in hot.decode_dirents(piece))
            except ProcedureError as exc:
                if exc.errno_name:
                    raise
            else:
                return found
        names: list[bytes] = [entry.name for entry in await self._pool.call(procedures.READDIR, args)]
        self._streams_names = False  # a daemon before 1.49.1, which is asked once
        return names

    async def _xattr_batch(self, args: PathNamesArgs) -> list[Xattrs | None]:
        """Take the marker form of ``internal_lxattrlist`` apart (guestfs-protocol section 5.6)."""
        try:
            rows = await self._pool.call(procedures.INTERNAL_LXATTRLIST, args)
        except ProcedureError as exc:
            if exc.errno == errno.ENOTSUP:
                return [()] * len(args.names)
            raise
        groups: list[list[tuple[bytes, bytes]] | None] = []
        for row in rows:
            if not row.attrname:
                groups.append([] if row.attrval else None)
            elif groups and groups[-1] is not None:
                groups[-1].append((row.attrname, row.attrval))
            else:
                raise RemoteProtocolError("an extended attribute belongs to no file")
        return [None if group is None else tuple(group) for group in groups]


async def _entries(pieces: AsyncIterator[bytes]) -> AsyncGenerator[Entry, None]:
    size_bytes = 0
    async for piece in pieces:
        size_bytes += len(piece)
        if size_bytes > _LISTING_MAX_BYTES:
            raise RemoteProtocolError(f"a listing of more than {_LISTING_MAX_BYTES} bytes")
        for raw in hot.decode_directory_entries(piece):
            yield Entry(raw.name, piece, raw.stat_offset, raw.target, raw.xattrs)


async def _walked(
    pieces: AsyncIterator[bytes], max_entries: int
) -> AsyncGenerator[tuple[bytes, list[Entry] | None], None]:
    decoder = hot.WalkDecoder()
    path = b""
    entries: list[Entry] = []
    count = 0
    async for piece in pieces:
        for part in decoder.feed(piece):
            count += 1 + len(part.names)
            if (entries and part.path != path) or count > max_entries + _DIRECTORY_MAX_ENTRIES:
                raise RemoteProtocolError(f"a walk of {count} entries to {part.path[:300]!r}")
            path = part.path
            targets = part.targets
            for index, name in enumerate(part.names):
                target = targets.get(index) or None
                entries.append(Entry(name, part.stats, index * hot.STATNS.size, target, None))
            if part.state != WalkState.CONTINUED:
                yield path, _checked(entries) if part.state == WalkState.COMPLETE else None
                entries = []
    decoder.finish()


def _checked(entries: list[Entry]) -> list[Entry]:
    """Return a directory's entries, if they can be that.

    A damaged filesystem may have a name twice, or attributes that no file can have: the first of the name counts, and
    such a file alone is unreadable.
    """
    checked: dict[bytes, Entry] = {}
    for entry in entries:
        checked_name(entry.name)
        if entry.name in checked:
            logger.error("the name %r stands twice in a directory: only the first is shown", entry.name)
            continue
        checked[entry.name] = entry
        try:
            if not entry.is_unreadable:
                checked_fields(entry.fields)
        except RemoteProtocolError as exc:
            logger.error("%r: %s", entry.name, exc)
            entry.data, entry.offset = _UNREADABLE, 0
    return list(checked.values())


def _entry_of(name: bytes, stat: Statns) -> Entry:
    return Entry(name, hot.STATNS.pack(*stat), 0, None, None)
