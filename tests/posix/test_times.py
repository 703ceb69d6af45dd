"""Time stamps: what sets them, and which of them each call moves."""

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.posix.actor import Actor
from tests.posix.conftest import ALICE
from tests.posix.syscalls import RENAME_EXCHANGE, UTIME_NOW, UTIME_OMIT, refused, renameat2, utimensat
from tests.posix.worlds import STANDARD

OLD: Final = (1_000_000_000, 123_456_789)
OLD_NS: Final = 1_000_000_000_123_456_789
LATER_S: Final = 0.03
"""Longer than a tick of either kernel, whose clock stamps files."""
CLOCKS_APART_NS: Final = 5_000_000_000
"""How far the guest's clock may be from ours."""


@pytest.fixture(autouse=True)
def inside(place: Path) -> None:
    """Work in the directory, where there is one of each."""
    os.chdir(place)
    Path("file").write_bytes(b"contents")
    os.setxattr("file", "user.old", b"old")
    Path("second").write_bytes(b"second")
    Path("link").symlink_to("file")
    Path("directory/below").mkdir(parents=True)
    Path("directory/inner").touch()
    Path("elsewhere").mkdir()


@pytest.mark.parametrize("seconds", [0, 1, -1, -2_000_000_000, 1_700_000_000, 2_147_483_648, 4_102_444_800])
@pytest.mark.parametrize("name", ["file", "directory", "link"])
def test_times_are_kept_to_the_nanosecond(name: str, seconds: int) -> None:
    utimensat(name, (seconds, 1), (seconds, 999_999_999), follow=False)
    info = os.lstat(name)
    assert info.st_atime_ns == seconds * 10**9 + 1
    assert info.st_mtime_ns == seconds * 10**9 + 999_999_999


def test_omitted_times_stay_and_now_is_now() -> None:
    utimensat("file", OLD, OLD)
    utimensat("file", (0, UTIME_OMIT), (5, 6))
    assert (os.lstat("file").st_atime_ns, os.lstat("file").st_mtime_ns) == (OLD_NS, 5_000_000_006)
    utimensat("file", (7, 8), (0, UTIME_OMIT))
    assert (os.lstat("file").st_atime_ns, os.lstat("file").st_mtime_ns) == (7_000_000_008, 5_000_000_006)
    before = os.lstat("file")
    utimensat("file", (0, UTIME_OMIT), (0, UTIME_OMIT))
    assert os.lstat("file") == before
    utimensat("file", (0, UTIME_NOW), (0, UTIME_OMIT))
    assert abs(os.lstat("file").st_atime_ns - time.time_ns()) < CLOCKS_APART_NS
    assert os.lstat("file").st_mtime_ns == 5_000_000_006
    utimensat("file", (0, UTIME_OMIT), (0, UTIME_NOW))
    assert abs(os.lstat("file").st_mtime_ns - time.time_ns()) < CLOCKS_APART_NS


def test_nanoseconds_that_are_none() -> None:
    with refused(errno.EINVAL):
        utimensat("file", (0, 1_000_000_000), OLD)
    with refused(errno.EINVAL):
        utimensat("file", OLD, (0, -1))


def test_writer_who_is_not_the_owner_may_only_set_now(alice: Actor, place: Path) -> None:
    alice.call(os.chdir, place)
    os.chmod("file", 0o666)
    utimensat("file", OLD, OLD)
    alice.call(utimensat, "file", (0, UTIME_NOW), (0, UTIME_NOW))
    assert abs(os.lstat("file").st_mtime_ns - time.time_ns()) < CLOCKS_APART_NS
    for atime, mtime in (((0, UTIME_NOW), (0, UTIME_OMIT)), (OLD, OLD), ((0, UTIME_OMIT), (0, UTIME_NOW))):
        with refused(errno.EPERM):
            alice.call(utimensat, "file", atime, mtime)
    os.chown("file", ALICE, ALICE)
    alice.call(utimensat, "file", OLD, OLD)
    assert os.lstat("file").st_mtime_ns == OLD_NS


def _write(name: str) -> None:
    with Path(name).open("r+b", buffering=0) as file:
        file.write(b"x")


def _write_nothing(name: str) -> None:
    with Path(name).open("r+b", buffering=0) as file:
        file.write(b"")


def _create(name: str) -> None:
    os.close(os.open(name, os.O_CREAT | os.O_WRONLY))


def _open_truncating(name: str) -> None:
    os.close(os.open(name, os.O_WRONLY | os.O_TRUNC))


def _ftruncate(name: str, size: int) -> None:
    with Path(name).open("r+b") as file:
        os.ftruncate(file.fileno(), size)


