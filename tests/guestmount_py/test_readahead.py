"""What the kernel is asked to read ahead of readers of an image."""

import ctypes
import mmap
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from guestmount_py.readahead import ReadAhead

_SIZE_BYTES: Final = 32 << 20
_READ_BYTES: Final = 128 << 10


@pytest.fixture
def cold(tmp_path: Path) -> Iterator[int]:
    """A file that the kernel has nothing of in memory."""
    path = tmp_path / "image"
    path.write_bytes(os.urandom(_SIZE_BYTES))
    descriptor = os.open(path, os.O_RDWR)
    os.fsync(descriptor)
    deadline_s = time.monotonic() + 10
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    while _pages(descriptor):
        assert time.monotonic() < deadline_s
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    yield descriptor
    os.close(descriptor)


def _pages(descriptor: int) -> set[int]:
    """Return the offsets of the pages that are in memory, by mincore(2): to try to read them would read ahead, too."""
    libc = ctypes.CDLL(None, use_errno=True)
    found = (ctypes.c_ubyte * (_SIZE_BYTES // mmap.PAGESIZE))()
    with mmap.mmap(descriptor, _SIZE_BYTES) as view:
        start = ctypes.c_ubyte.from_buffer(view)
        done = libc.mincore(ctypes.byref(start), ctypes.c_size_t(_SIZE_BYTES), found)
        del start
    assert done == 0, os.strerror(ctypes.get_errno())
    return {index * mmap.PAGESIZE for index, state in enumerate(found) if state & 1}


def _threads() -> int:
    return sum(thread.name == "readahead" for thread in threading.enumerate())


def test_what_comes_next_is_in_memory_when_a_reader_goes_forward(cold: int) -> None:
    ahead = ReadAhead(cold)
    for offset in range(0, 2 << 20, 2 * _READ_BYTES):  # with gaps, as between files
        ahead.note(offset, _READ_BYTES)
    ahead.close()
    assert _threads() == 0
    deadline_s = time.monotonic() + 10
    while 3 << 20 not in _pages(cold):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    assert max(_pages(cold)) < 24 << 20


def test_nothing_is_read_ahead_of_who_jumps_about(cold: int) -> None:
    ahead = ReadAhead(cold)
    for offset in (0, 20 << 20, 8 << 20, 28 << 20, 14 << 20):
        ahead.note(offset, _READ_BYTES)
    assert _threads() == 0
    ahead.close()
    assert not _pages(cold)
