"""Who may do what: other users, sticky directories, access lists, immutable and append-only files."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.guests.cache import run
from tests.posix.actor import Actor
from tests.posix.conftest import ALICE, BOB, FRIENDS
from tests.posix.syscalls import RENAME_EXCHANGE, refused, renameat2
from tests.posix.worlds import KERNELS


@pytest.fixture(autouse=True)
def inside(place: Path, alice: Actor, bob: Actor) -> None:
    """Work in the directory, everybody."""
    os.chdir(place)
    for actor in (alice, bob):
        actor.call(os.chdir, place)


def make(name: str, uid: int, mode: int, gid: int | None = None) -> None:
    Path(name).write_bytes(b"contents")
    os.chown(name, uid, uid if gid is None else gid)
    os.chmod(name, mode)


def _open(name: str, flags: int) -> None:
    os.close(os.open(name, flags))


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o660, 0o604, 0o606, 0o400, 0o200, 0, 0o066])
def test_open_by_owner_group_and_others(alice: Actor, bob: Actor, mode: int) -> None:
    make("file", ALICE, mode, FRIENDS)
    with Actor(5000, 5000) as stranger:
        stranger.call(os.chdir, Path.cwd())
        for who, shift in ((alice, 6), (bob, 3), (stranger, 0)):
            for flags, bit in ((os.O_RDONLY, 4), (os.O_WRONLY, 2), (os.O_RDWR, 6), (os.O_WRONLY | os.O_TRUNC, 2)):
                if mode >> shift & bit == bit:
                    who.call(_open, "file", flags)
                else:
                    with refused(errno.EACCES):
                        who.call(_open, "file", flags)
            for wanted in (os.R_OK, os.W_OK, os.R_OK | os.W_OK):
                assert who.call(os.access, "file", wanted) == (mode >> shift & wanted == wanted)
            assert not who.call(os.access, "file", os.X_OK)
    _open("file", os.O_RDWR)


def test_descriptor_keeps_what_it_was_opened_for(alice: Actor) -> None:
    make("file", ALICE, 0o600)
    descriptor = alice.call(os.open, "file", os.O_RDWR)
    os.chmod("file", 0)
    os.chown("file", 0, 0)
    alice.call(os.pwrite, descriptor, b"C", 0)
    assert alice.call(os.pread, descriptor, 9, 0) == b"Contents"
    alice.call(os.ftruncate, descriptor, 3)
    with refused(errno.EPERM):
        alice.call(os.fchmod, descriptor, 0o777)
    alice.call(os.close, descriptor)
    with refused(errno.EACCES):
        alice.call(_open, "file", os.O_RDONLY)
    assert Path("file").read_bytes() == b"Con"


def test_file_created_without_permission_to_write_it_is_written_all_the_same(alice: Actor) -> None:
    descriptor = alice.call(os.open, "file", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o444)
    assert alice.call(os.write, descriptor, b"written") == 7
    alice.call(os.close, descriptor)
    with refused(errno.EACCES):
        alice.call(_open, "file", os.O_WRONLY)
    assert Path("file").read_bytes() == b"written"
    alice.call(os.close, alice.call(os.open, "none", os.O_CREAT | os.O_WRONLY, 0))
    assert stat.S_IMODE(os.lstat("none").st_mode) == 0


CHANGING: Final[dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]] = {
    "create": (os.open, ("closed/new", os.O_CREAT | os.O_WRONLY)),
    "mkdir": (os.mkdir, ("closed/new",)),
    "rmdir": (os.rmdir, ("closed/directory",)),
    "unlink": (os.unlink, ("closed/file",)),
    "symlink": (os.symlink, ("x", "closed/new")),
    "mkfifo": (os.mkfifo, ("closed/new",)),
    "link into": (os.link, ("mine", "closed/new")),
    "rename within": (os.rename, ("closed/file", "closed/new")),
    "rename into": (os.rename, ("mine", "closed/new")),
    "rename out of": (os.rename, ("closed/file", "new")),
    "exchange": (renameat2, ("mine", "closed/file", RENAME_EXCHANGE)),
}


@pytest.mark.parametrize("mode", [0o755, 0o766, 0o711, 0o700])
def test_directory_that_one_may_not_write_to_or_search_stays_as_it_is(alice: Actor, mode: int) -> None:
    os.mkdir("closed")
    make("closed/file", ALICE, 0o666)
    os.mkdir("closed/directory")
    make("mine", ALICE, 0o666)
    os.chmod("closed", mode)
    for function, arguments in CHANGING.values():
        with refused(errno.EACCES):
            alice.call(function, *arguments)
    assert sorted(os.listdir("closed")) == ["directory", "file"]
    for name, allowed in (("closed", mode & 4), ("closed/file", mode & 1)):
        try:
            alice.call(os.listdir if name == "closed" else os.lstat, name)
        except PermissionError:
            assert not allowed
        else:
            assert allowed


def test_sticky_directory_protects_what_is_others(alice: Actor, bob: Actor) -> None:
    os.mkdir("sticky")
    os.chmod("sticky", 0o1777)
    make("sticky/alices", ALICE, 0o666)
    make("sticky/bobs", BOB, 0o666)
    bob.call(os.mkdir, "sticky/bobs-directory")
    make("alices", ALICE, 0o666)
    for function, arguments in (
        (os.unlink, ("sticky/bobs",)),
        (os.rmdir, ("sticky/bobs-directory",)),
        (os.rename, ("sticky/bobs", "sticky/stolen")),
        (os.rename, ("sticky/bobs", "stolen")),
        (os.rename, ("sticky/alices", "sticky/bobs")),
        (os.rename, ("alices", "sticky/bobs")),
        (renameat2, ("sticky/alices", "sticky/bobs", RENAME_EXCHANGE)),
    ):
        with refused(errno.EPERM):
            alice.call(function, *arguments)  # type: ignore[arg-type]
    assert sorted(os.listdir("sticky")) == ["alices", "bobs", "bobs-directory"]
    alice.call(os.rename, "sticky/alices", "sticky/renamed")
    alice.call(os.unlink, "sticky/renamed")
    os.chown("sticky", ALICE, ALICE)
    alice.call(os.unlink, "sticky/bobs")
    alice.call(os.rmdir, "sticky/bobs-directory")


def test_moving_a_directory_needs_permission_to_write_to_it(alice: Actor) -> None:
    for name in ("from", "to"):
        alice.call(os.mkdir, name)
    os.mkdir("from/roots")
    os.chmod("from/roots", 0o755)
    alice.call(os.rename, "from/roots", "from/renamed")
    with refused(errno.EACCES):
        alice.call(os.rename, "from/renamed", "to/moved")
    assert os.listdir("from") == ["renamed"]


def test_only_root_makes_devices(alice: Actor) -> None:
    for kind in (stat.S_IFBLK, stat.S_IFCHR):
        with refused(errno.EPERM):
            alice.call(os.mknod, "device", kind | 0o600, os.makedev(1, 3))
    for kind in (stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFREG):
        alice.call(os.mknod, f"node-{kind}", kind | 0o600)


@pytest.mark.parametrize("kind", ["immutable", "append"])
def test_flagged_file_refuses_what_its_flag_forbids(world: Path, filesystem: str, kind: str) -> None:
    file = world / filesystem / kind
    before = file.lstat()
    calls: tuple[Callable[[], object], ...] = (
        lambda: os.unlink(file),
        lambda: os.rename(file, "moved"),
        lambda: os.link(file, "linked"),
        lambda: os.chmod(file, 0o600),
        lambda: os.chown(file, 1, 1),
        lambda: os.truncate(file, 0),
        lambda: os.utime(file, (1, 1)),
        lambda: os.setxattr(file, "user.a", b"a"),
        lambda: _open(str(file), os.O_WRONLY),
        lambda: _open(str(file), os.O_RDWR | os.O_TRUNC),
        lambda: os.rename("mine", file),
    )
    for call in calls:
        Path("mine").touch()
        with refused(errno.EPERM):
            call()
    assert file.lstat() == before
    descriptor = os.open(file, os.O_RDONLY)
    assert os.read(descriptor, 8) == b"contents"
    os.close(descriptor)
    if kind == "append":
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND)
        os.write(descriptor, b"+")
        os.close(descriptor)
        assert file.lstat().st_size == before.st_size + 1
    else:
        with refused(errno.EPERM):
            _open(str(file), os.O_WRONLY | os.O_APPEND)


@pytest.mark.parametrize("kind", ["immutable", "append"])
def test_flagged_directory_refuses_what_its_flag_forbids(world: Path, filesystem: str, kind: str) -> None:
    directory = world / filesystem / f"{kind}-directory"
    Path("mine").touch()
    calls: tuple[Callable[[], object], ...] = (
        lambda: os.unlink(directory / "file"),
        lambda: os.rename(directory / "file", directory / "moved"),
        lambda: os.rename("mine", directory / "file"),
        lambda: os.rmdir(directory),
        lambda: os.chmod(directory, 0o700),
    )
    for call in calls:
        with refused(errno.EPERM, errno.ENOTEMPTY):
            call()
    name = directory / f"new-{os.path.basename(Path.cwd())}"
    if kind == "append":
        name.touch()
    else:
        with refused(errno.EPERM):
            name.mkdir()
    with (directory / "file").open("ab") as file:  # what is in it is not concerned
        file.write(b"+")


def test_access_list_counts(alice: Actor, bob: Actor) -> None:
    make("file", 0, 0o600)
    run("setfacl", "-m", f"u:{BOB}:rw,m::rw", "file")
    assert stat.S_IMODE(os.lstat("file").st_mode) == 0o660
    bob.call(_open, "file", os.O_RDWR)
    with refused(errno.EACCES):
        alice.call(_open, "file", os.O_RDONLY)
    os.chmod("file", 0o600)  # which is the mask now
    with refused(errno.EACCES):
        bob.call(_open, "file", os.O_RDONLY)
    assert f"user:{BOB}:rw-\t#effective:---" in run("getfacl", "-n", "file")
    run("setfacl", "-b", "file")
    assert os.listxattr("file") == []


def test_default_access_list_is_inherited_instead_of_the_umask(alice: Actor, world_kind: str) -> None:
    os.mkdir("directory")
    os.chmod("directory", 0o777)
    run("setfacl", "-d", "-m", f"u::rwx,u:{BOB}:rwx,g::rx,o::-,m::rwx", "directory")
    alice.call(os.close, alice.call(os.open, "directory/file", os.O_CREAT | os.O_WRONLY, 0o666))
    alice.call(os.mkdir, "directory/below")
    # pyfuse3 cannot ask the kernel to leave the umask to us, so it counts as well: nobody gets more than they would.
    mask, effective = (0, "rw-") if world_kind == KERNELS else (0o022, "r--")
    assert stat.S_IMODE(os.lstat("directory/file").st_mode) == 0o660 & ~mask
    assert stat.S_IMODE(os.lstat("directory/below").st_mode) == 0o770 & ~mask
    assert f"user:{BOB}:rwx\t#effective:{effective}" in run("getfacl", "-n", "directory/file")
    assert f"default:user:{BOB}:rwx" in run("getfacl", "-n", "directory/below")
