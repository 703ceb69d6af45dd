"""Locks that qemu and its tools respect, and that tell who has an image open."""

import subprocess
from pathlib import Path

import pytest

from appliance.image_use import READ, RESIZE, WRITE, check_unused, denied
from rpc.errors import DriveError
from tests.overlay.conftest import Place
from tests.overlay.disk import opened

_WRITE = ("qemu-io", "-f", "qcow2", "-c", "write 0 4k")
_ONLY_READ = ("qemu-io", "-r", "-f", "qcow2", "-c", "read 0 4k")


def _run(command: tuple[str, ...], image: Path) -> str:
    done = subprocess.run([*command, image], capture_output=True, text=True)
    return done.stdout + done.stderr


def test_nobody_writes_while_writing_is_denied(place: Place) -> None:
    with denied(place.base, WRITE, RESIZE):
        assert 'Failed to get "write" lock' in _run(_WRITE, place.base)
        assert "read 4096/4096" in _run(_ONLY_READ, place.base)
    assert "wrote 4096/4096" in _run(_WRITE, place.base)


def test_nobody_reads_while_reading_is_denied(place: Place) -> None:
    with denied(place.base, READ, WRITE, RESIZE):
        assert "Failed to get" in _run(_ONLY_READ, place.base)


def test_writer_is_seen_and_reader_is_not_when_only_writing_is_denied(place: Place) -> None:
    with (
        opened(place.base) as pid,
        pytest.raises(DriveError, match=f"in use by process {pid}"),
        denied(place.base, WRITE, RESIZE),
    ):
        pass
    with opened(place.base, writable=False), denied(place.base, WRITE, RESIZE):
        pass


def test_reader_is_seen_when_nobody_may_have_it(place: Place) -> None:
    check_unused(place.base)
    with opened(place.base, writable=False) as pid, pytest.raises(DriveError, match=f"in use by process {pid}"):
        check_unused(place.base)


def test_one_at_a_time_works_alone(place: Place) -> None:
    with denied(place.base, WRITE, alone=True):
        with pytest.raises(DriveError, match="in use by another process"), denied(place.base, WRITE, alone=True):
            pass
        with denied(place.base, WRITE):
            pass
    with denied(place.base, WRITE, alone=True):
        pass


def test_image_that_is_missing_is_one_clear_line(place: Place) -> None:
    with pytest.raises(DriveError, match="cannot be opened: No such file"), denied(place.overlay, WRITE):
        pass
