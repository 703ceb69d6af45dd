"""Long data that the host hands over on a disk, for which the channel is too slow."""

import mmap
import os
import time
from contextlib import suppress
from errno import EIO
from functools import cache
from typing import Final

from daemon.devices import labelled_disks
from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import constants, procedures
from rpc.procedures.writing import OpenMailboxArgs

_SECTOR_BYTES: Final = 512
_HUGE_BYTES: Final = 2 << 20
_MAILBOX_S: Final = 30.0


class Mailbox:
    """A disk that the host writes to and we read from, past the kernel's cache."""

    def __init__(self, name: str) -> None:
        self._disk: Final = os.open(f"/dev/{name}", os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
        self.size_bytes: Final = os.lseek(self._disk, 0, os.SEEK_END)
        self._buffer: Final = _huge_pages(constants.MAILBOX_SLOT_BYTES)

    def read(self, place: int, length: int) -> memoryview:
        """Return what lies at a place; it is good until the next reading."""
        rounded = length + -length % _SECTOR_BYTES
        if rounded > len(self._buffer) or os.preadv(self._disk, (self._buffer[:rounded],), place) < length:
            raise OSError(EIO, f"{length} bytes at {place} are not in the mailbox")
        return self._buffer[:length]


def _huge_pages(size_bytes: int) -> memoryview:
    """Return memory in huge pages if there are any: the kernel has fewer to pin for each reading and writing."""
    from ctypes import addressof, c_char

    memory = mmap.mmap(-1, size_bytes + _HUGE_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel that has none
        memory.madvise(mmap.MADV_HUGEPAGE)
    start = -addressof(c_char.from_buffer(memory)) % _HUGE_BYTES
    return memoryview(memory)[start : start + size_bytes]


@cache
def mailbox() -> Mailbox:
    """Return the mailbox; raises CallError if there is none."""
    name = labelled_disks().get(constants.MAILBOX_SERIAL)
    if name is None:
        raise CallError("there is no mailbox")
    return Mailbox(name)


@handles(procedures.OPEN_MAILBOX)
def open_mailbox(_session: Session, args: OpenMailboxArgs) -> int:
    """Wait for the disk that is the mailbox; return its size in bytes."""
    if args.serial != constants.MAILBOX_SERIAL:
        raise CallError(f"{args.serial} is not what a mailbox is called")
    end_s = time.monotonic() + _MAILBOX_S
    while time.monotonic() < end_s:
        with suppress(CallError, FileNotFoundError):
            return mailbox().size_bytes
        time.sleep(0.005)
    raise CallError("the mailbox does not come")
