"""What was promised cannot be written: everybody who has to know is told, once."""

import errno
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from tests.guests.cache import run
from tests.mount.conftest import Mounted, mounted, mounted_ext4
from tests.posix.actor import close_below
from tests.posix.syscalls import refused

ATTEMPTS: Final = 20
PROMISES: Final = 200

pytestmark = pytest.mark.root


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small filesystem, mounted."""
    with mounted_ext4(tmp_path, "64M") as root:
        yield root


@contextmanager
def served(disk: Path, scratch: Path, *, may_log: str, exit_status: int = 0) -> Iterator[Mounted]:
    """Mount the disk; a test that fails leaves nothing open, which could not be unmounted."""
    with mounted(disk, scratch, "--rw", may_log=may_log, exit_status=exit_status) as mount:
        try:
            yield mount
        finally:
            close_below(str(mount.path))


def _promise_in_vain(disk: Path, descriptor: int) -> None:
    """Write, and have the guest's filesystem allow no writing before it comes to that."""
    run("mount", "-o", "remount,ro", disk)
    try:
        os.write(descriptor, b"lost")
        with refused(errno.EROFS):
            os.fsync(descriptor)
    finally:
        run("mount", "-o", "remount,rw", disk)


def test_error_is_told_to_everybody_who_has_the_file_open(disk: Path, scratch: Path) -> None:
    with served(disk, scratch, may_log="promised and failed") as mount:
        first, second, third = (os.open(mount.path / "file", os.O_CREAT | os.O_RDWR) for _ in range(3))
        os.fsync(first)
        _promise_in_vain(disk, first)
        with refused(errno.EROFS):
            os.fsync(second)  # though the first was told
        with refused(errno.EROFS):
            os.close(third)
        later = os.open(mount.path / "file", os.O_RDWR)
        for descriptor in (first, second, later):
            os.fsync(descriptor)  # it is told once
            os.write(descriptor, b"kept")
            os.close(descriptor)
        assert (mount.path / "file").read_bytes() == b"keptkept"  # the first wrote behind what it had lost
    assert (disk / "file").read_bytes() == b"keptkept"


def _lost_without_a_word(disk: Path, path: Path) -> None:
    """Write in vain, with the file closed before anything has failed."""
    for _ in range(ATTEMPTS):
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
        os.fsync(descriptor)
        run("mount", "-o", "remount,ro", disk)
        try:
            os.write(descriptor, b"lost")
            os.close(descriptor)
        except OSError:
            continue
        else:
            assert path.stat().st_size == 0  # which waits for what was promised
            return
        finally:
            run("mount", "-o", "remount,rw", disk)
    pytest.fail("closing a file takes too long here")


def test_error_that_nobody_was_told_of_is_told_to_who_opens_the_file_next(disk: Path, scratch: Path) -> None:
    with served(disk, scratch, may_log="promised and failed") as mount:
        _lost_without_a_word(disk, mount.path / "file")
        descriptor = os.open(mount.path / "file", os.O_RDWR)
        with refused(errno.EROFS):
            os.fsync(descriptor)
        os.fsync(descriptor)


def test_unmounting_says_what_nobody_was_told_of(disk: Path, scratch: Path) -> None:
    with served(disk, scratch, may_log="promised and failed", exit_status=1) as mount:
        _lost_without_a_word(disk, mount.path / "file")


def test_fsync_of_a_directory_tells_what_could_not_be_made_in_it(disk: Path, scratch: Path) -> None:
    with served(disk, scratch, may_log="promised and failed", exit_status=1) as mount:
        directory = mount.path / "directory"
        directory.mkdir()
        descriptor = os.open(directory, os.O_RDONLY)
        run("mount", "-o", "remount,ro", disk)
        try:
            with suppress(OSError):  # if it was to be made before it was closed
                (directory / "file").touch()
            with refused(errno.EROFS):
                os.fsync(descriptor)
        finally:
            run("mount", "-o", "remount,rw", disk)
        os.fsync(descriptor)
        os.close(descriptor)
        assert not any(directory.iterdir())


def test_whoever_waits_for_a_promise_in_a_directory_is_answered_if_it_fails(disk: Path, scratch: Path) -> None:
    """The kernel is told that the name has gone, for which it locks the directory: we must not wait for that."""
    with served(disk, scratch, may_log="promised and failed", exit_status=1) as mount:
        directory = mount.path / "directory"
        directory.mkdir()
        (directory / "old").mkdir()
        run("mount", "-o", "remount,ro", disk)
        try:
            for number in range(PROMISES):
                with suppress(OSError):
                    (directory / f"{number}").touch()
            os.utime(directory)  # a promise too, for which what is made in the directory waits
            with refused(errno.EROFS):
                (directory / "old").rename(directory / "new")
        finally:
            run("mount", "-o", "remount,rw", disk)
        assert [path.name for path in directory.iterdir()] == ["old"]


def test_fsync_after_the_daemons_died_promises_nothing(disk: Path, scratch: Path) -> None:
    with served(disk, scratch, may_log=" ") as mount:
        synced, lost = (os.open(mount.path / name, os.O_CREAT | os.O_RDWR) for name in ("synced", "lost"))
        os.write(synced, b"synced")
        os.fsync(synced)
        os.write(synced, b"lost")
        os.write(lost, b"lost")
        for daemon in mount.daemons:
            os.kill(daemon, signal.SIGKILL)
        for descriptor in (synced, lost):
            with refused(errno.EIO):
                os.fsync(descriptor)
            with refused(errno.EIO):
                os.fsync(descriptor)
            os.close(descriptor)
        with refused(errno.EIO):
            (mount.path / "new").write_bytes(b"")
        assert mount.path.is_mount()
    assert (disk / "synced").read_bytes() == b"synced"
