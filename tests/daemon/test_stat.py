"""Attributes."""

import os
from pathlib import Path

import pytest

from daemon.stat import PACKED, signed, stat_fields
from rpc.arguments import PathArgs, PathNamesArgs
from rpc.codec import FileName, GuestPath
from rpc.errors import ProcedureError
from rpc.procedures import (
    EXISTS,
    FILESIZE,
    INTERNAL_LSTATNSLIST,
    IS_DIR,
    IS_FILE,
    IS_SYMLINK,
    LSTATNS,
    STATNS,
    STATVFS,
)
from rpc.procedures.attributes import FilesizeArgs, IsFileArgs
from rpc.types import Statns
from tests.daemon.guestfsd import Guestfsd


def test_inode_number_of_64_bits_fits_the_wire() -> None:
    """Such as btrfs may have, up to 2**64 - 256."""
    number = 2**64 - 300
    rest = dict.fromkeys(("st_atime_ns", "st_mtime_ns", "st_ctime_ns", "st_rdev", "st_blksize", "st_blocks"), 0)
    fields = stat_fields(os.stat_result((0o100644, number, 2, 1, 0, 0, 5, 0, 0, 0), rest))
    assert fields[1] == -300
    assert len(PACKED.pack(*fields)) == 176
    assert signed(number) == -300
    assert signed(2**63 - 1) == 2**63 - 1


def expected(info: os.stat_result) -> Statns:
    return Statns(
        info.st_dev,
        info.st_ino,
        info.st_mode,
        info.st_nlink,
        info.st_uid,
        info.st_gid,
        info.st_rdev,
        info.st_size,
        info.st_blksize,
        info.st_blocks,
        info.st_atime_ns // 10**9,
        info.st_atime_ns % 10**9,
        info.st_mtime_ns // 10**9,
        info.st_mtime_ns % 10**9,
        info.st_ctime_ns // 10**9,
        info.st_ctime_ns % 10**9,
        *(0,) * 6,
    )


@pytest.mark.parametrize("name", ["hello", "sub", "link", "dangling", "fifo", "null", "disk", "socket", "caf\udce9"])
def test_lstatns_of_every_type_is_that_of_the_kernel(daemon: Guestfsd, guest: Path, name: str) -> None:
    path = GuestPath(b"/" + os.fsencode(name))
    assert daemon.call(LSTATNS, PathArgs(path)) == expected((guest / name).lstat())


@pytest.mark.parametrize("mtime_ns", [-1, -(10**9) - 1, 0, 1, 2**34 * 10**9 - 1])
def test_lstatns_of_any_time_is_exact(daemon: Guestfsd, guest: Path, mtime_ns: int) -> None:
    os.utime(guest / "hello", ns=(mtime_ns, mtime_ns))
    info = (guest / "hello").lstat()
    stat = daemon.call(LSTATNS, PathArgs(GuestPath(b"/hello")))
    assert stat.st_mtime_sec * 10**9 + stat.st_mtime_nsec == info.st_mtime_ns
    assert 0 <= stat.st_mtime_nsec < 10**9


def test_statns_follows_links_inside_the_guest(daemon: Guestfsd, guest: Path) -> None:
    stat = daemon.call(STATNS, PathArgs(GuestPath(b"/link")))
    assert stat.st_ino == (guest / "sub/inner").stat().st_ino


def test_missing_file_is_named_in_the_error(daemon: Guestfsd) -> None:
    with pytest.raises(ProcedureError) as caught:
        daemon.call(LSTATNS, PathArgs(GuestPath(b"/none/such")))
    assert (caught.value.errno_name, caught.value.message) == ("ENOENT", "/none/such: No such file or directory")


def test_lstatnslist_marks_what_cannot_be_read(daemon: Guestfsd, guest: Path) -> None:
    names = [FileName(b"hello"), FileName(b"gone"), FileName(b"link")]
    found = daemon.call(INTERNAL_LSTATNSLIST, PathNamesArgs(GuestPath(b"/"), names))
    assert found == [
        expected((guest / "hello").lstat()),
        Statns(0, -1, *(0,) * 20),
        expected((guest / "link").lstat()),
    ]


def test_lists_take_no_names_with_a_slash(daemon: Guestfsd) -> None:
    with pytest.raises(ProcedureError, match="must not contain /") as caught:
        daemon.call(INTERNAL_LSTATNSLIST, PathNamesArgs(GuestPath(b"/sub"), [FileName(b"../hello")]))
    assert caught.value.errno_name == ""


def test_existence_and_kinds(daemon: Guestfsd) -> None:
    def asked(name: bytes) -> tuple[bool, ...]:
        path = GuestPath(name)
        plain, followed = IsFileArgs(path), IsFileArgs(path, followsymlinks=True)
        return (
            daemon.call(EXISTS, PathArgs(path)),
            daemon.call(IS_SYMLINK, PathArgs(path)),
            daemon.call(IS_FILE, plain),
            daemon.call(IS_FILE, followed),
            daemon.call(IS_DIR, plain),
        )

    assert asked(b"/hello") == (True, False, True, True, False)
    assert asked(b"/sub") == (True, False, False, False, True)
    assert asked(b"/link") == (True, True, False, True, False)
    assert asked(b"/dangling") == (True, True, False, False, False)
    assert asked(b"/none") == (False,) * 5
    assert asked(b"/hello/below") == (False,) * 5


def test_filesize_follows_links(daemon: Guestfsd) -> None:
    assert daemon.call(FILESIZE, FilesizeArgs(GuestPath(b"/link"))) == 5


def test_statvfs_is_that_of_the_kernel(daemon: Guestfsd, guest: Path) -> None:
    found, info = daemon.call(STATVFS, PathArgs(GuestPath(b"/sub"))), os.statvfs(guest)
    assert (found.bsize, found.frsize, found.blocks, found.files) == (
        info.f_bsize,
        info.f_frsize,
        info.f_blocks,
        info.f_files,
    )
    assert (found.fsid & (1 << 64) - 1, found.flag, found.namemax) == (info.f_fsid, info.f_flag, info.f_namemax)
