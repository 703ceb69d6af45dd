"""Names made, linked, removed and renamed for a mount that writes, on a directory of this machine."""

import os
import stat as modes
import subprocess
from pathlib import Path
from typing import TypeVar

import pytest

from daemon.handlers import handler_of
from daemon.session import Session
from daemon.sysroot import Sysroot
from rpc import procedures
from rpc.arguments import PathArgs
from rpc.changes import Change, Wish, decode_answers, encode_changes
from rpc.codec import FileName, GuestPath, UInt32, UInt64
from rpc.procedure import Procedure
from rpc.procedures.writing import (
    ChangeFilesArgs,
    ChangeXattrArgs,
    KeptArgs,
    LinkFileArgs,
    MakeFileArgs,
    OpenFileArgs,
    ReadKeptArgs,
    RemoveNameArgs,
    RenameFileArgs,
    SyncFileArgs,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the daemon confines itself with chroot(2)")
_EXCHANGE = 2
ArgsT = TypeVar("ArgsT")
RetT = TypeVar("RetT")


def _call(session: Session, procedure: Procedure[ArgsT, RetT], args: ArgsT) -> RetT:
    handler = handler_of(procedure.number)
    assert handler is not None
    result: RetT = handler.function(session, args)
    return result


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(Sysroot(os.fsencode(tmp_path), is_plain_directory=True))


def _make(session: Session, path: bytes, mode: int, uid: int = 0, gid: int = 0, target: bytes = b"") -> None:
    args = MakeFileArgs(GuestPath(path), UInt32(mode), UInt64(0), UInt32(uid), UInt32(gid), target)
    made = _call(session, procedures.MAKE_FILE, args)
    assert made.file.st_mode == (mode if not modes.S_ISLNK(mode) else modes.S_IFLNK | 0o777)
    assert (made.file.st_uid, made.file.st_gid) == (uid, gid)
    assert modes.S_ISDIR(made.directory.st_mode)


def _changed(session: Session, *changes: Change) -> list[tuple[int, int]]:
    data = b"".join(encode_changes(changes))
    answers = decode_answers(
        _call(session, procedures.CHANGE_FILES, ChangeFilesArgs(data, UInt64(0), UInt32(0))), len(changes)
    )
    return [(answer.errno, answer.written) for answer in answers]


@pytest.mark.parametrize("kind", [modes.S_IFREG, modes.S_IFDIR, modes.S_IFIFO, modes.S_IFSOCK, modes.S_IFLNK])
def test_file_of_every_kind_belongs_to_whoever_asked(session: Session, kind: int) -> None:
    _make(session, b"/new", kind | 0o640, 1000, 1001, b"target" if kind == modes.S_IFLNK else b"")


@pytest.mark.parametrize("flag", ["i", "a"])
def test_directory_tells_whether_a_file_in_it_is_protected(session: Session, tmp_path: Path, flag: str) -> None:
    for number in range(300):
        (tmp_path / f"file-{number}").touch()
    assert not _call(session, procedures.ANY_PROTECTED, PathArgs(GuestPath(b"/")))
    subprocess.run(["chattr", f"+{flag}", tmp_path / "file-299"], check=True)
    try:
        assert _call(session, procedures.ANY_PROTECTED, PathArgs(GuestPath(b"/")))
    finally:
        subprocess.run(["chattr", f"-{flag}", tmp_path / "file-299"], check=True)


@pytest.mark.parametrize("flag", ["i", "a"])
def test_directory_tells_whether_it_is_protected_itself(session: Session, tmp_path: Path, flag: str) -> None:
    subprocess.run(["chattr", f"+{flag}", tmp_path], check=True)
    try:
        assert _call(session, procedures.ANY_PROTECTED, PathArgs(GuestPath(b"/")))
    finally:
        subprocess.run(["chattr", f"-{flag}", tmp_path], check=True)


def test_umask_of_the_daemon_does_not_count(session: Session) -> None:
    before = os.umask(0o077)
    try:
        _make(session, b"/new", modes.S_IFREG | 0o666)
    finally:
        os.umask(before)


def test_setgid_directory_decides_about_the_group(session: Session, tmp_path: Path) -> None:
    directory = tmp_path / "shared"
    directory.mkdir()
    os.chown(directory, 0, 2000)
    directory.chmod(0o2775)
    args = MakeFileArgs(GuestPath(b"/shared/new"), UInt32(modes.S_IFDIR | 0o755), UInt64(0), UInt32(7), UInt32(8), b"")
    made = _call(session, procedures.MAKE_FILE, args).file
    assert (made.st_uid, made.st_gid, made.st_mode) == (7, 2000, modes.S_IFDIR | 0o2755)


def test_existing_file_is_not_opened_instead(session: Session) -> None:
    _make(session, b"/new", modes.S_IFREG | 0o600)
    with pytest.raises(FileExistsError):
        _make(session, b"/new", modes.S_IFREG | 0o600)


def test_change_writes_then_owns_then_permits_then_dates(session: Session, tmp_path: Path) -> None:
    _make(session, b"/file", modes.S_IFREG | 0o600)
    wishes = Wish.UID | Wish.GID | Wish.MODE | Wish.ATIME | Wish.MTIME
    writes = [(0, b"begin"), (100, b"end")]
    change = Change(b"/file", 0, 0, wishes, 0o4711, 5, 6, 7_000_000_008, -8_999_999_990, 0, writes)
    assert _changed(session, change) == [(0, 8)]
    info = (tmp_path / "file").stat()
    assert (tmp_path / "file").read_bytes() == b"begin" + bytes(95) + b"end"
    assert (info.st_mode, info.st_uid, info.st_gid) == (modes.S_IFREG | 0o4711, 5, 6)
    assert (info.st_atime_ns, info.st_mtime_ns) == (7_000_000_008, -9_000_000_000 + 10)


def test_change_makes_a_file_with_all_that_becomes_of_it(session: Session, tmp_path: Path) -> None:
    made = Change(b"/file", 0, 0, Wish.CREATE | Wish.MTIME, 0o4751, 5, 6, 0, 7_000_000_008, 0, [(3, b"end")])
    assert _changed(session, made, made) == [(0, 3), (17, 0)]
    info = (tmp_path / "file").stat()
    assert (tmp_path / "file").read_bytes() == bytes(3) + b"end"
    assert (info.st_mode, info.st_uid, info.st_gid) == (modes.S_IFREG | 0o4751, 5, 6)
    assert info.st_mtime_ns == 7_000_000_008


def test_directory_decides_about_the_group_of_a_file_made_by_a_change(session: Session, tmp_path: Path) -> None:
    _make(session, b"/directory", modes.S_IFDIR | 0o755, 0, 7)
    (tmp_path / "directory").chmod(0o2755)
    plain = Change(b"/directory/plain", wishes=Wish.CREATE, mode=0o644, uid=5, gid=6)
    given = Change(b"/directory/given", wishes=Wish.CREATE | Wish.GID, mode=0o644, uid=5, gid=6)
    assert _changed(session, plain, given) == [(0, 0), (0, 0)]
    assert [(tmp_path / "directory" / name).stat().st_gid for name in ("plain", "given")] == [7, 6]


def test_change_removes_a_file_or_an_empty_directory_but_no_other(session: Session, tmp_path: Path) -> None:
    _make(session, b"/file", modes.S_IFREG | 0o600)
    _make(session, b"/directory", modes.S_IFDIR | 0o755)
    number = (tmp_path / "file").stat().st_ino
    stranger, right = (Change(b"/file", wishes=Wish.REMOVE, ino=each) for each in (number + 1, number))
    assert _changed(session, stranger, right, right) == [(116, 0), (0, 0), (2, 0)]
    assert not (tmp_path / "file").exists()

    (tmp_path / "directory/below").mkdir()
    outer, inner = (Change(path, wishes=Wish.REMOVE) for path in (b"/directory", b"/directory/below"))
    assert _changed(session, outer, inner, outer) == [(39, 0), (0, 0), (0, 0)]
    assert not (tmp_path / "directory").exists()


def test_change_that_fails_does_not_keep_others(session: Session, tmp_path: Path) -> None:
    _make(session, b"/file", modes.S_IFREG | 0o600)
    good = Change(b"/file", wishes=Wish.SIZE, size=3)
    assert _changed(session, Change(b"/absent", writes=[(0, b"x")]), good) == [(2, 0), (0, 0)]
    assert (tmp_path / "file").read_bytes() == bytes(3)


def test_another_file_that_has_the_path_by_now_is_left_alone(session: Session, tmp_path: Path) -> None:
    _make(session, b"/file", modes.S_IFREG | 0o600)
    number = (tmp_path / "file").stat().st_ino
    assert _changed(session, Change(b"/file", ino=number + 1, writes=[(0, b"x")])) == [(116, 0)]
    assert (tmp_path / "file").read_bytes() == b""


def test_link_and_exchange(session: Session, tmp_path: Path) -> None:
    for name in (b"/one", b"/two"):
        _make(session, name, modes.S_IFREG | 0o600)
    assert (
        _call(session, procedures.LINK_FILE, LinkFileArgs(GuestPath(b"/one"), GuestPath(b"/three"))).file.st_nlink == 2
    )
    numbers = [(tmp_path / name).stat().st_ino for name in ("one", "two")]
    _call(
        session,
        procedures.RENAME_FILE,
        RenameFileArgs(GuestPath(b"/one"), GuestPath(b"/two"), UInt32(_EXCHANGE), keep=False),
    )
    assert [(tmp_path / name).stat().st_ino for name in ("two", "one")] == numbers


def test_removed_file_is_kept_until_it_is_closed(session: Session, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"contents")
    kept = _call(session, procedures.REMOVE_NAME, RemoveNameArgs(GuestPath(b"/file"), directory=False, keep=True)).kept
    assert not (tmp_path / "file").exists()
    change = Change(b"/", kept=kept, wishes=Wish.MODE, mode=0o640, writes=[(0, b"CON")])
    assert _changed(session, change) == [(0, 3)]
    assert _call(session, procedures.READ_KEPT, ReadKeptArgs(UInt64(kept), UInt32(99), UInt64(1))) == b"ONtents"
    _call(session, procedures.SYNC_FILE, SyncFileArgs(GuestPath(b"/"), UInt64(kept), datasync=True))
    _call(session, procedures.CLOSE_KEPT, KeptArgs(UInt64(kept)))
    with pytest.raises(OSError, match="Bad file descriptor"):
        _call(session, procedures.CLOSE_KEPT, KeptArgs(UInt64(kept)))


def test_nothing_is_kept_if_it_cannot_be_removed(session: Session, tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(IsADirectoryError):
        _call(session, procedures.REMOVE_NAME, RemoveNameArgs(GuestPath(b"/directory"), directory=False, keep=True))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_links_out_of_the_guest_stay_inside(session: Session, tmp_path: Path) -> None:
    (tmp_path / "escape").symlink_to("/etc")
    with pytest.raises(FileNotFoundError):
        _make(session, b"/escape/new", modes.S_IFREG | 0o600)
    (tmp_path / "link").symlink_to("escape")
    with pytest.raises(OSError, match="symbolic link"):
        _call(session, procedures.OPEN_FILE, OpenFileArgs(GuestPath(b"/link"), UInt32(os.O_WRONLY)))


def test_attribute_holds_any_bytes(session: Session, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    value = bytes(range(256))
    args = ChangeXattrArgs(GuestPath(b"/file"), UInt64(0), FileName(b"user.any"), value, UInt32(0), remove=False)
    _call(session, procedures.CHANGE_XATTR, args)
    assert os.getxattr(tmp_path / "file", "user.any") == value
    _call(session, procedures.CHANGE_XATTR, args._replace(remove=True))
    assert os.listxattr(tmp_path / "file") == []
