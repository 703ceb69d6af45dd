"""Modes, owners, times and extended attributes that change."""

import os
import time
from pathlib import Path

import pytest

from rpc.codec import GuestPath
from rpc.procedures import (
    CHMOD,
    CHOWN,
    COPY_ATTRIBUTES,
    LCHOWN,
    LREMOVEXATTR,
    LSETXATTR,
    REMOVEXATTR,
    SETXATTR,
    UTIMENS,
)
from rpc.procedures.names import ChmodArgs, ChownArgs, UtimensArgs
from rpc.procedures.permissions import CopyAttributesArgs
from rpc.procedures.xattrs import RemovexattrArgs, SetxattrArgs
from tests.daemon.guestfsd import Guestfsd

HELLO = GuestPath(b"/hello")
LINK = GuestPath(b"/link")
DANGLING = GuestPath(b"/dangling")


def test_chmod_follows_links_and_ignores_type_bits(daemon: Guestfsd, guest: Path) -> None:
    daemon.call(CHMOD, ChmodArgs(0o106751, HELLO))
    assert (guest / "hello").stat().st_mode == 0o106751
    daemon.call(CHMOD, ChmodArgs(0o600, LINK))
    assert (guest / "sub/inner").stat().st_mode == 0o100600
    assert daemon.error(CHMOD, ChmodArgs(0o600, DANGLING))[0] == "ENOENT"
    assert daemon.error(CHMOD, ChmodArgs(-1, HELLO)) == ("", "mode -1 is negative")


def test_chown_follows_links_and_lchown_does_not(daemon: Guestfsd, guest: Path) -> None:
    daemon.call(CHOWN, ChownArgs(10, 20, LINK))
    daemon.call(LCHOWN, ChownArgs(30, -1, LINK))
    daemon.call(LCHOWN, ChownArgs(-2, 40, DANGLING))
    found = [(guest / name).lstat()[4:6] for name in ("sub/inner", "link", "dangling")]
    assert found == [(10, 20), (30, 0), (2**32 - 2, 40)]
    assert daemon.error(CHOWN, ChownArgs(1, 1, DANGLING))[0] == "ENOENT"
    assert daemon.error(LCHOWN, ChownArgs(1, 1, GuestPath(b"/none")))[0] == "ENOENT"


def times_ns(path: Path) -> tuple[int, int]:
    info = path.lstat()
    return info.st_atime_ns, info.st_mtime_ns


def test_utimens_of_a_link_itself(daemon: Guestfsd, guest: Path) -> None:
    target = times_ns(guest / "sub/inner")
    daemon.call(UTIMENS, UtimensArgs(LINK, 1, 2, -3, 4))
    assert times_ns(guest / "link") == (1_000_000_002, -2_999_999_996)
    assert times_ns(guest / "sub/inner") == target


def test_utimens_now_and_as_it_is(daemon: Guestfsd, guest: Path) -> None:
    os.utime(guest / "hello", ns=(5, 6))
    daemon.call(UTIMENS, UtimensArgs(HELLO, 7, -2, 8, 9))
    assert times_ns(guest / "hello") == (5, 8_000_000_009)
    daemon.call(UTIMENS, UtimensArgs(HELLO, 7, -1, 8, -2))
    atime_ns, mtime_ns = times_ns(guest / "hello")
    assert abs(atime_ns - time.time_ns()) < 60 * 10**9
    assert mtime_ns == 8_000_000_009
    daemon.call(UTIMENS, UtimensArgs(HELLO, 0, -1, 0, -1))
    assert abs(times_ns(guest / "hello")[1] - time.time_ns()) < 60 * 10**9
    before = (guest / "hello").stat().st_ctime_ns
    daemon.call(UTIMENS, UtimensArgs(HELLO, 0, -2, 0, -2))
    assert (guest / "hello").stat().st_ctime_ns == before


@pytest.mark.parametrize(("atnsecs", "mtnsecs"), [(-3, 0), (0, 10**9)])
def test_utimens_refuses_what_is_no_time(daemon: Guestfsd, atnsecs: int, mtnsecs: int) -> None:
    assert daemon.error(UTIMENS, UtimensArgs(HELLO, 0, atnsecs, 0, mtnsecs))[0] == "EINVAL"
    assert daemon.error(UTIMENS, UtimensArgs(GuestPath(b"/none"), 0, atnsecs, 0, mtnsecs))[0] == "ENOENT"


