"""What the kernel is asked to read ahead of readers of an image."""

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
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    yield descriptor
    os.close(descriptor)


def _is_there(descriptor: int, offset: int) -> bool:
    try:
        return os.preadv(descriptor, (bytearray(4096),), offset, os.RWF_NOWAIT) == 4096
    except BlockingIOError:
        return False


def _threads() -> int:
    return sum(thread.name == "readahead" for thread in threading.enumerate())


def test_what_comes_next_is_in_memory_when_a_reader_goes_forward(cold: int) -> None:
    ahead = ReadAhead(cold)
    for offset in range(0, 2 << 20, 2 * _READ_BYTES):  # with gaps, as between files
        ahead.note(offset, _READ_BYTES)
    ahead.close()
    assert _threads() == 0
    deadline_s = time.monotonic() + 10
    while not _is_there(cold, 3 << 20):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    assert not _is_there(cold, 24 << 20)


def test_nothing_is_read_ahead_of_who_jumps_about(cold: int) -> None:
    ahead = ReadAhead(cold)
    for offset in (0, 20 << 20, 8 << 20, 28 << 20, 14 << 20):
        ahead.note(offset, _READ_BYTES)
    assert _threads() == 0
    ahead.close()
    assert not any(_is_there(cold, offset << 20) for offset in range(1, 32, 3))
