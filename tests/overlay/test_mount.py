"""A mount with --overlay: writes go to the overlay, the image stays as it was, and a commit brings them there."""

import hashlib
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from guestmount_py.unmount import UNMOUNTED, unmount
from tests.guests.cache import run
from tests.overlay.conftest import Place
from tests.overlay.disk import bitmaps, dirty, overlay_program, program

pytestmark = [
    pytest.mark.appliance,
    pytest.mark.fuse,
    pytest.mark.root,
    pytest.mark.usefixtures("appliance_files"),
]


@contextmanager
def _mounted(place: Place, *options: str | Path) -> Iterator[Path]:
    path = place.directory / "mnt"
    path.mkdir(exist_ok=True)
    done = program("cli", "-a", place.base, "-m", "/dev/sda1", "--overlay", place.overlay, *options, path)
    assert (done.returncode, done.stderr) == (0, "")
    try:
        yield path
    finally:
        assert unmount(path) == UNMOUNTED


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


def _write(mnt: Path) -> None:
    (mnt / "etc/passwd").write_text("written\n")
    (mnt / "new").write_bytes(b"new" * 100_000)
    (mnt / "etc/mode").chmod(0o600)
    (mnt / "gone/deep/file").unlink()


_CHANGES = [
    "changed\tmode\t/dev/sda1:/etc/mode",
    "changed\tcontent,times\t/dev/sda1:/etc/passwd",
    "removed\tfile\t/dev/sda1:/gone/deep/file",
    "added\tfile\t/dev/sda1:/new",
]


def test_overlay_is_filled_shown_and_merged(guests: Place) -> None:
    run("qemu-img", "bitmap", "--add", "-g", "4096", guests.base, "daily")
    before = _digest(guests.base)
    with _mounted(guests, "--rw") as mnt:
        _write(mnt)
    assert _digest(guests.base) == before
    with _mounted(guests, "--ro") as mnt:
        assert (mnt / "etc/passwd").read_text() == "written\n"
        assert (mnt / "new").read_bytes() == b"new" * 100_000
    with _mounted(guests, "--rw") as mnt:
        (mnt / "usr/again").write_text("again")
        done = overlay_program("commit", guests.overlay)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "is in use by process" in done.stderr
    done = overlay_program("diff", guests.overlay)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [*_CHANGES, "added\tfile\t/dev/sda1:/usr/again"]
    assert _digest(guests.base) == before
    assert bitmaps(guests.overlay) == {"daily": ["auto"]}
    written = dirty(guests.overlay, "daily")
    done = program("cli", "overlay", "commit", guests.overlay)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert dirty(guests.base, "daily") == written
    assert not guests.overlay.exists()
    with _mounted(guests, "--rw") as mnt:  # a new one, of the image as it is now
        assert (mnt / "usr/again").read_text() == "again"
        _check_written(mnt)
    run("qemu-img", "check", guests.base)


def _check_written(mnt: Path) -> None:
    assert (mnt / "etc/passwd").read_text() == "written\n"
    assert (mnt / "new").read_bytes() == b"new" * 100_000
    assert not (mnt / "gone/deep/file").exists()


def test_killed_mount_leaves_an_overlay_whose_commit_misses_nothing(guests: Place) -> None:
    """What was synced is there; its bitmap is lost, so the base's gets all that the overlay has."""
    run("qemu-img", "bitmap", "--add", "-g", "4096", guests.base, "daily")
    pid_file = guests.directory / "pid"
    mnt = guests.directory / "mnt"
    mnt.mkdir()
    done = program(
        "cli", *("-a", guests.base, "-m", "/dev/sda1", "--overlay", guests.overlay, "--rw", "--pid-file", pid_file, mnt)
    )
    assert (done.returncode, done.stderr) == (0, "")
    _write(mnt)
    for name in ("new", "etc/passwd"):
        descriptor = os.open(mnt / name, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    os.kill(int(pid_file.read_text()), signal.SIGKILL)
    run("fusermount3", "-u", mnt)
    while (done := program("cli", "overlay", "commit", guests.overlay)).returncode and "in use" in done.stderr:
        pass  # qemu is about to die
    assert (done.returncode, done.stderr) == (0, "")
    assert bitmaps(guests.base) == {"daily": ["auto"]}
    assert dirty(guests.base, "daily")
    run("qemu-img", "check", guests.base)
    with _mounted(guests, "--rw") as mnt:
        assert (mnt / "etc/passwd").read_text() == "written\n"
        assert (mnt / "new").read_bytes() == b"new" * 100_000


def test_full_host_reaches_the_writer_and_the_mount_survives(guests: Place, thin_disk: Path) -> None:
    thin = Place(guests.directory, guests.base, thin_disk / "overlay.qcow2")
    with _mounted(thin, "--rw") as mnt:
        _write_durably(mnt / "small", b"small" * 100_000)
        with pytest.raises(OSError, match="No space left"):
            _write_durably(mnt / "large", os.urandom(20 << 20))
        assert (mnt / "etc/passwd").read_text() == "passwd\n" * 100
        (mnt / "large").unlink()
        filler = thin_disk / "filler"
        filler.write_bytes(bytes(8 << 20))
        with pytest.raises(OSError, match="No space left"):
            (mnt / "name").mkdir()
        filler.unlink()
        _write_durably(mnt / "later", b"later")
    run("qemu-img", "check", thin.overlay)
    with _mounted(thin, "--ro") as mnt:
        assert (mnt / "small").read_bytes() == b"small" * 100_000
        assert (mnt / "later").read_bytes() == b"later"


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--ro",), 1, "No such file or directory: give the name of an overlay"),
        (("--rw", "--overlay", "second"), 2, "--overlay: give one for each -a"),
        (("--rw", "-a", "second"), 2, "--overlay: give one for each -a"),
    ],
)
def test_wrong_use_is_one_line(guests: Place, words: tuple[str, ...], status: int, said: str) -> None:
    mnt = guests.directory / "mnt"
    mnt.mkdir()
    done = program("cli", "-a", guests.base, "-m", "/dev/sda1", "--overlay", guests.overlay, *words, mnt)
    assert (done.returncode, done.stderr.count("\n")) == (status, 1)
    assert said in done.stderr
    assert not guests.overlay.exists()


def test_directory_may_be_called_overlay(guests: Place) -> None:
    """The word is the name of a command only if a command's word follows."""
    done = program("cli", "overlay", "-a", guests.base)
    assert done.returncode == 2
    assert "nothing to mount" in done.stderr
    assert "usage: guestmount-py overlay diff" in program("cli", "overlay", "--help").stdout
    assert program("cli", "overlay").returncode == 2