def test_xattrs_of_a_file_and_of_a_link(daemon: Guestfsd, guest: Path) -> None:
    daemon.call(SETXATTR, SetxattrArgs("user.a", "value", 5, LINK))
    daemon.call(LSETXATTR, SetxattrArgs("trusted.l", "link's", 6, LINK))
    daemon.call(LSETXATTR, SetxattrArgs("user.b", "cut off", 3, HELLO))
    assert os.getxattr(guest / "sub/inner", "user.a") == b"value"
    assert os.getxattr(guest / "link", "trusted.l", follow_symlinks=False) == b"link's"
    assert os.getxattr(guest / "hello", "user.b") == b"cut"
    daemon.call(REMOVEXATTR, RemovexattrArgs("user.a", LINK))
    daemon.call(LREMOVEXATTR, RemovexattrArgs("trusted.l", LINK))
    assert os.listxattr(guest / "sub/inner") == os.listxattr(guest / "link", follow_symlinks=False) == []
    assert daemon.error(LREMOVEXATTR, RemovexattrArgs("user.a", HELLO))[0] == "ENODATA"
    assert daemon.error(REMOVEXATTR, RemovexattrArgs("user.a", DANGLING))[0] == "ENOENT"


def test_xattr_value_of_any_bytes(daemon: Guestfsd, guest: Path) -> None:
    value = bytes(range(256))
    daemon.call(LSETXATTR, SetxattrArgs("user.bytes", os.fsdecode(value), len(value), HELLO))
    assert os.getxattr(guest / "hello", "user.bytes") == value


def test_xattr_value_that_libguestfs_has_cut_at_its_nul(daemon: Guestfsd, guest: Path) -> None:
    daemon.call(LSETXATTR, SetxattrArgs("user.label", "system_u:object_r:etc_t:s0", 27, HELLO))
    assert os.getxattr(guest / "hello", "user.label") == b"system_u:object_r:etc_t:s0\0"
    for length in (28, -1):
        args = SetxattrArgs("user.label", "system_u:object_r:etc_t:s0", length, HELLO)
        assert daemon.error(LSETXATTR, args) == ("", f"vallen {length} is not within the value's 26 bytes")


def test_copy_attributes_wants_both_files_even_to_copy_nothing(daemon: Guestfsd) -> None:
    for src, dest in ((HELLO, DANGLING), (DANGLING, HELLO)):
        assert daemon.error(COPY_ATTRIBUTES, CopyAttributesArgs(src, dest))[0] == "ENOENT"


def test_copy_attributes_minds_what_is_not_wanted(daemon: Guestfsd, guest: Path) -> None:
    (guest / "sub/inner").chmod(0o751)
    os.chown(guest / "sub/inner", 10, 20)
    daemon.call(COPY_ATTRIBUTES, CopyAttributesArgs(LINK, HELLO, all=True, mode=False))
    info = (guest / "hello").stat()
    assert (info.st_mode, *info[4:6]) == (0o100644, 10, 20)


@pytest.mark.parametrize("chosen", ["all", "mode", "ownership", "xattributes"])
def test_copy_attributes_copies_what_is_chosen(daemon: Guestfsd, guest: Path, chosen: str) -> None:
    inner = guest / "sub/inner"
    inner.chmod(0o4751)
    os.chown(inner, 10, 20)
    inner.chmod(0o4751)
    os.setxattr(inner, "user.a", b"value")
    daemon.call(COPY_ATTRIBUTES, CopyAttributesArgs(LINK, HELLO, **{chosen: True}))
    info = (guest / "hello").stat()
    found = (info.st_mode == 0o104751, info[4:6] == (10, 20), os.listxattr(guest / "hello") == ["user.a"])
    wanted = {"mode": (True, False, False), "ownership": (False, True, False), "xattributes": (False, False, True)}
    assert found == wanted.get(chosen, (True, True, True))
