"""The direct data plane: files' bytes from the images, where the guest's kernel says that they lie."""

from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from typing import Final, NamedTuple

import trio

from appliance.qemu_args import drive_serial
from appliance.running import Appliance
from guestmount_py.disk_reader import DiskReader
from guestmount_py.disk_readers import choose_reader
from guestmount_py.extents import FileMap, Piece
from guestmount_py.log import logger
from guestmount_py.mapping import GuestMapping
from guestmount_py.statistics import Statistics
from rpc.errors import ConnectionLost


class DirectPlane:
    """Reads ranges of mapped files.

    Args:
        readers: of each drive, by serial number; None for one that only the guest may read.
        drive_sizes: bytes of each drive.
        gone: set when the appliance has died: a mount whose guest is gone answers nothing, not some files still.

    Attributes:
        drive_sizes: the same.
    """

    def __init__(
        self,
        readers: Mapping[str, DiskReader | None],
        drive_sizes: Mapping[str, int],
        statistics: Statistics,
        gone: trio.Event,
    ) -> None:
        self._gone = gone
        self.drive_sizes: Final = drive_sizes
        self._readers = readers
        self._statistics = statistics

    async def read(self, file_map: FileMap, offset: int, count: int) -> bytearray | None:
        """Return part of a file, shorter at its end; None if a drive that holds it is only the guest's to read.

        Raises:
            DriveError: an image cannot be read.
            ConnectionLost: qemu has gone, whether it reads for us or not.
        """
        if self._gone.is_set():
            raise ConnectionLost("the appliance went away")
        pieces = file_map.pieces(offset, count)
        if not all(piece.serial is None or self._readers[piece.serial] for piece in pieces):
            return None
        data = bytearray(sum(piece.size_bytes for piece in pieces))
        view = memoryview(data)
        start = 0
        for piece in pieces:
            await self._fill(piece, view[start : start + piece.size_bytes])
            start += piece.size_bytes
        return data

    async def _fill(self, piece: Piece, view: memoryview) -> None:
        if piece.serial is None:
            self._statistics.note_read("zeros", piece.size_bytes)
            return
        reader = self._readers[piece.serial]
        assert reader is not None
        await reader.read_into(piece.offset, view)
        self._statistics.note_read(reader.plane, piece.size_bytes)


class Images(NamedTuple):
    """The images, and the guest that says where in them the bytes of files lie."""

    plane: DirectPlane
    mapping: GuestMapping


@asynccontextmanager
async def opened_images(
    appliance: Appliance, mapping: GuestMapping, statistics: Statistics, *, by_qemu: bool = False
) -> AsyncIterator[Images]:
    """Own the ways to all drives of an appliance whose guest has mounted what it shall.

    Raises:
        ConnectionLost: qemu has gone.
    """
    async with trio.open_nursery() as nursery:
        with ExitStack() as opened:
            readers = {}
            for index in range(len(appliance.blocks.drives)):
                drive = await choose_reader(appliance, index, nursery, by_qemu=by_qemu)
                opened.callback(drive.close)
                logger.info("%s", drive.reason)
                readers[drive_serial(index)] = drive.reader
            sizes = {drive_serial(at): each.size_bytes for at, each in enumerate(appliance.blocks.drives)}
            yield Images(DirectPlane(readers, sizes, statistics, appliance.gone), mapping)
        nursery.cancel_scope.cancel()
