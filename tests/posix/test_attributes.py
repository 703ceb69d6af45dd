"""chmod, chown, truncate and what they do to set-user-ID bits and capabilities."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.mount.source import CAPABILITY
from tests.posix.actor import Actor
from tests.posix.conftest import ALICE, BOB, FRIENDS
from tests.posix.syscalls import forget_files, refused


@pytest.fixture(autouse=True)
def inside(place: Path, alice: Actor, bob: Actor) -> None:
    """Work in the directory, everybody."""
    os.chdir(place)
    for actor in (alice, bob):
        actor.call(os.chdir, place)
    Path("file").write_bytes(b"contents")


def mode_of(name: str) -> int:
    return stat.S_IMODE(os.lstat(name).st_mode)


@pytest.mark.parametrize("mode", [0, 0o644, 0o4755, 0o2755, 0o6711, 0o1777, 0o7777])
def test_chmod_sets_all_twelve_bits(mode: int) -> None:
    os.mkdir("directory")
    for name in ("file", "directory"):
        os.chmod(name, mode)
        assert mode_of(name) == mode
    descriptor = os.open("file", os.O_RDONLY)
    os.fchmod(descriptor, 0o612)
    os.close(descriptor)
    assert mode_of("file") == 0o612


def test_chown_sets_both_or_one() -> None:
    Path("link").symlink_to("file")
    os.chown("file", 123, 4_000_000_000)
    assert (os.lstat("file").st_uid, os.lstat("file").st_gid) == (123, 4_000_000_000)
    os.chown("link", -1, 7)
    os.chown("link", 8, -1)
    assert (os.lstat("file").st_uid, os.lstat("file").st_gid) == (8, 7)
    os.lchown("link", 9, 10)
    assert (os.lstat("link").st_uid, os.lstat("link").st_gid) == (9, 10)
    assert (os.lstat("file").st_uid, os.lstat("file").st_gid) == (8, 7)


def test_new_things_belong_to_who_makes_them(alice: Actor) -> None:
    descriptor = alice.call(os.open, "created", os.O_CREAT | os.O_WRONLY, 0o666)
    alice.call(os.close, descriptor)
    alice.call(os.mkdir, "made")
    alice.call(os.symlink, "x", "linked")
    alice.call(os.mknod, "node", stat.S_IFREG | 0o600)
    alice.call(os.mkfifo, "fifo")
    for name in ("created", "made", "linked", "node", "fifo"):
        assert (os.lstat(name).st_uid, os.lstat(name).st_gid) == (ALICE, ALICE)
    assert mode_of("created") == 0o644
    assert mode_of("made") == 0o755


def test_umask_is_the_callers_own(place: Path) -> None:
    for umask in (0, 0o027, 0o077, 0o777):
        with Actor(ALICE, ALICE, umask=umask) as actor:
            actor.call(os.chdir, place)
            actor.call(os.close, actor.call(os.open, f"file-{umask}", os.O_CREAT | os.O_WRONLY, 0o6777))
            actor.call(os.mkdir, f"directory-{umask}")
            actor.call(os.mkfifo, f"fifo-{umask}")
        assert mode_of(f"file-{umask}") == 0o6777 & ~umask
        assert mode_of(f"directory-{umask}") == 0o777 & ~umask
        assert mode_of(f"fifo-{umask}") == 0o666 & ~umask


def test_setgid_directory_hands_on_its_group(alice: Actor) -> None:
    os.mkdir("shared")
    os.chown("shared", 0, FRIENDS)
    os.chmod("shared", 0o2777)
    alice.call(os.close, alice.call(os.open, "shared/file", os.O_CREAT | os.O_WRONLY, 0o2775))
    alice.call(os.mkdir, "shared/below")
    alice.call(os.symlink, "x", "shared/link")
    for name in ("shared/file", "shared/below", "shared/link"):
        assert (os.lstat(name).st_uid, os.lstat(name).st_gid) == (ALICE, FRIENDS)
    assert mode_of("shared/below") == 0o2755
    assert mode_of("shared/file") == 0o2755
    with Actor(BOB, BOB) as stranger:  # not of the group: no program of its file may run as the group
        stranger.call(os.chdir, Path.cwd())
        stranger.call(os.close, stranger.call(os.open, "shared/theirs", os.O_CREAT | os.O_WRONLY, 0o2775))
    assert os.lstat("shared/theirs").st_gid == FRIENDS
    assert mode_of("shared/theirs") == 0o755


def test_setgid_directory_hands_on_roots_group_too(alice: Actor, place: Path) -> None:
    os.mkdir("shared")
    os.chmod("shared", 0o2777)
    alice.call(os.close, alice.call(os.open, "shared/promised", os.O_CREAT | os.O_WRONLY))
    alice.call(os.mkdir, "shared/below")
    alice.call(os.symlink, "x", "shared/link")
    forget_files()
    alice.call(os.mkfifo, "shared/fifo")
    alice.call(os.close, alice.call(os.open, "shared/file", os.O_CREAT | os.O_WRONLY))
    for path in (place / "shared").iterdir():
        assert (path.lstat().st_uid, path.lstat().st_gid) == (ALICE, 0)


def test_owner_changes_mode_and_group_and_nobody_else_does(alice: Actor, bob: Actor) -> None:
    os.chown("file", ALICE, ALICE)
    alice.call(os.chmod, "file", 0o640)
    alice.call(os.chown, "file", -1, FRIENDS)
    assert (os.lstat("file").st_gid, mode_of("file")) == (FRIENDS, 0o640)
    for who, uid, gid in ((alice, BOB, -1), (alice, -1, 0), (bob, -1, FRIENDS), (bob, BOB, -1)):
        with refused(errno.EPERM):
            who.call(os.chown, "file", uid, gid)
    with refused(errno.EPERM):
        bob.call(os.chmod, "file", 0o666)
    with refused(errno.EPERM):
        bob.call(os.utime, "file", (1, 1))
    with refused(errno.EACCES):
        bob.call(os.utime, "file")
    with refused(errno.EPERM):
        bob.call(os.setxattr, "file", "trusted.x", b"x")
    with refused(errno.EACCES):
        bob.call(os.truncate, "file", 0)
    with refused(errno.EACCES):
        bob.call(os.setxattr, "file", "user.x", b"x")
    assert (os.lstat("file").st_gid, mode_of("file"), os.lstat("file").st_size) == (FRIENDS, 0o640, 8)


def test_chmod_by_one_who_is_not_of_the_group_clears_setgid(alice: Actor) -> None:
    os.chown("file", ALICE, 0)
    alice.call(os.chmod, "file", 0o6755)
    assert mode_of("file") == 0o4755


def _write(name: str) -> None:
    descriptor = os.open(name, os.O_WRONLY)
    try:
        os.write(descriptor, b"x")
    finally:
        os.close(descriptor)


def _open_truncating(name: str) -> None:
    os.close(os.open(name, os.O_WRONLY | os.O_TRUNC))


def _truncate(name: str) -> None:
    os.truncate(name, 3)


def _chown_to_friends(name: str) -> None:
    os.chown(name, -1, FRIENDS)


CLEARING: Final[tuple[Callable[[str], None], ...]] = (_write, _open_truncating, _truncate, _chown_to_friends)


@pytest.mark.parametrize("change", CLEARING)
@pytest.mark.parametrize(("mode", "left"), [(0o6777, 0o777), (0o2767, 0o2767), (0o4666, 0o666), (0o644, 0o644)])
def test_change_by_a_user_clears_setuid_and_setgid(
    alice: Actor, change: Callable[[str], None], mode: int, left: int
) -> None:
    os.chown("file", ALICE, ALICE)
    os.chmod("file", mode)
    alice.call(change, "file")
    if change is _write and mode == 0o2767:
        left = 0o2767  # without execution for the group, setgid once meant mandatory locking, and stays
    assert oct(mode_of("file")) == oct(left)


@pytest.mark.parametrize("change", CLEARING[:3])
def test_change_by_root_keeps_setuid(change: Callable[[str], None]) -> None:
    os.chmod("file", 0o6755)
    change("file")
    assert mode_of("file") == 0o6755


def test_chown_by_root_clears_setuid_of_files_only() -> None:
    os.mkdir("directory")
    for name in ("file", "directory"):
        os.chmod(name, 0o6755)
        os.chown(name, ALICE, ALICE)
    assert mode_of("file") == 0o755
    assert mode_of("directory") == 0o6755


@pytest.mark.parametrize("change", [*CLEARING, lambda name: os.chown(name, ALICE, ALICE)])
def test_change_removes_capabilities(change: Callable[[str], None]) -> None:
    os.setxattr("file", "security.capability", CAPABILITY)
    change("file")
    with refused(errno.ENODATA):
        os.getxattr("file", "security.capability")


@pytest.mark.parametrize("size", [0, 1, 8, 9, 4095, 4096, 4097, 1_000_001])
def test_truncate_cuts_and_fills_with_zeros(size: int) -> None:
    os.truncate("file", size)
    assert os.lstat("file").st_size == size
    assert Path("file").read_bytes() == (b"contents" + bytes(size))[:size]
    os.truncate("file", 20)
    assert Path("file").read_bytes() == (b"contents"[:size] + bytes(20))[:20]


def test_truncate_refusals() -> None:
    with refused(errno.EINVAL):
        os.truncate("file", -1)
    descriptor = os.open("file", os.O_RDONLY)
    with refused(errno.EINVAL):
        os.ftruncate(descriptor, 0)
    os.close(descriptor)
    with refused(errno.EFBIG, errno.EINVAL):
        os.truncate("file", (1 << 63) - 1) if os.statvfs(".").f_namemax > 255 else os.truncate("file", -1)


def test_sparse_file_takes_little_room() -> None:
    with Path("sparse").open("wb") as file:
        file.seek(5 << 30)
        file.write(b"end")
        os.fsync(file.fileno())
    info = os.lstat("sparse")
    assert info.st_size == (5 << 30) + 3
    assert 0 < info.st_blocks <= 256
    with Path("sparse").open("rb") as file:
        file.seek((5 << 30) - 5)
        assert file.read() == bytes(5) + b"end"


def test_statvfs_counts_what_is_written() -> None:
    before = os.statvfs(".")
    assert 0 < before.f_bavail <= before.f_bfree < before.f_blocks
    assert before.f_namemax == 255
    with Path("big").open("wb") as file:
        file.write(os.urandom(20 << 20))
        os.fsync(file.fileno())
    after = os.statvfs(".")
    assert after.f_blocks == before.f_blocks
    assert (before.f_bfree - after.f_bfree) * after.f_frsize > 15 << 20
