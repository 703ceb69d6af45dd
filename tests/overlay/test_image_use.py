"""Locks that qemu and its tools respect, and that tell who has an image open."""

import subprocess
import sys
from pathlib import Path

import pytest

from appliance.image_use import READ, RESIZE, WRITE, check_unused, check_writable, denied
from rpc.errors import DriveError
from tests.guests.cache import run
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


@pytest.mark.parametrize(("flags", "is_refused"), [("r", False), ("r+", True), ("a", True)])
def test_process_that_may_write_is_seen(tmp_path: Path, flags: str, is_refused: bool) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(4096))
    program = f"file = open({str(image)!r}, {flags!r}); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        try:
            if is_refused:
                with pytest.raises(DriveError, match=f"in use by process {other.pid} \\(python.*\\): .* --ro"):
                    check_writable(image)
            else:
                check_writable(image)
        finally:
            other.communicate(b"\n")
    check_writable(image)


@pytest.mark.root
def test_use_by_the_hosts_kernel_is_seen(tmp_path: Path) -> None:
    image, mounted = tmp_path / "disk.img", tmp_path / "mounted"
    run("mke2fs", "-q", "-t", "ext4", image, "8M")
    mounted.mkdir()
    device = Path(run("losetup", "--find", "--show", image).strip())
    try:
        with pytest.raises(DriveError, match=f"is behind {device}: .* --ro"):
            check_writable(image)
        check_writable(device)
        run("mount", "-o", "ro", device, mounted)
        try:
            with pytest.raises(DriveError, match="is mounted here"):
                check_writable(device)
        finally:
            run("umount", mounted)
        check_writable(device)
    finally:
        run("losetup", "--detach", device)
    check_writable(image)
