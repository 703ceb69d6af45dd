"""Patterns, letters' case, kinds of files."""

import os
from pathlib import Path
from typing import Any

import pytest

from rpc.arguments import PathArgs
from rpc.codec import GuestPath
from rpc.procedure import Procedure
from rpc.procedures import CASE_SENSITIVE_PATH, GLOB_EXPAND, IS_BLOCKDEV, IS_CHARDEV, IS_FIFO, IS_SOCKET
from rpc.procedures.attributes import IsFileArgs
from rpc.procedures.directories import GlobExpandArgs
from tests.daemon.guestfsd import Guestfsd


@pytest.mark.parametrize(
    ("procedure", "name"), [(IS_FIFO, "fifo"), (IS_SOCKET, "socket"), (IS_CHARDEV, "null"), (IS_BLOCKDEV, "disk")]
)
def test_kind_of_a_file(daemon: Guestfsd, guest: Path, procedure: Procedure[Any, bool], name: str) -> None:
    (guest / "way").symlink_to(name)
    names = [b"/fifo", b"/socket", b"/null", b"/disk", b"/hello", b"/sub", b"/way", b"/none", b"/hello/x", b"/dangling"]
    found = [each for each in names if daemon.call(procedure, IsFileArgs(GuestPath(each)))]
    assert found == [b"/" + name.encode()]
    followed = [each for each in names if daemon.call(procedure, IsFileArgs(GuestPath(each), followsymlinks=True))]
    assert followed == [b"/" + name.encode(), b"/way"]


@pytest.fixture
def windows(guest: Path) -> None:
    (guest / "Windows/System32").mkdir(parents=True)
    (guest / "Windows/System32/Über.DLL").touch()
    (guest / "windowS2").mkdir()
    (guest / "both").touch()
    (guest / "BOTH").touch()
    (guest / "c").symlink_to("/WinDOWS")
    (guest / "d").symlink_to("/Windows")


@pytest.mark.usefixtures("windows")
@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("/", "/"),
        ("/WINDOWS/system32", "/Windows/System32"),
        ("//windows//SYSTEM32/", "/Windows/System32"),
        ("/windows/system32/üBER.dll", "/Windows/System32/Über.DLL"),
        ("/windows/New File", "/Windows/New File"),
        ("/both", "/both"),
        ("/BOTH", "/BOTH"),
        ("/D/system32", "/d/System32"),
    ],
)
def test_case_sensitive_path(daemon: Guestfsd, wanted: str, found: str) -> None:
    assert daemon.call(CASE_SENSITIVE_PATH, PathArgs(GuestPath(wanted.encode()))) == found


@pytest.mark.usefixtures("windows")
@pytest.mark.parametrize(
    ("wanted", "errno"), [("/none/x", ""), ("/windows/../both", ""), ("/both/x", "ENOTDIR"), ("/C/x", "ENOENT")]
)
def test_case_sensitive_path_that_is_none(daemon: Guestfsd, wanted: str, errno: str) -> None:
    assert daemon.error(CASE_SENSITIVE_PATH, PathArgs(GuestPath(wanted.encode())))[0] == errno


@pytest.fixture
def tree(guest: Path) -> Path:
    for name in ("dir/*star", "dir/B", "dir/a", "dir/.hidden", "dir/[x]", "dir/a-b", "dir/sub/file", "dirt/file"):
        (guest / name).parent.mkdir(parents=True, exist_ok=True)
        (guest / name).touch()
    (guest / "way").symlink_to("/dir")
    return guest


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("/d*", ["/dangling", "/dir/", "/dirt/", "/disk"]),
        ("/w?y", ["/way/"]),
        ("/hello", ["/hello"]),
        ("/none", []),
        ("/none*/x", []),
        ("/hello/*", []),
        ("/dir*/f*", ["/dirt/file"]),
        ("/dir/", ["/dir/"]),
        ("/di*/", ["/dir/", "/dirt/"]),
        ("/dangling", ["/dangling"]),
        ("/dir/*", ["/dir/*star", "/dir/B", "/dir/[x]", "/dir/a", "/dir/a-b", "/dir/sub/"]),
        (r"/dir/\*s*", ["/dir/*star"]),
        (r"/dir/\[x]", ["/dir/[x]"]),
        ("/dir/.*", ["/dir/../", "/dir/./", "/dir/.hidden"]),
        ("/dir/[aB]", ["/dir/B", "/dir/a"]),
        ("/dir/[!a-z[]*", ["/dir/*star", "/dir/B"]),
        ("/dir/[^a-z[]*", ["/dir/*star", "/dir/B"]),
        ("/dir/a[b-]b", ["/dir/a-b"]),
        ("/dir/a[+--]b", ["/dir/a-b"]),
        ("/dir/[z-a]", []),
        ("/dir/[a", []),
        ("//dir//a", ["//dir//a"]),
        ("/{hello,dir,none,fif*}", ["/hello", "/dir/", "/fifo"]),
        ("/{h{ello,x},dir{t,}}", ["/hello", "/dirt/", "/dir/"]),
        ("/{hello", []),
        ("/{hello}", ["/hello"]),
        ("/dir/{}", ["/dir/"]),
        ("/caf?", []),
    ],
)
def test_glob_expand(daemon: Guestfsd, pattern: str, found: list[str]) -> None:
    expected = [os.fsdecode(b"/caf\xe9")] if pattern == "/caf?" else found
    assert daemon.call(GLOB_EXPAND, GlobExpandArgs(GuestPath(pattern.encode()))) == expected


@pytest.mark.usefixtures("tree")
def test_glob_expand_without_slashes_at_directories(daemon: Guestfsd) -> None:
    assert daemon.call(GLOB_EXPAND, GlobExpandArgs(GuestPath(b"/dir*"), False)) == ["/dir", "/dirt"]


def test_glob_expand_sees_the_guest_only(daemon: Guestfsd, guest: Path, tmp_path: Path) -> None:
    (guest / "out").symlink_to(tmp_path)
    for pattern in (b"/out/*", b"/../*/secret", os.fsencode(tmp_path) + b"/*"):
        assert daemon.call(GLOB_EXPAND, GlobExpandArgs(GuestPath(pattern))) == []
