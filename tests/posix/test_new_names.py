"""Files that get another name right after they were made, as rsync and editors do it, and links made in a row."""

import errno
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.posix.actor import Actor
from tests.posix.syscalls import RENAME_EXCHANGE, RENAME_NOREPLACE, forget_files, refused, renameat2
from tests.posix.worlds import STANDARD

DATA = b"0123456789" * 1000
THEN_NS = 1_234_567_890_123_456_789


@pytest.fixture(autouse=True)
def inside(place: Path) -> None:
    """Work in a directory in which a file has been made, so that another one can be promised."""
    os.chdir(place)
    Path("first").write_bytes(b"first")


@pytest.fixture(scope="module")
def other() -> Iterator[Actor]:
    """Start a process that was promised nothing."""
    with Actor() as actor:
        yield actor


def made(name: str, data: bytes = DATA) -> int:
    """Make a file like rsync; return its descriptor."""
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(descriptor, data)
    os.fchmod(descriptor, 0o640)
    os.utime(name, ns=(THEN_NS, THEN_NS + 1))
    return descriptor


def shown(found: os.stat_result) -> tuple[int, ...]:
    return found.st_mode, found.st_nlink, found.st_size, found.st_atime_ns, found.st_mtime_ns


AS_MADE = (stat.S_IFREG | 0o640, 1, len(DATA), THEN_NS, THEN_NS + 1)


def test_new_file_is_found_by_its_new_name_alone(other: Actor, place: Path) -> None:
    descriptor = made(".new.XXXXXX")
    inode = os.lstat(".new.XXXXXX").st_ino
    os.rename(".new.XXXXXX", "new")
    assert shown(os.lstat("new")) == shown(os.fstat(descriptor)) == AS_MADE
    assert sorted(os.listdir()) == ["first", "new"]
    with refused(errno.ENOENT):
        os.lstat(".new.XXXXXX")
    assert shown(other.call(os.lstat, str(place / "new"))) == AS_MADE
    assert sorted(other.call(os.listdir, str(place))) == ["first", "new"]
    os.pwrite(descriptor, b"changed", 5)
    assert Path("new").read_bytes() == os.pread(descriptor, 20_000, 0) == DATA[:5] + b"changed" + DATA[12:]
    assert os.lstat("new").st_ino == os.fstat(descriptor).st_ino == inode
    os.close(descriptor)


def test_attributes_that_its_maker_is_told_stay(filesystem: str) -> None:
    descriptor = made("new")
    before = os.fstat(descriptor)
    os.fsync(descriptor)
    after = os.fstat(descriptor)
    os.close(descriptor)
    assert shown(before) == shown(after) == AS_MADE
    if filesystem == "ext4":  # the others allocate more or less than the data ahead
        assert before.st_blocks == after.st_blocks == 24


