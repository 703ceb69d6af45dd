"""Asking the guest where bytes lie: verbs whose answers are checked before anything else sees them."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final

from guestmount_py.extents import AddressMap
from guestmount_py.log import logger
from rpc import procedures
from rpc.arguments import PathArgs
from rpc.codec import GuestPath
from rpc.errors import RemoteProtocolError
from rpc.extents import MapDecoder, MapPart
from rpc.pool import ChannelPool
from rpc.procedures.extensions import MapFilesArgs

EXTENSIONS: Final = frozenset(("map_files", "device_map"))
"""What the daemon must have named in its answer to ``hello``."""
_EXTENTS_MAX: Final = 1 << 16
"""A file in more pieces counts as one that cannot be mapped: so many take 3.5 MiB, and a call less than 20 MiB."""
_ANSWER_MAX_BYTES: Final = 256 << 20
"""Files behind so much count as ones that cannot be mapped. It is not held: each part is handed on as it comes."""


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

    @asynccontextmanager
    async def map_directories(
        self, groups: Sequence[tuple[bytes, Sequence[bytes]]]
    ) -> AsyncIterator[AsyncIterator[MapPart]]:
        """Stream where the bytes of files lie, as the guest's kernel says: in order, some of one directory at a time.

        What that means is for ``guestmount_py.extents.file_map`` to find out. Leaving early ends the guest's work. The
        iterator raises RemoteProtocolError where the answer is not one for these names.

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
            logger.info("extents of more than %d bytes: %d files are left to the guest", _ANSWER_MAX_BYTES, sum(left))
            for count in reversed(left):
                yield MapPart(0, [None] * count)
            return
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
