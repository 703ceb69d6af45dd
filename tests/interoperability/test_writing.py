"""Writing by our client through libguestfs's daemon: the disk must hold what a local filesystem would."""

import errno
import mmap
import os
import shutil
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.guests.cache import run
from tests.mount.source import ACL, CAPABILITY, build_source
from tests.posix.snapshot import snapshot
from tests.posix.syscalls import RENAME_EXCHANGE, RENAME_NOREPLACE, UTIME_OMIT, refused, renameat2, utimensat
from tests.system.comparison import rsync_differences
from tests.system.conftest import open_sandbox
from tests.system.sandbox import Sandbox

pytestmark = [pytest.mark.appliance, pytest.mark.fuse, pytest.mark.root]

LONG: Final = bytes(range(256)) * 12_000
"""Longer than one of their messages may be, in one write."""
LEFT_OUT: Final = ("contents", *(f"small/{number:02}" for number in range(1, 12)))


@pytest.fixture
def sandbox(their_appliance_directory: Path) -> Iterator[Sandbox]:
    with open_sandbox(their_appliance_directory) as opened:
        yield opened


@pytest.fixture(autouse=True)
def plain_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def make_image(path: Path) -> Path:
    """Make an ext4 filesystem whose blocks hold attributes and links' targets as long as they can be."""
    run("mke2fs", "-q", "-t", "ext4", "-F", "-b", "4096", path, "96M")
    return path


@contextmanager
def loop_mounted(image: Path, where: Path, *options: str) -> Iterator[Path]:
    where.mkdir()
    run("mount", "-o", ",".join(("loop", *options)), image, where)
    try:
        yield where
    finally:
        run("umount", where)


def test_disk_holds_what_a_local_filesystem_does(sandbox: Sandbox, tmp_path: Path) -> None:
    build_source(tmp_path)
    for name in LEFT_OUT:
        shutil.rmtree(tmp_path / name)
    local = make_image(sandbox.directory / "local.img")
    image = make_image(sandbox.directory / "disk.img")
    with loop_mounted(local, sandbox.directory / "local") as root:
        write_everything(root, tmp_path)
        expected = snapshot(str(root))

    words = ("--rw", "--format=raw", "-a", image, "-m", "/dev/sda", sandbox.mountpoint)
    started = sandbox.guestmount(*words)
    assert started.returncode == 0, started.stderr + sandbox.log()  # it may say that it takes a while to start
    try:
        write_everything(sandbox.mountpoint, tmp_path)
        swap_what_they_cannot(sandbox.mountpoint)
        use_files_without_names(sandbox.mountpoint)
    finally:
        ended = sandbox.guestunmount()
    assert (ended.returncode, ended.stderr) == (0, ""), sandbox.log()
    assert sandbox.left() == []

    run("e2fsck", "-fn", image)
    with loop_mounted(image, sandbox.directory / "seen", "ro") as root:
        assert snapshot(str(root)) == expected


def write_everything(root: Path, source: Path) -> None:
    """Make, change and remove things in every way, with the same end wherever it is done."""
    _write_data(root / "data")
    _change_attributes(root / "attributes")
    _make_every_kind(root / "kinds")
    _change_names(root / "names")
    restored = root / "restored"
    restored.mkdir()
    run("rsync", "-aHAX", "--numeric-ids", f"{source}/", f"{restored}/")
    assert rsync_differences(source, restored, ()) == ""


def _write_data(place: Path) -> None:
    place.mkdir()
    (place / "long").write_bytes(LONG)
    with (place / "long").open("r+b", buffering=0) as file:
        file.seek(70_000)
        file.write(b"in the middle")
        os.fsync(file.fileno())
        file.truncate(2_000_000)
        file.truncate(2_100_000)
        with mmap.mmap(file.fileno(), 4096) as view:
            view[:6] = b"mapped"
    with (place / "log").open("ab", buffering=0) as one, (place / "log").open("ab", buffering=0) as other:
        for number in range(5):
            one.write(b"one %d\n" % number)
            other.write(b"other %d\n" % number)
    assert (place / "log").read_bytes().startswith(b"one 0\nother 0\none 1\n")
    with (place / "sparse").open("wb") as file:
        file.seek(5_000_000)
        file.write(b"end")
    (place / "cut").write_bytes(b"to be cut")
    os.close(os.open(place / "cut", os.O_WRONLY | os.O_TRUNC))
    with refused(errno.EEXIST):
        os.open(place / "cut", os.O_CREAT | os.O_EXCL)
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(descriptor)
    os.close(descriptor)