def test_written_file_keeps_the_time_that_its_maker_is_told() -> None:
    descriptor = os.open("new", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    before = time.time_ns()
    os.write(descriptor, DATA)
    told = os.fstat(descriptor)
    after = time.time_ns()
    os.rename("new", "newer")
    os.fsync(descriptor)
    assert os.fstat(descriptor).st_mtime_ns == told.st_mtime_ns
    assert before - 1_000_000_000 < told.st_mtime_ns < after + 1_000_000_000
    os.close(descriptor)


def test_many_names_in_a_row(other: Actor, place: Path) -> None:
    for number in range(200):
        os.close(made(f".{number}"))
        os.rename(f".{number}", f"{number}")
        if number % 50 == 49:
            os.rename(f"{number}", f"{number}.moved")
            os.close(made(f".{number}", b"again"))
            os.rename(f".{number}", f"{number}")
    names = {"first", *map(str, range(200)), *(f"{number}.moved" for number in (49, 99, 149, 199))}
    assert set(other.call(os.listdir, str(place))) == names
    assert Path("49").read_bytes() == b"again"
    assert Path("49.moved").read_bytes() == Path("48").read_bytes() == DATA


def test_new_file_replaces_another() -> None:
    descriptor = made("new")
    with Path("first").open("rb") as replaced:
        os.rename("new", "first")
        assert replaced.read() == b"first"
        assert os.fstat(replaced.fileno()).st_nlink == 0
    assert shown(os.lstat("first")) == AS_MADE
    os.close(made("second", b"second"))
    os.rename("second", "first")
    assert os.fstat(descriptor).st_nlink == 0
    assert os.pread(descriptor, 20_000, 0) == DATA
    assert Path("first").read_bytes() == b"second"
    assert os.listdir() == ["first"]
    os.close(descriptor)


def test_name_that_was_just_removed_is_taken(other: Actor, place: Path) -> None:
    os.close(made("second", b"second"))
    os.sync()
    os.unlink("second")
    os.close(made("new"))
    os.rename("new", "second")
    assert other.call(os.lstat, str(place / "second")).st_size == len(DATA)
    os.unlink("second")
    assert os.listdir() == ["first"]


def test_new_files_are_not_replaced_and_swap_places(world_kind: str) -> None:
    for name in (b"one", b"two"):
        os.close(made(name.decode(), name))
    with refused(errno.EEXIST):
        renameat2("one", "two", RENAME_NOREPLACE)
    renameat2("one", "three", RENAME_NOREPLACE)
    if world_kind != STANDARD:
        renameat2("three", "two", RENAME_EXCHANGE)
        assert (Path("two").read_bytes(), Path("three").read_bytes()) == (b"one", b"two")
    assert sorted(os.listdir()) == ["first", "three", "two"]


def test_new_file_moves_to_another_directory_and_gets_another_name() -> None:
    Path("directory").mkdir()
    os.close(made("new"))
    os.rename("new", "directory/new")
    os.close(made("directory/more"))
    os.rename("directory/more", "directory/most")
    os.link("directory/most", "linked")
    assert os.lstat("linked").st_nlink == os.lstat("directory/most").st_nlink == 2
    assert sorted(os.listdir("directory")) == ["most", "new"]
    os.rename("directory", "renamed")
    assert Path("renamed/new").read_bytes() == Path("linked").read_bytes() == DATA


def test_directory_has_the_time_of_what_came_last(other: Actor, place: Path) -> None:
    """Whether the names or the time were promised first, and whatever of it has been done."""
    for wait_s in (0.0, 0.3):
        directory = place / f"directory-{wait_s}"
        directory.mkdir(0o700)
        os.utime(directory, ns=(THEN_NS, THEN_NS))
        os.chmod(directory, 0o755)
        assert (os.lstat(directory).st_mtime_ns, os.lstat(directory).st_mode & 0o777) == (THEN_NS, 0o755)
        time.sleep(wait_s)
        os.close(made(str(directory / "new")))
        time.sleep(wait_s)
        os.rename(directory / "new", directory / "newer")
        found = other.call(os.lstat, str(directory))
        assert abs(found.st_mtime_ns - time.time_ns()) < 10_000_000_000
        assert (found.st_atime_ns, found.st_mode & 0o777) == (THEN_NS, 0o755)
        os.close(made(str(directory / "more")))
        os.utime(directory, ns=(THEN_NS, THEN_NS))
        time.sleep(wait_s)
        assert other.call(os.lstat, str(directory)).st_mtime_ns == THEN_NS


def test_refused_change_of_names_leaves_a_directory_its_time(other: Actor, place: Path) -> None:
    Path("directory/full").mkdir(parents=True)
    Path("directory/full/inner").touch()
    for refuse, number in ((os.rmdir, errno.ENOTEMPTY), (os.unlink, errno.EISDIR)):
        os.utime("directory", ns=(THEN_NS, THEN_NS))
        with refused(number):
            refuse("directory/full")
        os.utime("directory/full", ns=(THEN_NS, THEN_NS))
        assert other.call(os.lstat, str(place / "directory")).st_mtime_ns == THEN_NS
    forget_files()
    assert os.lstat("directory").st_mtime_ns == THEN_NS


def test_group_of_a_directory_that_has_just_got_its_bit_counts() -> None:
    Path("directory").mkdir()
    os.chown("directory", 0, 2000)
    os.chmod("directory", 0o2755)
    os.close(made("directory/new"))
    assert os.lstat("directory/new").st_gid == 2000
    os.chmod("directory", 0o755)
    os.symlink("target", "directory/link")
    assert os.lstat("directory/link").st_gid == os.getgid()


def test_links_are_what_they_were_made_as(other: Actor, place: Path) -> None:
    targets = {f"link-{number}": f"{number}" * (number + 1) for number in range(60)} | {"long": "x" * 1010}
    for name, target in targets.items():
        os.symlink(target, name)
        os.utime(name, ns=(THEN_NS, THEN_NS), follow_symlinks=False)
        os.chown(name, 1000, 2000, follow_symlinks=False)
    with refused(errno.EEXIST):
        os.symlink("another", "link-5")
    with refused(errno.ENOENT):
        os.lstat("link-5/below")
    os.rename("link-5", "moved")
    targets["moved"] = targets.pop("link-5")
    for name, target in targets.items():
        found = os.lstat(name)
        assert (found.st_mode, found.st_size, found.st_mtime_ns) == (stat.S_IFLNK | 0o777, len(target), THEN_NS)
        seen = other.call(os.lstat, str(place / name))
        assert (seen.st_uid, seen.st_gid, seen.st_size, seen.st_mtime_ns) == (1000, 2000, len(target), THEN_NS)
        assert os.readlink(name) == other.call(os.readlink, str(place / name)) == target
    os.unlink("moved")
    assert set(os.listdir()) == {"first", *targets} - {"moved"}


@pytest.mark.parametrize("is_told", [False, True])
def test_empty_file_is_dated_when_it_is_made(other: Actor, place: Path, is_told: bool) -> None:
    os.listdir()
    for number in range(3):
        Path(f"{number}.before").write_bytes(b"data")
        os.close(os.open(f"{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        told = os.lstat(f"{number}").st_mtime_ns if is_told else None
        Path(f"{number}.after").write_bytes(b"data")
        names = [str(place / f"{number}{suffix}") for suffix in (".before", "", ".after")]
        before, now, after = (other.call(os.lstat, name).st_mtime_ns for name in names)
        assert before <= now <= after
        assert told in (None, now)


def test_name_in_a_directory_that_only_takes_names_stays(world: Path, filesystem: str, place: Path) -> None:
    directory = world / filesystem / "append-directory"
    for number in range(3):  # in what the guest has let us make a file in, the next one is promised
        name = directory / f"{place.name}-{number}"
        assert name.name not in os.listdir(directory)
        name.write_bytes(DATA)
        with refused(errno.EPERM):
            name.rename(directory / f"{place.name}-moved")
        with refused(errno.EPERM):
            name.unlink()
        assert name.read_bytes() == DATA
        assert name.name in os.listdir(directory)


def test_directory_that_is_about_to_go_is_no_link_of_the_one_above() -> None:
    for number in range(3):
        os.mkdir(f"directory-{number}")
        os.listdir(f"directory-{number}")
    before = os.lstat(".").st_nlink
    for number in range(3):
        os.rmdir(f"directory-{number}")
        os.link("first", "second")
        os.unlink("second")  # for which the guest is asked, since that file has two names
        links = os.lstat(".").st_nlink
        assert links == (1 if before == 1 else before - 1 - number)  # btrfs counts none
