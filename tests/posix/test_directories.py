"""mkdir, rmdir and unlink, and what a listing says after each."""

import errno
import os
import stat
from pathlib import Path

import pytest

from tests.posix.syscalls import refused


@pytest.fixture(autouse=True)
def inside(place: Path) -> None:
    """Work in the directory."""
    os.chdir(place)


@pytest.mark.parametrize(
    ("mode", "umask", "result"),
    [(0o777, 0o022, 0o755), (0o777, 0, 0o777), (0o700, 0o077, 0o700), (0o1777, 0o002, 0o1775), (0, 0, 0)],
)
def test_mkdir_keeps_the_mode_but_for_the_umask(mode: int, umask: int, result: int) -> None:
    os.umask(umask)
    os.mkdir("new", mode)
    info = os.lstat("new")
    assert stat.S_ISDIR(info.st_mode)
    assert stat.S_IMODE(info.st_mode) == result
    assert (info.st_uid, info.st_gid) == (0, 0)
    assert os.listdir("new") == []


def test_links_of_directories_are_counted(filesystem: str) -> None:
    counts = []
    for step in range(3):
        counts.append(os.lstat(".").st_nlink)
        os.mkdir(f"{step}")
    for step in range(3):
        os.rmdir(f"{step}")
        counts.append(os.lstat(".").st_nlink)
    assert counts == ([1] * 6 if filesystem == "btrfs" else [2, 3, 4, 4, 3, 2])


@pytest.mark.parametrize("kind", ["file", "directory", "symlink", "fifo"])
def test_rmdir_of_a_directory_that_is_not_empty(kind: str) -> None:
    os.mkdir("full")
    below = Path("full/below")
    match kind:
        case "file":
            below.touch()
        case "directory":
            below.mkdir()
        case "symlink":
            below.symlink_to("nowhere")
        case _:
            os.mkfifo(below)
    with refused(errno.ENOTEMPTY):
        os.rmdir("full")
    below.rmdir() if kind == "directory" else below.unlink()
    os.rmdir("full")
    with refused(errno.ENOENT):
        os.lstat("full")


def test_rmdir_and_unlink_of_the_wrong_kind() -> None:
    os.mkdir("directory")
    Path("file").touch()
    Path("link").symlink_to("directory")
    with refused(errno.EISDIR):
        os.unlink("directory")
    for name in ("file", "link"):
        with refused(errno.ENOTDIR):
            os.rmdir(name)
    with refused(errno.EISDIR):
        os.open("directory", os.O_WRONLY)
    with refused(errno.EISDIR):
        os.open("directory", os.O_CREAT | os.O_RDWR)
    with refused(errno.EISDIR):
        os.truncate("directory", 0)
    descriptor = os.open("directory", os.O_RDONLY)
    with refused(errno.EISDIR):
        os.read(descriptor, 1)
    os.close(descriptor)
    with refused(errno.ENOTDIR):
        os.open("file", os.O_RDONLY | os.O_DIRECTORY)


def test_listing_follows_every_change_at_once() -> None:
    for name in ("a", "b"):
        Path(name).touch()
    assert sorted(os.listdir()) == ["a", "b"]
    os.mkdir("c")
    assert sorted(os.listdir()) == ["a", "b", "c"]
    os.link("a", "d")
    os.symlink("x", "e")
    os.mkfifo("f")
    os.unlink("a")
    assert sorted(os.listdir()) == ["b", "c", "d", "e", "f"]
    os.rename("b", "c/b")
    assert sorted(os.listdir()) == ["c", "d", "e", "f"]
    assert os.listdir("c") == ["b"]
    kinds = {entry.name: (entry.is_dir(follow_symlinks=False), entry.is_symlink()) for entry in os.scandir()}
    assert kinds == {"c": (True, False), "d": (False, False), "e": (False, True), "f": (False, False)}


def test_names_made_and_removed_over_and_over() -> None:
    for step in range(60):
        assert not os.path.lexists("name")
        match step % 3:
            case 0:
                os.mkdir("name")
                assert stat.S_ISDIR(os.lstat("name").st_mode)
                os.rmdir("name")
            case 1:
                Path("name").write_bytes(b"%d" % step)
                assert Path("name").read_bytes() == b"%d" % step
                os.unlink("name")
            case _:
                os.symlink(f"{step}", "name")
                assert os.readlink("name") == f"{step}"
                os.unlink("name")


def test_listing_that_is_open_survives_removals() -> None:
    names = {f"file-{number:04}" for number in range(700)}
    for name in names:
        Path(name).touch()
    found = set()
    with os.scandir() as entries:
        for entry in entries:
            os.unlink(entry.name)
            found.add(entry.name)
    assert found == names
    assert os.listdir() == []


def test_directory_that_was_removed_while_open() -> None:
    os.mkdir("gone")
    descriptor = os.open("gone", os.O_RDONLY)
    try:
        os.rmdir("gone")
        assert os.listdir(descriptor) == []
        for make in (
            lambda: os.mkdir("below", dir_fd=descriptor),
            lambda: os.open("below", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor),
            lambda: os.symlink("x", "below", dir_fd=descriptor),
        ):
            with refused(errno.ENOENT):
                make()
        assert os.fstat(descriptor).st_nlink == 0 or os.fstat(descriptor).st_nlink == 1  # btrfs counts none
    finally:
        os.close(descriptor)


def test_deep_tree_is_made_and_removed() -> None:
    path = "deep"
    for _ in range(100):
        os.mkdir(path)
        path += "/d"
    Path(path).write_bytes(b"bottom")
    assert Path(path).read_bytes() == b"bottom"
    os.unlink(path)
    for _ in range(100):
        path = path.rpartition("/")[0]
        os.rmdir(path)
    assert os.listdir() == []
