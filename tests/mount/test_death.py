"""The daemon dies, or falls silent, under a mount."""

import errno
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from guestmount_py.unmount import UNMOUNTED, unmount
from tests.mount.conftest import Mounted, mounted

_LARGE_BYTES: Final = 64 << 20
_EIO_WITHIN_S: Final = 30.0


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Mounted]:
    source = tmp_path / "source"
    (source / "directory").mkdir(parents=True)
    (source / "small").write_bytes(b"small")
    (source / "large").write_bytes(os.urandom(1 << 20) * (_LARGE_BYTES >> 20))
    with mounted(source, tmp_path) as served:
        yield served


def _kill(served: Mounted) -> None:
    for daemon in served.daemons:
        os.kill(daemon, signal.SIGKILL)


def test_everything_not_known_yet_answers_eio_at_once(victim: Mounted) -> None:
    _kill(victim)
    began = time.monotonic()
    for action in (
        lambda: os.listdir(victim.path),  # noqa: PTH208
        lambda: (victim.path / "small").stat(),
        lambda: os.statvfs(victim.path),
    ):
        with pytest.raises(OSError, match="Input/output error") as caught:
            action()
        assert caught.value.errno == errno.EIO
    assert time.monotonic() - began < _EIO_WITHIN_S
    assert os.path.ismount(victim.path)


def test_reader_gets_eio_in_the_middle_of_a_file(victim: Mounted) -> None:
    caught: list[OSError] = []
    reading = threading.Event()

    def read() -> None:
        with (victim.path / "large").open("rb", buffering=0) as file:
            try:
                while file.read(1 << 20):
                    reading.set()
            except OSError as exc:
                caught.append(exc)

    for daemon in victim.daemons[1:]:
        os.kill(daemon, signal.SIGSTOP)  # so that the end of the file cannot come first
    reader = threading.Thread(target=read)
    reader.start()
    for daemon in victim.daemons[1:]:
        os.kill(daemon, signal.SIGCONT)
    assert reading.wait(10)
    _kill(victim)
    reader.join(_EIO_WITHIN_S)
    assert not reader.is_alive()
    assert [exc.errno for exc in caught] in ([errno.EIO], [])  # [] if all of it had been read ahead


def test_waiting_reader_gets_eio(victim: Mounted) -> None:
    for daemon in victim.daemons:
        os.kill(daemon, signal.SIGSTOP)
    reader = subprocess.Popen(
        ["cat", victim.path / "large"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    _kill(victim)
    _, said = reader.communicate(timeout=_EIO_WITHIN_S)
    assert "Input/output error" in said


def test_what_is_left_unmounts(victim: Mounted) -> None:
    _kill(victim)
    assert unmount(victim.path) == UNMOUNTED
    assert victim.server.poll() is not None or victim.server.wait(30) == 0
    assert not os.path.ismount(victim.path)


def test_one_lost_channel_leaves_the_others_working(victim: Mounted) -> None:
    os.kill(victim.daemons[2], signal.SIGKILL)
    for _ in range(8):
        with (victim.path / "large").open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            with suppress(OSError):  # the call that finds out
                assert len(file.read()) == _LARGE_BYTES
    assert (victim.path / "large").read_bytes() == (victim.source / "large").read_bytes()
    assert (victim.path / "small").read_bytes() == b"small"
