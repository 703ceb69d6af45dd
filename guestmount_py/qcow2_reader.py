"""A drive whose image is qcow2: its clusters are read from the files of its chain."""

from collections.abc import Sequence
from typing import ClassVar, Final

from guestmount_py.allocation_map import AllocationMap
from guestmount_py.disk_reader import DiskReader
from guestmount_py.image_file import ImageFile
from rpc.errors import DriveError


class Qcow2Reader(DiskReader):
    """Reads of a qcow2 image by its allocation map.

    Args:
        allocation: where everything is.
        files: of the layers, topmost first; owned by the reader from now on.
        rest: reads what is not in a file as it is, such as compressed clusters; owned too.
    """

    plane: ClassVar[str] = "qcow2"

    def __init__(self, allocation: AllocationMap, files: Sequence[ImageFile], rest: DiskReader | None = None) -> None:
        super().__init__(allocation.size_bytes)
        self._map: Final = allocation
        self._files: Final = files
        self._rest: Final = rest

    async def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill a buffer; see ``DiskReader``."""
        self._check(offset, len(buffer))
        done = 0
        for length, layer, place in self._map.runs(offset, len(buffer)):
            part = buffer[done : done + length]
            if layer >= 0:
                await self._files[layer].read_into(place, part)
            elif layer == -1:
                part[:] = bytes(length)
            elif self._rest is not None:
                await self._rest.read_into(place, part)
            else:
                raise DriveError(f"{length} bytes at {place} are in no file as they are")
            done += length

    def read_now(self, offset: int, buffer: memoryview) -> bool:
        """Fill a buffer if the host has the bytes in memory."""
        self._check(offset, len(buffer))
        done = 0
        for length, layer, place in self._map.runs(offset, len(buffer)):
            part = buffer[done : done + length]
            if layer == -1:
                part[:] = bytes(length)
            elif layer < 0 or not self._files[layer].read_now(place, part):
                return False
            done += length
        return True

    def close(self) -> None:
        """Close the files and what reads the rest."""
        for file in self._files:
            file.close()
        if self._rest is not None:
            self._rest.close()
