"""Asking the guest where bytes lie: verbs whose answers are checked before anything else sees them."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from guestmount_py.extents import AddressMap
from rpc import procedures
from rpc.arguments import PathArgs
from rpc.codec import GuestPath
from rpc.errors import RemoteProtocolError
from rpc.extents import EXTENT, FILESYSTEM, MORE, REFUSED, WHOLE, decode_extents, decode_filesystem
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
            names: of files in it; of one in very many extents only that one, for they all come in one answer.

        Raises:
            RemoteProtocolError: the answer is not one for these names.
        """
        args = MapFilesArgs(GuestPath(path), b"\0".join(names))
        filesystem: int | None = None
        files: list[bytes | None] = []
        begun: list[bytes] | None = None
        """Records of a file that more will follow of."""
        size_bytes = 0
        async with self._pool.download(procedures.MAP_FILES, args) as pieces:
            async for piece in pieces:
                size_bytes += len(piece)
                if size_bytes > _ANSWER_MAX_BYTES:
                    raise RemoteProtocolError(f"extents of more than {_ANSWER_MAX_BYTES} bytes")
                offset = 0
                if filesystem is None:
                    filesystem = decode_filesystem(piece)
                    offset = FILESYSTEM.size
                for state, packed in decode_extents(piece, offset):
                    if begun is None and state == WHOLE:
                        files.append(packed)
                    elif state == MORE:
                        begun = begun or []
                        begun.append(packed)
                    else:
                        files.append(None if state == REFUSED else _joined(begun or [], packed))
                        begun = None
                if len(files) > len(names):
                    break
        if filesystem is None or begun is not None or len(files) != len(names):
            raise RemoteProtocolError(f"extents of {len(files)} files where {len(names)} were asked for")
        return Extents(filesystem, files)


def _joined(begun: list[bytes], last: bytes) -> bytes | None:
    size_bytes = sum(map(len, begun)) + len(last)
    return None if size_bytes > _EXTENTS_MAX * EXTENT.size else b"".join((*begun, last))
