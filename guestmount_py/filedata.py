"""File contents: which way a read goes."""

from dataclasses import dataclass
from typing import Final

import trio

from guestmount_py.caches import CacheBudget
from guestmount_py.dircache import DirectoryCache
from guestmount_py.direct import Images
from guestmount_py.extents import FileMap
from guestmount_py.file_maps import FileMaps
from guestmount_py.guest_files import GuestFiles
from guestmount_py.inodes import Inode, InodeTable, Node
from guestmount_py.segments import SegmentCache
from guestmount_py.small_files import SMALL_MAX_BYTES, SmallFiles
from guestmount_py.statistics import Statistics
from rpc.errors import RemoteProtocolError

_NEAR_BYTES: Final = 512 * 1024
"""The kernel sends a reader's requests side by side, so they come a little out of order."""
_RANDOM_READ_BYTES: Final = 128 * 1024
_STREAM_AT_ONCE_BYTES: Final = 1 << 20
"""A file no longer than this is streamed whole from its first read; of a longer one perhaps only the head is wanted."""


@dataclass(slots=True)
class _OpenFile:
    inode: Inode
    size_bytes: int
    expected_offset: int = 0
    """Where a reader in order would go on."""
    in_order_bytes: int = 0
    content: bytes | None = None
    """All of a small file: the kernel may want it in several requests."""
    map: FileMap | None = None
    is_mapped: bool | None = None
    """Whether its bytes are read from the images; None before the first read."""


class FileData:
    """Open files and the ways to read them: from the images; else small with their neighbours, in order, by pread.

    Args:
        images: None if only the guest reads.
    """

    def __init__(
        self,
        guest: GuestFiles,
        inodes: InodeTable,
        directories: DirectoryCache,
        nursery: trio.Nursery,
        statistics: Statistics,
        images: Images | None,
        budget: CacheBudget,
    ) -> None:
        self._guest = guest
        self._inodes = inodes
        self._directories = directories
        self._statistics = statistics
        self._images = images
        self._maps = FileMaps(images, inodes, directories, budget) if images is not None else None
        self._segments = SegmentCache(guest, nursery, budget)
        self._small = SmallFiles(guest, inodes, budget)
        self._files: dict[int, _OpenFile] = {}
        self._next_handle = 1

    def open(self, node: Node) -> int:
        """Return a new file handle; the node stays known to the kernel while it is open."""
        handle = self._next_handle
        self._next_handle += 1
        self._files[handle] = _OpenFile(node.inode, node.entry.fields[7])
        return handle

    def close(self, handle: int) -> None:
        """Give a file handle back."""
        file = self._files.pop(handle)
        if not any(other.inode == file.inode for other in self._files.values()):
            self._segments.forget(file.inode)

    async def read(self, handle: int, offset: int, count: int) -> bytes | bytearray:
        """Return part of a file; shorter only where its size says that it ends.

        Raises:
            RemoteProtocolError: it ended before its size. A short answer would be taken for the end of the file.
        """
        file = self._files[handle]
        count = min(count, file.size_bytes - offset)
        if count <= 0:
            return b""
        data = await self._data(file, offset, count)
        if len(data) != count:
            path = self._inodes.path(file.inode)
            raise RemoteProtocolError(f"{path!r}: {len(data)} bytes at {offset} where its size says {count}")
        return data

    async def _data(self, file: _OpenFile, offset: int, count: int) -> bytes | bytearray:
        if self._images is not None and self._maps is not None and file.is_mapped is not False:
            if file.is_mapped is None:
                file.map = await self._maps.get(file.inode)
                file.is_mapped = file.map is not None
            if file.map is not None:
                found = await self._images.plane.read(file.map, offset, count)
                if found is not None:
                    return found
                file.is_mapped, file.map = False, None
        name, data = await self._guests_data(file, offset, count)
        self._statistics.note_read(name, len(data))
        return data

    async def _guests_data(self, file: _OpenFile, offset: int, count: int) -> tuple[str, bytes]:
        """Have the guest read; return the plane's name too."""
        if file.size_bytes <= SMALL_MAX_BYTES:
            if file.content is None:
                file.content = await self._read_small(file)
            if file.content is not None:
                return "small", file.content[offset : offset + count]
        path = self._inodes.path(file.inode)
        if file.size_bytes > SMALL_MAX_BYTES and self._is_in_order(file, offset, count):
            return "stream", await self._segments.read(file.inode, path, file.size_bytes, offset, count)
        return "pread", await self._guest.pread(path, count, offset)

    async def _read_small(self, file: _OpenFile) -> bytes | None:
        data = self._small.take(file.inode)
        if data is not None or not self._guest.extended:
            return data
        directory = self._inodes.get(file.inode).parent
        listing = self._directories.cached(directory)
        if listing is None:
            return None
        return await self._small.read(file.inode, directory, self._inodes.path(directory), listing)

    def _is_in_order(self, file: _OpenFile, offset: int, count: int) -> bool:
        """Tell whether a read goes on about where the last ones ended, and did so for a while."""
        distance = offset - file.expected_offset
        if -_NEAR_BYTES <= distance <= _NEAR_BYTES:
            file.in_order_bytes += count
        else:
            file.in_order_bytes = 0
        file.expected_offset = max(file.expected_offset, offset + count) if distance >= -_NEAR_BYTES else offset + count
        return file.in_order_bytes > _RANDOM_READ_BYTES or (offset == 0 and file.size_bytes <= _STREAM_AT_ONCE_BYTES)
