"""The guest's files as typed verbs over the channels; every answer is checked before anything above sees it."""

import errno
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final

from guestmount_py.entries import Entry, Xattrs, checked_entries, checked_fields, entry_of
from guestmount_py.standard_listing import StandardListing
from rpc import hot, procedures
from rpc.arguments import MountableArgs, NoArgs, PathArgs
from rpc.codec import DeviceOrPath, FileName, GuestPath, Mountable, UInt32
from rpc.errors import ProcedureError, RemoteProtocolError
from rpc.pool import ChannelPool
from rpc.procedures.contents import PreadArgs
from rpc.procedures.extensions import ReadFilesArgs, WalkArgs, WalkState
from rpc.procedures.mounting import MountOptionsArgs, MountVfsArgs
from rpc.procedures.transfers import DownloadOffsetArgs
from rpc.types import Statvfs

PREAD_MAX_BYTES: Final = 2 << 20
"""What the stock library asks for at most."""
_LISTING_MAX_BYTES: Final = 2 << 30
"""What a listing may take, whatever the daemon sends: some eight million entries."""
_DIRECTORY_MAX_ENTRIES: Final = 200_000
"""More than any directory has that is short enough to be listed unasked."""


class GuestFiles:
    """Verbs on the guest's files.

    Args:
        pool: channels to the daemon.
        extended: the daemon has our extensions; without them only libguestfs's calls are used.
    """

    def __init__(self, pool: ChannelPool, *, extended: bool) -> None:
        self._pool = pool
        self.extended: Final = extended
        self._standard = StandardListing(pool)

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

    async def vfs_type(self, device: str) -> str:
        """Return the type of the filesystem on a device, empty if nothing is recognised."""
        return await self._pool.call(procedures.VFS_TYPE, MountableArgs(Mountable(device)))

    async def vfs_uuid(self, device: str) -> str:
        """Return the UUID of what is on a device, empty if it has none."""
        return await self._pool.call(procedures.VFS_UUID, MountableArgs(Mountable(device)))

    async def lstat(self, path: bytes, name: bytes) -> Entry:
        """Return one file without its link target and extended attributes."""
        stat = await self._pool.call(procedures.LSTATNS, PathArgs(GuestPath(path)))
        entry = entry_of(name, stat)
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
        await self._standard.add_xattrs(path, entries)

    async def statvfs(self, path: bytes) -> Statvfs:
        """Return a filesystem's size and use."""
        found = await self._pool.call(procedures.STATVFS, PathArgs(GuestPath(path)))
        sizes = (found.bsize, found.frsize, found.namemax)
        # Of files there may be 2^64 - 1, which the wire carries as -1.
        if min(*sizes, found.blocks, found.bfree, found.bavail) < 0 or max(sizes) >= 1 << 32:
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
            return checked_entries(await self._standard.list_directory(path))
        args = PathArgs(GuestPath(path))
        async with self._pool.download(procedures.LIST_DIRECTORY, args) as pieces:
            entries = [entry async for entry in _entries(pieces)]
        if not entries or entries[0].name != b".":
            raise RemoteProtocolError("a listing that does not begin with the directory itself")
        return checked_entries(entries[1:])

    async def list_plainly(self, path: bytes) -> list[Entry]:
        """Return the same, in a fifth of the time, without extended attributes but with what nothing protects."""
        listed: list[Entry] | None = None
        if self.extended:
            async with self.walk([path], 1) as listings:
                async for found, entries in listings:
                    if found == path:
                        listed = entries
                        break
        return await self.list_directory(path) if listed is None else listed  # which says why it cannot be listed

    @asynccontextmanager
    async def walk(
        self, paths: Sequence[bytes], max_entries: int, *, by_name: bool = False
    ) -> AsyncIterator[AsyncIterator[tuple[bytes, list[Entry] | None]]]:
        """Stream the listings of directories and of what is below each, depth first, until there are so many entries.

        Each comes as its path and its entries; None stands for one that cannot be listed. The entries' extended
        attributes are not asked for.

        Args:
            paths: the directories.
            max_entries: after so many no further directory is begun.
            by_name: go down into a directory's own by name, not as it lists them.
        """
        args = WalkArgs([GuestPath(path) for path in paths], UInt32(max_entries), by_name)
        async with (
            self._pool.download(procedures.WALK, args) as pieces,
            aclosing(_walked(pieces, max_entries)) as found,
        ):
            yield found


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
                yield path, checked_entries(entries) if part.state == WalkState.COMPLETE else None
                entries = []
    decoder.finish()
