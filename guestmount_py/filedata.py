"""File contents: which way a read goes."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import trio

from guestmount_py.caches import CacheBudget
from guestmount_py.dircache import DirectoryCache
from guestmount_py.direct import Images
from guestmount_py.extents import FileMap
from guestmount_py.file_maps import FileMaps
from guestmount_py.guest_files import GuestFiles
from guestmount_py.inode_numbers import Inode
from guestmount_py.inodes import Unlisted
from guestmount_py.known_files import KnownFile, KnownFiles
from guestmount_py.segments import SegmentCache
from guestmount_py.small_files import SMALL_MAX_BYTES, SmallFiles
from guestmount_py.statistics import Statistics
from rpc.errors import RemoteProtocolError

_FILES_MAX: Final = 256
_NEAR_BYTES: Final = 512 * 1024
"""The kernel sends a reader's requests side by side, so they come a little out of order."""
_RANDOM_READ_BYTES: Final = 128 * 1024
_STREAM_AT_ONCE_BYTES: Final = 1 << 20
"""A file no longer than this is streamed whole from its first read; of a longer one perhaps only the head is wanted."""


@dataclass(slots=True)
class _File:
    """A file that was read lately."""

    inode: Inode
    size_bytes: int
    expected_offset: int = 0
    """Where a reader in order would go on."""
    in_order_bytes: int = 0
    by_guest: bool = False
    """Its bytes cannot be read from the images."""