def _change_attributes(place: Path) -> None:
    place.mkdir()
    for name in ("program", "owned", "dated", "marked"):
        (place / name).write_bytes(name.encode())
    (place / "program").chmod(0o6755)
    os.chown(place / "owned", 1000, 4_000_000_000)
    utimensat(place / "dated", (1, 2), (123, 456_789_012))
    utimensat(place / "dated", (0, UTIME_OMIT), (-5, 7))
    assert (place / "dated").stat().st_atime_ns == 1_000_000_002
    for name, value in (
        ("user.nul", b"a\0b\xff\0"),
        ("user.empty", b""),
        ("trusted.gone", b"x"),
        ("user.long", LONG[:400]),
    ):
        os.setxattr(place / "marked", name, value)
    os.removexattr(place / "marked", "trusted.gone")
    with refused(errno.ENODATA):
        os.removexattr(place / "marked", "trusted.gone")
    with refused(errno.EEXIST):
        os.setxattr(place / "marked", "user.nul", b"", os.XATTR_CREATE)
    os.setxattr(place / "marked", "system.posix_acl_access", ACL)
    os.setxattr(place / "program", "security.capability", CAPABILITY)
    with (place / "program").open("ab") as file:
        file.write(b"which takes capabilities away")
    (place / "shared").mkdir()
    os.chown(place / "shared", 0, 2000)
    (place / "shared").chmod(0o2775)
    (place / "shared/file").write_bytes(b"")
    (place / "shared/below").mkdir(mode=0o700)


def _make_every_kind(place: Path) -> None:
    place.mkdir(mode=0o750)
    os.mkfifo(place / "fifo", 0o640)
    os.mknod(place / "device", stat.S_IFBLK | 0o600, os.makedev(259, 70_000))
    (place / "link").symlink_to(os.fsdecode(b"\xff\xfe nowhere"))
    (place / "to-a-directory").symlink_to(".")
    os.link(place / "fifo", place / "fifo-too")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(place)  # sun_path holds 108 bytes only
        listener.bind("socket")
        os.chdir(here)
    for path in (place, place / "fifo", place / "to-a-directory"):
        with refused(errno.EEXIST):
            path.mkdir()
        with refused(errno.EEXIST):
            path.symlink_to("x")


def _change_names(place: Path) -> None:
    (place / "full/below").mkdir(parents=True)
    for name in ("one", "other", "gone", "full/below/inner"):
        (place / name).write_bytes(name.encode())
    os.link(place / "one", place / "full/one-too")
    (place / "full/one-too").write_bytes(b"by its other name")
    assert (place / "one").read_bytes() == b"by its other name"
    with (place / "full/below/inner").open("r+b") as file:
        (place / "full").rename(place / "moved")
        file.write(b"IN")
    (place / "gone").unlink()
    with refused(errno.ENOTEMPTY):
        (place / "moved").rmdir()
    with refused(errno.EEXIST):
        renameat2(place / "one", place / "other", RENAME_NOREPLACE)
    renameat2(place / "one", place / "new", RENAME_NOREPLACE)
    (place / "other").replace(place / "new")
    assert (place / "moved/one-too").stat().st_nlink == 1
    (place / "empty").mkdir()
    (place / "empty").rmdir()
    (place / ("ü" * 100)).write_bytes(b"")
    with refused(errno.ENAMETOOLONG):
        (place / ("x" * 256)).write_bytes(b"")


def swap_what_they_cannot(root: Path) -> None:
    """Be refused as by a filesystem that has no such thing."""
    with refused(errno.EINVAL):
        renameat2(root / "names/new", root / "names/moved", RENAME_EXCHANGE)


def use_files_without_names(root: Path) -> None:
    """Read and write what was removed, or replaced, and leave nothing of it."""
    one, other = root / "names/one", root / "names/other"
    one.write_bytes(b"one")
    other.write_bytes(b"other")
    with one.open("r+b", buffering=0) as removed, other.open("r+b", buffering=0) as replaced:
        one.unlink()
        assert not one.exists()
        one.write_bytes(b"another one")
        one.rename(other)
        for file, text in ((removed, b"one"), (replaced, b"other")):
            assert os.fstat(file.fileno()).st_nlink == 0
            assert file.read() == text
            file.write(b" and more")
            os.fsync(file.fileno())
            assert os.pread(file.fileno(), 100, 0) == text + b" and more"
            os.fchmod(file.fileno(), 0o600)
        assert other.read_bytes() == b"another one"
    other.unlink()
