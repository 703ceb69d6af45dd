"""A drive whose image is raw: its bytes are the file's."""

from typing import ClassVar, Final

from guestmount_py.disk_reader import DiskReader
from guestmount_py.image_file import ImageFile


class RawReader(DiskReader):
    """Reads of a raw image.

    Args:
        image: owned by the reader from now on.
        size_bytes: of the drive; the file's size in whole sectors.
    """

    plane: ClassVar[str] = "raw"

    def __init__(self, image: ImageFile, size_bytes: int) -> None:
        super().__init__(size_bytes)
        self._image: Final = image

    async def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill a buffer; see ``DiskReader``."""
        self._check(offset, len(buffer))
        await self._image.read_into(offset, buffer)

    def read_now(self, offset: int, buffer: memoryview) -> bool:
        """Fill a buffer if the host has the bytes in memory."""
        self._check(offset, len(buffer))
        return self._image.read_now(offset, buffer)

    def close(self) -> None:
        """Close the image."""
        self._image.close()
