"""What every way to read a drive has in common."""

from abc import ABC, abstractmethod
from typing import ClassVar, Final

from rpc.errors import DriveError


class DiskReader(ABC):
    """The bytes of one drive, as the guest sees them. Any number of tasks may read at a time.

    Attributes:
        plane: what this way is called in the log and in statistics.
        size_bytes: of the drive.
    """

    plane: ClassVar[str]

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes: Final = size_bytes

    async def read(self, offset: int, count: int) -> bytes:
        """Return exactly ``count`` bytes at ``offset``; raises as ``read_into`` does."""
        buffer = bytearray(count)
        await self.read_into(offset, memoryview(buffer))
        return bytes(buffer)

    @abstractmethod
    async def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill a buffer, all of it, with the bytes at ``offset``; it may yield to other tasks or not.

        Cancellation: the buffer may still be written to, so drop it; the reader stays usable.

        Raises:
            DriveError: it leaves the drive, or the image cannot be read or is shorter than it was.
            ConnectionLost: qemu, which reads for us, has gone.
        """

    def read_now(self, offset: int, buffer: memoryview) -> bool:
        """Fill a buffer if that takes no waiting; False, and it is undefined, if it would.

        Raises:
            DriveError: see ``read_into``.
        """
        return False

    @abstractmethod
    def close(self) -> None:
        """Give everything back; reads under way end with an error or with their bytes."""

    def _check(self, offset: int, count: int) -> None:
        if offset < 0 or count > self.size_bytes - offset:
            raise DriveError(f"{count} bytes at {offset} are not within a drive of {self.size_bytes}")


class LostReader(DiskReader):
    """A drive that nobody can read any more.

    Args:
        reason: what every read says.

    Attributes:
        reason: the same.
    """

    plane: ClassVar[str] = "lost"

    def __init__(self, size_bytes: int, reason: str) -> None:
        super().__init__(size_bytes)
        self.reason: Final = reason

    async def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fail."""
        raise DriveError(self.reason)

    def close(self) -> None:
        """Do nothing."""