MOVING: Final[dict[str, tuple[Callable[[], object], dict[str, str]]]] = {
    "write": (lambda: _write("file"), {"file": "mc"}),
    "write nothing": (lambda: _write_nothing("file"), {}),
    "read": (lambda: Path("file").read_bytes(), {}),
    "list": (lambda: os.listdir("directory"), {}),
    "create": (lambda: _create("directory/new"), {"directory": "mc"}),
    "create what is there": (lambda: _create("directory/inner"), {}),
    "open truncating": (lambda: _open_truncating("file"), {"file": "mc"}),
    "open truncating what is empty": (lambda: _open_truncating("directory/inner"), {"directory/inner": "mc"}),
    "truncate": (lambda: os.truncate("file", 3), {"file": "mc"}),
    "ftruncate to the same size": (lambda: _ftruncate("file", 8), {"file": "mc"}),
    "extend": (lambda: os.truncate("file", 30_000), {"file": "mc"}),
    "chmod": (lambda: os.chmod("file", 0o600), {"file": "c"}),
    "chown": (lambda: os.chown("file", 1, 1), {"file": "c"}),
    "lchown": (lambda: os.lchown("link", 1, 1), {"link": "c"}),
    "setxattr": (lambda: os.setxattr("file", "user.new", b"new"), {"file": "c"}),
    "removexattr": (lambda: os.removexattr("file", "user.old"), {"file": "c"}),
    "utimes": (lambda: os.utime("file", (1, 1)), {"file": "mc"}),
    "link": (lambda: os.link("file", "directory/twin"), {"file": "c", "directory": "mc"}),
    "unlink": (lambda: os.unlink("directory/inner"), {"directory": "mc", "directory/inner": "c"}),
    "symlink": (lambda: os.symlink("x", "directory/link"), {"directory": "mc"}),
    "mkdir": (lambda: os.mkdir("directory/new"), {"directory": "mc"}),
    "rmdir": (lambda: os.rmdir("directory/below"), {"directory": "mc", "directory/below": "c"}),
    "mkfifo": (lambda: os.mkfifo("directory/fifo"), {"directory": "mc"}),
    "rename": (
        lambda: os.rename("directory/inner", "elsewhere/inner"),
        {"directory": "mc", "elsewhere": "mc", "directory/inner": "c"},
    ),
    "rename a directory": (
        lambda: os.rename("directory/below", "elsewhere/below"),
        {"directory": "mc", "elsewhere": "mc", "directory/below": "c"},
    ),
    "rename over": (
        lambda: os.rename("file", "directory/inner"),
        {"directory": "mc", "file": "c", "directory/inner": "c", ".": "mc"},
    ),
    "exchange": (
        lambda: renameat2("file", "directory/inner", RENAME_EXCHANGE),
        {"directory": "mc", "file": "c", "directory/inner": "c", ".": "mc"},
    ),
    "refused mkdir": (lambda: _fails(lambda: os.mkdir("directory/below")), {}),
    "refused rmdir": (lambda: _fails(lambda: os.rmdir("directory")), {}),
}


def _fails(call: Callable[[], object]) -> None:
    with pytest.raises(OSError, check=lambda exc: exc.errno in (errno.EEXIST, errno.ENOTEMPTY)):
        call()


@pytest.mark.parametrize("call", MOVING)
def test_each_call_moves_its_times_and_no_others(call: str, filesystem: str, world_kind: str) -> None:
    action, expected = MOVING[call]
    if (call, world_kind) == ("exchange", STANDARD):
        with refused(errno.EINVAL):
            action()
        return
    if (call, filesystem) == ("exchange", "xfs"):
        expected = {".": "mc", "directory": "mc"}
    watched = (".", "file", "second", "link", "directory", "directory/below", "directory/inner", "elsewhere")
    descriptors = {name: os.open(name, os.O_PATH | os.O_NOFOLLOW) for name in watched}
    try:
        for name in watched:
            os.utime(name, ns=(OLD_NS, OLD_NS), follow_symlinks=False)
        before = {name: os.fstat(descriptor) for name, descriptor in descriptors.items()}
        time.sleep(LATER_S)
        action()
        moved = {}
        for name, descriptor in descriptors.items():
            old, new = before[name], os.fstat(descriptor)
            letters = "m" * (new.st_mtime_ns != old.st_mtime_ns) + "c" * (new.st_ctime_ns != old.st_ctime_ns)
            if letters:
                moved[name] = letters
                assert new.st_ctime_ns > old.st_ctime_ns
                assert abs(new.st_ctime_ns - time.time_ns()) < CLOCKS_APART_NS
        assert moved == expected
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)


def test_what_was_written_first_is_older() -> None:
    """As make(1) has it; and so are the file's own times in order when data are written after they were set."""
    for number in range(5):
        Path("source").write_bytes(b"new")
        time.sleep(LATER_S)
        Path("second").touch()
        assert Path("source").stat().st_mtime_ns < Path("second").stat().st_mtime_ns, number
        with open("source", "ab") as file:
            utimensat("source", OLD, OLD)
            file.write(b"er")
        time.sleep(LATER_S)
        Path("second").touch()
        assert OLD_NS < Path("source").stat().st_mtime_ns < Path("second").stat().st_mtime_ns, number


def test_long_file_is_as_old_as_its_last_byte() -> None:
    with open("source", "wb", buffering=0) as file:
        file.writelines(bytes(1 << 20) for _ in range(80))  # more than may be pending
    time.sleep(LATER_S)
    Path("second").touch()
    assert Path("source").stat().st_mtime_ns < Path("second").stat().st_mtime_ns
    utimensat("source", OLD, OLD)
    assert Path("source").stat().st_mtime_ns == OLD_NS
