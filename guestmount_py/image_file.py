"""A file or block device of the host's that holds an image, or a layer of one."""

import errno
import fcntl
import os
import struct
from pathlib import Path
from typing import Final

import trio

from appliance.image_state import ImageState, open_state
from guestmount_py.readahead import ReadAhead
from rpc.errors import DriveError

_FLOCK: Final = struct.Struct("@hhqqi4x")
"""struct flock of a 64-bit Linux: type, whence, start, length, process."""
_PERMISSION_BYTES_AT: Final = 100
_WRITING_BITS: Final = (1, 3)
"""qemu locks byte 100 + n of an image while it holds permission n: RAW_LOCK_PERM_BASE (qemu: block/file-posix.c),
BLK_PERM_WRITE and BLK_PERM_RESIZE (include/block/block-common.h)."""
_AROUND_BITS: Final = (1, 3)
"""First of those bytes, and how many from it on hold all of them: mostly none is locked, which one question tells."""


class ImageFile:
    """An open image, read without a thread where the host has the bytes in memory.

    Args:
        path: its name.
        before: what it was when it was looked at first; None if that is now.

    Attributes:
        path: the same.
        size_bytes: its length then; what lies behind it reads as zeros, as it does for qemu.

    Raises:
        DriveError: it cannot be opened.
    """

    def __init__(self, path: Path, before: ImageState | None = None) -> None:
        self.path: Final = path
        self._waits = False
        """The filesystem knows no reading without waiting."""
        self._threads = 0
        self._closed = False
        try:
            self._fd: Final = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as exc:
            raise DriveError(f"{path}: cannot be opened: {exc.strerror}") from exc
        try:
            self._before: Final = before or open_state(path, self._fd)
        except BaseException:
            os.close(self._fd)
            raise
        self.size_bytes: Final = self._before.size_bytes
        self._ahead: Final = ReadAhead(self._fd)

    def read_now(self, offset: int, buffer: memoryview) -> bool:
        """Fill a buffer if all its bytes are in memory; False, and it is undefined, if not.

        Raises:
            DriveError: they cannot be read.
        """
        if self._waits or self._closed:
            return False
        self._ahead.note(offset, len(buffer))
        try:
            return os.preadv(self._fd, (buffer,), offset, os.RWF_NOWAIT) == len(buffer)
        except BlockingIOError:
            return False
        except OSError as exc:
            if exc.errno != errno.EOPNOTSUPP:
                raise self._error(exc) from exc
            self._waits = True
            return False

    async def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill a buffer with the bytes at ``offset``.

        Cancellation: waits for the thread, if there is one.

        Raises:
            DriveError: they cannot be read, or the file is shorter than it was.
        """
        if not self.read_now(offset, buffer):
            await self._read_waiting(offset, buffer)

    async def _read_waiting(self, offset: int, buffer: memoryview) -> None:
        if self._closed:
            raise DriveError(f"{self.path}: was closed")
        inside = max(0, min(len(buffer), self.size_bytes - offset))
        buffer[inside:] = bytes(len(buffer) - inside)
        if not inside:
            return
        self._threads += 1
        try:
            done = await trio.to_thread.run_sync(_fill, self._fd, buffer[:inside], offset)
        except OSError as exc:
            raise self._error(exc) from exc
        finally:
            self._threads -= 1
            self._close_when_idle()
        if done < inside:
            raise DriveError(f"{self.path}: ends at {offset + done}: it was truncated from {self.size_bytes} bytes")

    def is_being_written(self) -> bool:
        """Tell whether a qemu (or qemu-img, qemu-nbd …) has it open for writing, by the locks they all take.

        Raises:
            DriveError: the filesystem knows no locks.
        """
        return self._is_locked(*_AROUND_BITS) and any(self._is_locked(bit, 1) for bit in _WRITING_BITS)

    def _is_locked(self, bit: int, count: int) -> bool:
        wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _PERMISSION_BYTES_AT + bit, count, 0)
        try:
            answer = fcntl.fcntl(self._fd, fcntl.F_OFD_GETLK, wanted)
        except OSError as exc:
            raise self._error(exc) from exc
        return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)

    def change(self) -> str | None:
        """Return what happened to it since it was looked at first; None if nothing did, as far as can be told.

        Locks show qemu's programs while they may write. The time of the last modification shows all others too, but
        only when they have written, and not those that write to a block device, or through a mapping of the file.
        It costs two system calls, 2 µs.

        Raises:
            DriveError: it is shorter than it was, or cannot be looked at.
        """
        if self._closed:
            raise DriveError(f"{self.path}: was closed")
        if self.is_being_written():
            return f"another process has {self.path} open for writing"
        now = open_state(self.path, self._fd)
        loss = self._before.loss(now)
        if loss is not None:
            raise DriveError(loss)
        return self._before.change(now)

    def loss(self) -> str | None:
        """Return by how much it is shorter than it was, None if it is not.

        Raises:
            DriveError: it cannot be looked at.
        """
        return self._before.loss(open_state(self.path, self._fd))

    def is_open_in(self, pid: int) -> bool:
        """Tell whether a process has this very file open; another may have its name by now."""
        own = os.fstat(self._fd)
        try:
            names = list(Path(f"/proc/{pid}/fd").iterdir())
        except OSError:
            return False
        return any(_is_same(own, name) for name in names)

    def close(self) -> None:
        """Close it, once no thread reads it."""
        if not self._closed:
            self._closed = True
            self._close_when_idle()

    def _close_when_idle(self) -> None:
        if self._closed and not self._threads:
            self._ahead.close()
            os.close(self._fd)

    def _error(self, exc: OSError) -> DriveError:
        return DriveError(f"{self.path}: cannot be read: {exc.strerror}")


def _fill(fd: int, buffer: memoryview, offset: int) -> int:
    """Read until the buffer is full or the file ends; return how much was read."""
    done = 0
    while done < len(buffer):
        count = os.preadv(fd, (buffer[done:],), offset + done)
        if not count:
            break
        done += count
    return done


def _is_same(own: os.stat_result, path: Path) -> bool:
    try:
        return os.path.samestat(own, path.stat())
    except OSError:
        return False  # closed meanwhile
