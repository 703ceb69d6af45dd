"""rename in all its forms."""

import errno
import os
from pathlib import Path

import pytest

from tests.posix.syscalls import RENAME_EXCHANGE, RENAME_NOREPLACE, refused, renameat2
from tests.posix.worlds import STANDARD


@pytest.fixture(autouse=True)
def inside(place: Path) -> None:
    """Work in the directory, where there is one of each."""
    os.chdir(place)
    Path("file").write_bytes(b"file")
    Path("other").write_bytes(b"other")
    Path("link").symlink_to("file")
    for name in ("empty", "full"):
        Path(name).mkdir()
    Path("full/inner").write_bytes(b"inner")


def test_file_over_a_file_replaces_it() -> None:
    inode = os.lstat("file").st_ino
    with Path("other").open("rb") as replaced:
        os.rename("file", "other")
        assert replaced.read() == b"other"
        assert os.fstat(replaced.fileno()).st_nlink == 0
    assert Path("other").read_bytes() == b"file"
    assert os.lstat("other").st_ino == inode
    assert not os.path.lexists("file")


def test_directory_over_an_empty_one_replaces_it() -> None:
    inode = os.lstat("full").st_ino
    os.rename("full", "empty")
    assert os.lstat("empty").st_ino == inode
    assert os.listdir("empty") == ["inner"]
    with refused(errno.ENOENT):
        os.lstat("full")


@pytest.mark.parametrize(
    ("old", "new", "number"),
    [
        ("file", "empty", errno.EISDIR),
        ("link", "empty", errno.EISDIR),
        ("empty", "file", errno.ENOTDIR),
        ("empty", "full", errno.ENOTEMPTY),
        ("full", "full/inside", errno.EINVAL),
        ("full", "full/inner", errno.EINVAL),
        ("full/inner", "full", errno.ENOTEMPTY),
        ("missing", "other", errno.ENOENT),
        ("file", "missing/other", errno.ENOENT),
        ("file", "other/below", errno.ENOTDIR),
        ("missing", "empty", errno.ENOENT),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(old: str, new: str, number: int, filesystem: str) -> None:
    if filesystem == "xfs" and (old, new) == ("empty", "full"):
        number = errno.EEXIST  # which POSIX allows
    with refused(number):
        os.rename(old, new)
    assert sorted(os.listdir()) == ["empty", "file", "full", "link", "other"]
    assert os.listdir("full") == ["inner"]


def test_link_itself_is_renamed() -> None:
    os.rename("link", "full/moved")
    assert os.readlink("full/moved") == "file"
    os.rename("other", "full/moved")
    assert Path("full/moved").read_bytes() == b"other"
    assert Path("file").read_bytes() == b"file"


def test_two_names_of_one_file_stay() -> None:
    os.link("file", "twin")
    os.rename("file", "twin")
    assert Path("file").read_bytes() == Path("twin").read_bytes() == b"file"
    assert os.lstat("file").st_nlink == 2
    os.rename("file", "file")
    assert os.lstat("file").st_nlink == 2


def test_noreplace_refuses_and_renames() -> None:
    for new in ("other", "link", "empty", "full"):
        with refused(errno.EEXIST):
            renameat2("file", new, RENAME_NOREPLACE)
    renameat2("file", "new", RENAME_NOREPLACE)
    assert Path("new").read_bytes() == b"file"
    assert not os.path.lexists("file")
    assert Path("other").read_bytes() == b"other"


def test_exchange_swaps_any_two(world_kind: str) -> None:
    if world_kind == STANDARD:
        with refused(errno.EINVAL):
            renameat2("file", "full", RENAME_EXCHANGE)
        return
    before = {name: os.lstat(name).st_ino for name in ("file", "full", "link", "other", "empty")}
    renameat2("file", "full", RENAME_EXCHANGE)
    renameat2("link", "other", RENAME_EXCHANGE)
    assert Path("full").read_bytes() == b"file"
    assert os.listdir("file") == ["inner"]
    assert Path("file/inner").read_bytes() == b"inner"
    assert os.readlink("other") == "file"
    assert Path("link").read_bytes() == b"other"
    after = {name: os.lstat(name).st_ino for name in before}
    assert after == {
        "file": before["full"],
        "full": before["file"],
        "link": before["other"],
        "other": before["link"],
        "empty": before["empty"],
    }
    renameat2("file/inner", "empty", RENAME_EXCHANGE)
    assert Path("empty").read_bytes() == b"inner"
    assert os.listdir("file/inner") == []


def test_exchange_needs_both_and_no_descent() -> None:
    for old, new in (("file", "missing"), ("missing", "file")):
        with refused(errno.ENOENT):
            renameat2(old, new, RENAME_EXCHANGE)
    for old, new in (("full", "full/inner"), ("full/inner", "full")):
        with refused(errno.EINVAL):
            renameat2(old, new, RENAME_EXCHANGE)
    with refused(errno.EINVAL):
        renameat2("file", "other", RENAME_EXCHANGE | RENAME_NOREPLACE)
    with refused(errno.EINVAL):
        renameat2("file", "other", 1 << 10)


def test_parents_follow_a_directory() -> None:
    os.makedirs("a/b/c")
    os.mkdir("z")
    descriptor = os.open("a/b/c", os.O_RDONLY)
    try:
        os.rename("a/b", "z/b")
        Path("z/b/c/file").write_bytes(b"in c")
        os.lseek(descriptor, 0, os.SEEK_SET)  # btrfs lists what there was when it was opened
        assert os.listdir(descriptor) == ["file"]
        above = os.open("../..", os.O_RDONLY, dir_fd=descriptor)
        assert os.listdir(above) == ["b"]
        assert os.fstat(above).st_ino == os.lstat("z").st_ino
        os.close(above)
        for name in ("a/b", "a/b/c", "a/b/c/file"):
            with refused(errno.ENOENT):
                os.lstat(name)
        with refused(errno.EINVAL):
            os.rename("z", "z/b/c/z")
    finally:
        os.close(descriptor)


def test_open_files_below_a_renamed_directory_are_the_same_files() -> None:
    with Path("full/inner").open("r+b", buffering=0) as file:
        os.rename("full", "elsewhere")
        os.mkdir("full")
        Path("full/inner").write_bytes(b"another")
        file.write(b"INNER+")
        file.seek(0)
        assert file.read() == b"INNER+"
        os.rename("elsewhere/inner", "inner")
        file.write(b"!")
        assert os.fstat(file.fileno()).st_size == 7
    assert Path("inner").read_bytes() == b"INNER+!"
    assert Path("full/inner").read_bytes() == b"another"


def test_working_directory_follows(place: Path) -> None:
    os.chdir("full")
    os.rename(place / "full", place / "empty/deeper")
    assert os.path.realpath(".") == str(place / "empty/deeper")
    Path("new").write_bytes(b"new")
    assert (place / "empty/deeper/new").read_bytes() == b"new"


def test_another_filesystem_is_another_device(world: Path, filesystem: str) -> None:
    elsewhere = world / ("btrfs" if filesystem != "btrfs" else "xfs")
    for call in (os.rename, os.link):
        with refused(errno.EXDEV):
            call("file", elsewhere / "moved")
    assert not os.path.lexists(elsewhere / "moved")


def test_mount_point_in_the_guest_is_busy(world: Path) -> None:
    with refused(errno.EBUSY, errno.EXDEV):
        os.rename(world / "xfs", world / "moved")
    with refused(errno.EBUSY):
        os.rmdir(world / "btrfs")
