"""Having the host write images out while data come: at an fsync there is less left that somebody waits for."""

import ctypes
import os
import stat
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import trio

from guestmount_py.log import logger

EACH_BYTES: Final = 16 << 20
_SYNC_FILE_RANGE_WRITE: Final = 2
"""Begin to write what is dirty, and wait for none of it, though perhaps for a busy disk (sync_file_range(2))."""
_CAN_BE_WRITTEN_OUT: Final = (stat.S_IFREG, stat.S_IFBLK)


class WriteOut:
    """Counts what the guest was given. It promises nothing: an error of the disk is still told to qemu's fdatasync(2).

    Args:
        images: and a descriptor of each; closing them is the caller's business.
    """

    def __init__(self, images: Mapping[Path, int]) -> None:
        self._images: Final = dict(images)
        self._given_bytes = 0
        self._enough = trio.Event()
        self._sync_file_range: Final = ctypes.CDLL(None, use_errno=True).sync_file_range
        self._sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)

    def note(self, count: int) -> None:
        """Note that the guest has written so many bytes more."""
        self._given_bytes += count
        if self._given_bytes >= EACH_BYTES:
            self._given_bytes = 0
            self._enough.set()

    async def run(self) -> None:
        """Have the host begin to write each time that there is enough, until cancelled."""
        while True:
            await self._enough.wait()
            self._enough = trio.Event()
            with suppress(RuntimeError):  # there may be no more threads, for now
                await trio.to_thread.run_sync(self._begin, abandon_on_cancel=True)

    def _begin(self) -> None:
        for image, descriptor in self._images.items():
            if self._sync_file_range(descriptor, 0, 0, _SYNC_FILE_RANGE_WRITE):
                logger.error(
                    "%s: what was written to it cannot be written out: %s", image, os.strerror(ctypes.get_errno())
                )


@asynccontextmanager
async def opened_write_out(images: Iterable[Path]) -> AsyncIterator[WriteOut]:
    """Own what has images written out while the block runs."""
    with ExitStack() as stack:
        opened = {}
        for image in images:
            with suppress(OSError):  # it is only the faster way
                descriptor = os.open(image, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                stack.callback(os.close, descriptor)
                if stat.S_IFMT(os.fstat(descriptor).st_mode) in _CAN_BE_WRITTEN_OUT:
                    opened[image] = descriptor
        async with trio.open_nursery() as nursery:
            write_out = WriteOut(opened)
            nursery.start_soon(write_out.run)
            yield write_out
            nursery.cancel_scope.cancel()
