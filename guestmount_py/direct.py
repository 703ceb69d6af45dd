"""The direct data plane: files' bytes from the images, where the guest's kernel says that they lie."""

from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from time import monotonic
from typing import Final, NamedTuple

import trio

from appliance.qemu_args import drive_serial
from appliance.running import Appliance
from guestmount_py.disk_reader import DiskReader, LostReader
from guestmount_py.disk_readers import DirectDrive, choose_reader
from guestmount_py.extents import FileMap, Piece
from guestmount_py.log import logger
from guestmount_py.mapping import GuestMapping
from guestmount_py.statistics import Statistics
from rpc.errors import ConnectionLost, DriveError

_LOOK_S: Final = 0.005
"""How long after another process came to write to an image it may still be read directly."""
_LOOK_SHARE: Final = 0.01
"""Of the time, at most, that goes into looking: over a network locks are not asked for in microseconds."""
_LOOK_MAX_S: Final = 0.25
"""Nothing is read for longer without looking, though looking was slow: the network was, or this process had to wait."""

_SCRATCH_BYTES: Final = 128 << 10


class DirectPlane:
    """Reads ranges of mapped files.

    An image that another process begins to write to while it is mounted is the guest's alone from then on: no map of a
    file that was asked for before, or will be, says any more whose bytes lie where.

    Args:
        readers: of each drive, by serial number; None for one that only the guest may read.
        drive_sizes: bytes of each drive.
        gone: set when the appliance has died: a mount whose guest is gone answers nothing, not some files still.
        drives: those of them whose images are to be watched, by serial number.

    Attributes:
        drive_sizes: the same.
    """

    def __init__(
        self,
        readers: Mapping[str, DiskReader | None],
        drive_sizes: Mapping[str, int],
        statistics: Statistics,
        gone: trio.Event,
        drives: Mapping[str, DirectDrive] | None = None,
    ) -> None:
        self._gone = gone
        self.drive_sizes: Final = drive_sizes
        self._readers = dict(readers)
        self._statistics = statistics
        self._watched = {serial: drive for serial, drive in (drives or {}).items() if drive.reader is not None}
        self._given_up = {
            serial for serial, reader in readers.items() if reader is None or isinstance(reader, LostReader)
        }
        """The drives that only the guest may read, or nobody can."""
        self._changes = 0
        """How many drives were given up."""
        self._look_at = 0.0
        self._scratch = memoryview(bytearray(_SCRATCH_BYTES))
        """New memory for each read would cost as much as reading."""

    def look(self) -> None:
        """Give up the drives whose images others write to by now; to be called before each direct read.

        It costs a look at the clock, and after some milliseconds about 2 µs for each file of an image.
        """
        now = monotonic()
        if now < self._look_at:
            return
        for serial, drive in tuple(self._watched.items()):
            try:
                change = drive.change()
            except DriveError as exc:
                logger.error("nothing of it can be read any more: %s", exc)
                self._readers[serial] = LostReader(self.drive_sizes[serial], str(exc))
            else:
                if change is None:
                    continue
                logger.warning(
                    "%s: from now on only the guest reads it, which may not see all changes: %s", drive.path, change
                )
                self._readers[serial] = None
            self._given_up.add(serial)
            del self._watched[serial]
            self._changes += 1
        after = monotonic()
        self._look_at = after + min(max(_LOOK_S, (after - now) / _LOOK_SHARE), _LOOK_MAX_S)

    def _check(self) -> None:
        if self._gone.is_set():
            raise ConnectionLost("the appliance went away")
        self.look()

    def is_valid(self, file_map: FileMap) -> bool:
        """Tell whether what a map says still counts: no drive of the filesystem is only the guest's to read.

        Raises:
            DriveError: nobody can read one of them any more.
            ConnectionLost: the appliance has gone.
        """
        self._check()
        if self._given_up.isdisjoint(file_map.needed):
            return True
        for serial in file_map.needed:
            reader = self._readers[serial]
            if isinstance(reader, LostReader):
                raise DriveError(reader.reason)
        return False

    def read_now(self, file_map: FileMap, offset: int, count: int) -> memoryview | None:
        """Return part of a file if that takes no waiting, otherwise None; it lasts until this is called again.

        Raises:
            DriveError, ConnectionLost: see ``read``.
        """
        if not self.is_valid(file_map):
            return None
        if count > len(self._scratch):
            self._scratch = memoryview(bytearray(count))
        view = self._scratch
        pieces = file_map.pieces(offset, count)
        start = 0
        for size_bytes, serial, place in pieces:
            part = view[start : start + size_bytes]
            start += size_bytes
            if serial is None:
                part[:] = bytes(size_bytes)
                continue
            reader = self._readers[serial]
            if reader is None or not reader.read_now(place, part):
                return None
        for piece in pieces:
            self._note(piece)
        return view[:start]

    async def read(self, file_map: FileMap, offset: int, count: int) -> bytearray | None:
        """Return part of a file, shorter at its end; None if its map does not count any more, see ``is_valid``.

        Bytes that were waited for are not returned if a drive was given up meanwhile.

        Raises:
            DriveError: an image cannot be read.
            ConnectionLost: qemu has gone, whether it reads for us or not.
        """
        if not self.is_valid(file_map):
            return None
        changes = self._changes
        pieces = file_map.pieces(offset, count)
        readers = {piece.serial: self._readers[piece.serial] for piece in pieces if piece.serial is not None}
        data = bytearray(sum(piece.size_bytes for piece in pieces))
        view = memoryview(data)
        start = 0
        for piece in pieces:
            part = view[start : start + piece.size_bytes]
            start += piece.size_bytes
            if piece.serial is None:
                continue
            reader = readers[piece.serial]
            if reader is None:
                return None
            await reader.read_into(piece.offset, part)
        self._check()
        if self._changes != changes:
            return await self.read(file_map, offset, count)
        for piece in pieces:
            self._note(piece)
        return data

    def _note(self, piece: Piece) -> None:
        reader = self._readers[piece.serial] if piece.serial is not None else None
        self._statistics.note_read(reader.plane if reader is not None else "zeros", piece.size_bytes)


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
            drives = {}
            for index in range(len(appliance.blocks.drives)):
                drive = await choose_reader(appliance, index, nursery, by_qemu=by_qemu)
                opened.callback(drive.close)
                logger.info("%s", drive.reason)
                drives[drive_serial(index)] = drive
            readers = {serial: drive.reader for serial, drive in drives.items()}
            sizes = {drive_serial(at): each.size_bytes for at, each in enumerate(appliance.blocks.drives)}
            yield Images(DirectPlane(readers, sizes, statistics, appliance.gone, drives), mapping)
        nursery.cancel_scope.cancel()
