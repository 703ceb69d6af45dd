"""Hard links, unlink, and files that have no name any more."""

import errno
import os
import stat
from pathlib import Path

import pytest

from tests.posix.syscalls import refused


@pytest.fixture(autouse=True)
def inside(place: Path) -> None:
    """Work in the directory, where there is a file."""
    os.chdir(place)
    Path("file").write_bytes(b"contents")
    Path("directory").mkdir()


def test_names_share_everything() -> None:
    os.link("file", "directory/twin")
    assert os.lstat("file") == os.lstat("directory/twin")
    assert os.lstat("file").st_nlink == 2
    with Path("file").open("ab") as file:
        file.write(b" more")
    os.chmod("directory/twin", 0o604)
    os.chown("file", 12, 34)
    os.utime("directory/twin", ns=(1_000_000_001, 2_000_000_002))
    os.setxattr("file", "user.name", b"value")
    assert Path("directory/twin").read_bytes() == b"contents more"
    assert os.lstat("file") == os.lstat("directory/twin")
    assert os.lstat("file").st_mtime_ns == 2_000_000_002
    assert os.getxattr("directory/twin", "user.name") == b"value"
    os.truncate("directory/twin", 3)
    assert Path("file").read_bytes() == b"con"
    os.unlink("file")
    assert os.lstat("directory/twin").st_nlink == 1
    assert Path("directory/twin").read_bytes() == b"con"


def test_data_written_by_one_name_is_seen_by_a_reader_of_the_other() -> None:
    os.link("file", "twin")
    with Path("file").open("r+b", buffering=0) as writer, Path("twin").open("rb", buffering=0) as reader:
        for step in range(20):
            writer.write(b"%08d" % step)
            assert reader.read(8) == b"%08d" % step
            assert os.lstat("twin").st_size == 8 * (step + 1)


@pytest.mark.parametrize(
    ("old", "new", "number"),
    [
        ("directory", "new", errno.EPERM),
        ("missing", "new", errno.ENOENT),
        ("file", "directory", errno.EEXIST),
        ("file", "missing/new", errno.ENOENT),
        ("file", "file/new", errno.ENOTDIR),
    ],
)
def test_links_that_cannot_be(old: str, new: str, number: int) -> None:
    with refused(number):
        os.link(old, new)
    assert os.lstat("file").st_nlink == 1


def test_special_files_and_symlinks_have_links_too() -> None:
    os.mkfifo("fifo")
    os.symlink("file", "symlink")
    for name in ("fifo", "symlink"):
        os.link(name, f"{name}-twin", follow_symlinks=False)
        assert os.lstat(name).st_ino == os.lstat(f"{name}-twin").st_ino
        assert os.lstat(name).st_nlink == 2


def test_file_without_a_name_lives_until_it_is_closed() -> None:
    descriptor = os.open("file", os.O_RDWR)
    try:
        os.unlink("file")
        assert os.fstat(descriptor).st_nlink == 0
        assert os.pread(descriptor, 99, 0) == b"contents"
        os.pwrite(descriptor, b"after the end", 100_000)
        os.fsync(descriptor)
        assert os.pread(descriptor, 99, 99_999) == b"\0after the end"
        os.ftruncate(descriptor, 4)
        os.fchmod(descriptor, 0o600)
        os.fchown(descriptor, 5, 6)
        os.utime(descriptor, ns=(7, 8))
        os.setxattr(descriptor, "user.late", b"late")
        info = os.fstat(descriptor)
        assert (info.st_size, stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) == (4, 0o600, 5, 6)
        assert info.st_mtime_ns == 8
        assert os.getxattr(descriptor, "user.late") == b"late"
        assert os.pread(descriptor, 99, 0) == b"cont"
        Path("file").write_bytes(b"a new one")
        assert os.pread(descriptor, 99, 0) == b"cont"
    finally:
        os.close(descriptor)
    assert Path("file").read_bytes() == b"a new one"


def test_many_files_without_names_at_once() -> None:
    descriptors = []
    for number in range(100):
        descriptor = os.open("same", os.O_CREAT | os.O_EXCL | os.O_RDWR)
        descriptors.append(descriptor)
        os.write(descriptor, b"%d" % number)
        os.unlink("same")
    for number, descriptor in enumerate(descriptors):
        assert os.pread(descriptor, 9, 0) == b"%d" % number
        os.close(descriptor)
    assert sorted(os.listdir()) == ["directory", "file"]


def test_unlinking_one_of_two_open_names_keeps_the_other() -> None:
    os.link("file", "twin")
    descriptor = os.open("file", os.O_RDWR)
    try:
        os.unlink("file")
        os.pwrite(descriptor, b"CON", 0)
        assert os.fstat(descriptor).st_nlink == 1
        assert Path("twin").read_bytes() == b"CONtents"
        os.unlink("twin")
        assert os.pread(descriptor, 9, 0) == b"CONtents"
    finally:
        os.close(descriptor)


def test_special_files_keep_kind_mode_and_number() -> None:
    os.umask(0o027)
    os.mknod("block", stat.S_IFBLK | 0o666, os.makedev(7, 70_000))
    os.mknod("char", stat.S_IFCHR | 0o777, os.makedev(300, 3))
    os.mknod("fifo", stat.S_IFIFO | 0o666)
    os.mknod("socket", stat.S_IFSOCK | 0o666)
    os.mknod("plain", stat.S_IFREG | 0o666)
    info = {name: os.lstat(name) for name in ("block", "char", "fifo", "socket", "plain")}
    assert {name: oct(one.st_mode) for name, one in info.items()} == {
        "block": oct(stat.S_IFBLK | 0o640),
        "char": oct(stat.S_IFCHR | 0o750),
        "fifo": oct(stat.S_IFIFO | 0o640),
        "socket": oct(stat.S_IFSOCK | 0o640),
        "plain": oct(stat.S_IFREG | 0o640),
    }
    assert (info["block"].st_rdev, info["char"].st_rdev) == (os.makedev(7, 70_000), os.makedev(300, 3))
    for name in info:
        os.unlink(name)


def test_fifo_made_here_carries_data_between_processes_of_this_machine() -> None:
    os.mkfifo("fifo")
    reader = os.open("fifo", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open("fifo", os.O_WRONLY)
    os.write(writer, b"through")
    assert os.read(reader, 99) == b"through"
    os.close(reader)
    os.close(writer)


def test_attributes_of_a_file_without_a_name_outlive_a_write(place: Path) -> None:
    descriptor = os.open(place / "file", os.O_CREAT | os.O_RDWR)
    os.setxattr(descriptor, "user.a", b"value")
    os.unlink(place / "file")
    os.pwrite(descriptor, b"data", 0)
    assert os.getxattr(descriptor, "user.a") == b"value"
    os.close(descriptor)