class FileData:
    """Contents and the ways to read them: from the images; else small with their neighbours, in order, by pread.

    Args:
        images, maps: None if only the guest reads.
    """

    def __init__(
        self,
        guest: GuestFiles,
        inodes: KnownFiles,
        directories: DirectoryCache,
        nursery: trio.Nursery,
        statistics: Statistics,
        budget: CacheBudget,
        images: Images | None = None,
        maps: FileMaps | None = None,
    ) -> None:
        self._guest = guest
        self._inodes = inodes
        self._directories = directories
        self._statistics = statistics
        self._images = images
        self._maps = maps
        self._segments = SegmentCache(guest, nursery, budget)
        self._small = SmallFiles(guest, inodes, budget)
        self._files: OrderedDict[Inode, _File] = OrderedDict()

    def _file(self, inode: Inode) -> _File:
        file = self._files.get(inode)
        if file is None:
            file = self._keep(self._inodes.get(inode))
        else:
            self._files.move_to_end(inode)
        return file

    def _keep(self, node: KnownFile) -> _File:
        file = self._files[node.inode] = _File(node.inode, node.entry.fields[7])
        if len(self._files) > _FILES_MAX:
            dropped, _ = self._files.popitem(last=False)
            self._segments.forget(dropped)
        return file

    def forget(self, inode: Inode) -> None:
        """Drop what was kept of a file that nobody reads now: it was written to, or is to be another one."""
        self._files.pop(inode, None)
        self._segments.forget(inode)
        self._small.forget(inode)

    def moved(self, inode: Inode | None) -> None:
        """Drop what is being fetched by a path that leads elsewhere now, of a file or, if None, of all.

        Nobody reads meanwhile.
        """
        self._segments.forget(inode)
        if inode is not None:  # a directory's own path is not used while it moves, but a name in it may be
            self._small.forget(inode)

    def read_now(self, inode: Inode, offset: int, count: int) -> bytes | memoryview | None:
        """Return part of a file if that takes no waiting, otherwise None; it lasts until this is called again.

        Raises:
            KeyError: the kernel does not know it.
            DriveError, ConnectionLost: see ``DirectPlane.read``.
        """
        try:
            file = self._file(inode)
        except Unlisted:
            return None
        count = min(count, file.size_bytes - offset)
        if count <= 0:
            return b""
        if self._images is None or self._maps is None or file.by_guest or not self._maps.is_known(inode):
            return None
        found = self._fitting(file, self._maps.known(inode))
        return self._images.plane.read_now(found, offset, count) if found is not None else None

    async def read(self, inode: Inode, offset: int, count: int) -> bytes | bytearray:
        """Return part of a file; shorter only where its size says that it ends.

        Raises:
            KeyError: the kernel does not know it.
            RemoteProtocolError: it ended before its size. A short answer would be taken for the end of the file.
        """
        file = await self._file_later(inode)
        count = min(count, file.size_bytes - offset)
        if count <= 0:
            return b""
        data = await self._data(file, offset, count)
        if len(data) != count:
            path = await self._path(inode)
            raise RemoteProtocolError(f"{path!r}: {len(data)} bytes at {offset} where its size says {count}")
        return data

    async def seek(self, inode: Inode, offset: int, *, want_data: bool) -> int | None:
        """Return where the next data or the next hole of a file is, as lseek(2) tells; None if there is none.

        A file that cannot be mapped is all data. What was allocated but never written is a hole.

        Raises:
            KeyError: the kernel does not know it.
        """
        file = await self._file_later(inode)
        if not 0 <= offset < file.size_bytes:
            return None
        found = await self._map(file)
        if self._images is None or found is None or not self._images.plane.is_valid(found):
            return offset if want_data else file.size_bytes
        return found.seek_data(offset) if want_data else found.seek_hole(offset)

    async def _file_later(self, inode: Inode) -> _File:
        file = self._files.get(inode)
        if file is None:
            node = await self._inodes.node(inode)  # its directory may have to be listed first
            file = self._files.get(inode) or self._keep(node)
        return file

    async def _map(self, file: _File) -> FileMap | None:
        """Return where the bytes of a file are; None if only the guest can read it."""
        if self._maps is None or file.by_guest:
            return None
        await self._inodes.node(file.inode)  # its directory may have to be listed first
        return self._fitting(file, await self._maps.get(file.inode))

    def _fitting(self, file: _File, found: FileMap | None) -> FileMap | None:
        """Return a file's map, and note if there is none.

        Raises:
            RemoteProtocolError: the same file has another length elsewhere.
        """
        if found is None:
            file.by_guest = True
        elif found.size_bytes != file.size_bytes:
            raise RemoteProtocolError(f"inode {file.inode} has {found.size_bytes} bytes and {file.size_bytes}")
        return found

    async def _data(self, file: _File, offset: int, count: int) -> bytes | bytearray:
        where = await self._map(file)
        if self._images is not None and where is not None:
            found = await self._images.plane.read(where, offset, count)
            if found is not None:
                return found
            file.by_guest = True
        name, data = await self._guests_data(file, offset, count)
        self._statistics.note_read(name, len(data))
        return data

    async def _guests_data(self, file: _File, offset: int, count: int) -> tuple[str, bytes]:
        """Have the guest read; return the plane's name too."""
        if file.size_bytes <= SMALL_MAX_BYTES:
            content = await self._read_small(file)
            if content is not None:
                if offset + count < file.size_bytes:
                    self._small.keep(file.inode, content)  # the kernel will want the rest
                return "small", content[offset : offset + count]
        path = await self._path(file.inode)
        if file.size_bytes > SMALL_MAX_BYTES and self._is_in_order(file, offset, count):
            return "stream", await self._segments.read(file.inode, path, file.size_bytes, offset, count)
        return "pread", await self._guest.pread(path, count, offset)

    async def _path(self, inode: Inode) -> bytes:
        await self._inodes.node(inode)  # its directory may have to be listed first
        return self._inodes.path(inode)

    async def _read_small(self, file: _File) -> bytes | None:
        data = self._small.take(file.inode)
        if data is not None or not self._guest.extended:
            return data
        directory = (await self._inodes.node(file.inode)).parent
        listing = self._directories.cached(directory)
        if listing is None:
            return None
        return await self._small.read(file.inode, directory, self._inodes.path(directory), listing)

    def _is_in_order(self, file: _File, offset: int, count: int) -> bool:
        """Tell whether a read goes on about where the last ones ended, and did so for a while."""
        distance = offset - file.expected_offset
        if -_NEAR_BYTES <= distance <= _NEAR_BYTES:
            file.in_order_bytes += count
        else:
            file.in_order_bytes = 0
        file.expected_offset = max(file.expected_offset, offset + count) if distance >= -_NEAR_BYTES else offset + count
        return file.in_order_bytes > _RANDOM_READ_BYTES or (offset == 0 and file.size_bytes <= _STREAM_AT_ONCE_BYTES)
