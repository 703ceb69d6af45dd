"""Asking the guest where bytes lie: verbs whose answers are checked before anything else sees them."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final, NamedTuple

from guestmount_py.extents import AddressMap
from rpc import procedures
from rpc.arguments import PathArgs
from rpc.codec import GuestPath
from rpc.errors import RemoteProtocolError
from rpc.extents import MapDecoder, MapPart
from rpc.pool import ChannelPool
from rpc.procedures.extensions import MapFilesArgs

EXTENSIONS: Final = frozenset(("map_files", "device_map"))
"""What the daemon must have named in its answer to ``hello``."""
_EXTENTS_MAX: Final = 1 << 20
"""A file in more pieces counts as one that cannot be mapped: the map would take longer than it saves."""
_ANSWER_MAX_BYTES: Final = 256 << 20
"""What the extents of one call may take, whatever the daemon sends."""


class Extents(NamedTuple):
    """What ``map_files`` brings.

    Attributes:
        filesystem: number of the mount in the guest that the directory is on.
        files: packed extents of each file, in the order asked for; None for one that cannot be mapped.
    """

    filesystem: int
    files: list[bytes | None]


class GuestMapping:
    """Verbs on the places of the guest's files, for a daemon that has ``EXTENSIONS``.

    Args:
        pool: channels to the daemon.
    """

    def __init__(self, pool: ChannelPool) -> None:
        self._pool = pool

    async def device_map(self, path: bytes, drive_sizes: Mapping[str, int]) -> AddressMap:
        """Return where the filesystem of a directory lies.

        Args:
            path: the directory.
            drive_sizes: bytes of each drive of the appliance, by serial number.

        Raises:
            RemoteProtocolError: the answer names a drive that there is not, or leaves one, or contradicts itself.
        """
        return AddressMap(await self._pool.call(procedures.DEVICE_MAP, PathArgs(GuestPath(path))), drive_sizes)

    async def map_files(self, path: bytes, names: Sequence[bytes]) -> Extents:
        """Return where the bytes of files in one directory lie, as the guest's kernel says.

        What that means is for ``guestmount_py.extents.file_map`` to find out.

        Args:
            path: the directory.
            names: of files in it.

        Raises:
            RemoteProtocolError: the answer is not one for these names.
        """
        filesystem = 0
        files: list[bytes | None] = []
        async with self.map_directories([(path, names)]) as parts:
            async for part in parts:
                filesystem = part.filesystem
                files += part.files
        return Extents(filesystem, files)

    @asynccontextmanager
    async def map_directories(
        self, groups: Sequence[tuple[bytes, Sequence[bytes]]]
    ) -> AsyncIterator[AsyncIterator[MapPart]]:
        """Stream where the bytes of files lie, in the order asked for, some files of one directory at a time.

        Leaving early ends the guest's work. The iterator raises what ``map_files`` raises.

        Args:
            groups: directories and names of files in each, at least one.
        """
        groups = [(path, names) for path, names in groups if names]
        args = MapFilesArgs(
            [GuestPath(path) for path, _ in groups], b"/".join(b"\0".join(names) for _, names in groups)
        )
        counts = [len(names) for _, names in groups]
        async with (
            self._pool.download(procedures.MAP_FILES, args) as pieces,
            aclosing(_parts(pieces, counts)) as parts,
        ):
            yield parts


async def _parts(pieces: AsyncIterator[bytes], counts: Sequence[int]) -> AsyncGenerator[MapPart, None]:
    """Yield the parts of a stream, which must be those of so many files in one directory after the other."""
    decoder = MapDecoder(_EXTENTS_MAX)
    left = list(reversed(counts))
    size_bytes = 0
    async for piece in pieces:
        size_bytes += len(piece)
        if size_bytes > _ANSWER_MAX_BYTES:
            raise RemoteProtocolError(f"extents of more than {_ANSWER_MAX_BYTES} bytes")
        for part in decoder.feed(piece):
            if not left or not 0 < len(part.files) <= left[-1]:
                raise RemoteProtocolError(f"extents of {len(part.files)} files where other ones were asked for")
            left[-1] -= len(part.files)
            if not left[-1]:
                left.pop()
            yield part
    decoder.finish()
    if left:
        raise RemoteProtocolError(f"no extents of {sum(left)} files that were asked for")
