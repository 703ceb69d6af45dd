"""No path and no link in the guest leads outside the guest's root."""

import os
from pathlib import Path
from typing import Any

import pytest

from rpc.arguments import PathArgs
from rpc.codec import DeviceOrPath, FileName, GuestPath
from rpc.errors import ProcedureError
from rpc.procedure import Procedure
from rpc.procedures import (
    DOWNLOAD,
    DOWNLOAD_OFFSET,
    FIND0,
    LGETXATTRS,
    LIST_DIRECTORY,
    PREAD,
    READ_FILES,
    READDIR,
    REALPATH,
    STATNS,
)
from rpc.procedures.contents import PreadArgs
from rpc.procedures.directories import Find0Args, ReaddirArgs
from rpc.procedures.extensions import ReadFilesArgs
from rpc.procedures.transfers import DownloadOffsetArgs, RemoteFileArgs
from tests.daemon.guestfsd import Guestfsd, started

UP = "/".join([".."] * 30)


@pytest.fixture(params=["absolute", "upward", "chained", "parent", "dotted", "proc"])
def escape(request: pytest.FixtureRequest, guest: Path, tmp_path: Path) -> bytes:
    """Plant a link that leads to the host's secret wherever it is followed outside the guest's root."""
    secret = tmp_path / "secret"
    trail = guest / "trail"
    match request.param:
        case "absolute":
            trail.symlink_to(secret)
        case "upward":
            trail.symlink_to(f"{UP}{secret}")
        case "chained":
            (guest / "first").symlink_to(f"{UP}{tmp_path}")
            (guest / "second").symlink_to("/sub/../first")
            trail.symlink_to("second/secret")
        case "parent":
            (guest / "outside").symlink_to(tmp_path)
            return b"/outside/secret"
        case "dotted":
            return b"/sub/../../../" + os.fsencode(os.path.relpath(secret, guest))
        case "proc":
            (guest / "proc").mkdir()
            (guest / "proc/self").symlink_to("/proc/1")
            trail.symlink_to(f"/proc/self/root{secret}")
    return b"/trail"


def test_hostile_link_leads_nowhere(daemon: Guestfsd, escape: bytes) -> None:
    path, name = GuestPath(escape), DeviceOrPath(escape)
    calls: list[tuple[Procedure[Any, Any], Any]] = [
        (STATNS, PathArgs(path)),
        (REALPATH, PathArgs(path)),
        (PREAD, PreadArgs(path, 10, 0)),
        (DOWNLOAD, RemoteFileArgs(name)),
        (DOWNLOAD_OFFSET, DownloadOffsetArgs(name, 0, 10)),
        (READDIR, ReaddirArgs(path)),
        (FIND0, Find0Args(path)),
        (LIST_DIRECTORY, PathArgs(path)),
    ]
    for procedure, args in calls:
        with pytest.raises(ProcedureError) as caught:
            daemon.call(procedure, args)
        assert caught.value.errno_name == "ENOENT"


@pytest.mark.parametrize("escape", ["absolute", "upward", "chained"], indirect=True)
def test_same_link_is_followed_to_what_the_guest_has_there(
    daemon: Guestfsd, guest: Path, tmp_path: Path, escape: bytes
) -> None:
    inside = guest / tmp_path.relative_to("/")
    inside.mkdir(parents=True)
    (inside / "secret").write_bytes(b"guest")
    assert daemon.call(PREAD, PreadArgs(GuestPath(escape), 10, 0)) == b"guest"


def test_link_to_the_root_lists_the_guests_root(daemon: Guestfsd, guest: Path) -> None:
    (guest / "root").symlink_to("/")
    (guest / "up").symlink_to(UP)
    for path in (b"/root", b"/up", b"/..", b"/sub/../..", b"/root/../up/.."):
        names = {entry.name for entry in daemon.call(READDIR, ReaddirArgs(GuestPath(path)))}
        assert {b"hello", b"sub"} <= names
        assert b"secret" not in names
        assert daemon.call(STATNS, PathArgs(GuestPath(path))).st_ino == guest.stat().st_ino


def test_names_of_links_are_not_followed(daemon: Guestfsd, guest: Path, tmp_path: Path) -> None:
    (guest / "trail").symlink_to(tmp_path / "secret")
    daemon.hello()
    args = ReadFilesArgs(GuestPath(b"/"), [FileName(b"trail"), FileName(b"link")], 100)
    assert daemon.download(READ_FILES, args) == bytes(16)
    assert daemon.call(LGETXATTRS, PathArgs(GuestPath(b"/trail"))) == []


def test_loop_of_links_is_eloop(daemon: Guestfsd, guest: Path) -> None:
    (guest / "a").symlink_to("b")
    (guest / "b").symlink_to("a")
    for call in (
        lambda: daemon.call(STATNS, PathArgs(GuestPath(b"/a"))),
        lambda: daemon.call(REALPATH, PathArgs(GuestPath(b"/a"))),
    ):
        with pytest.raises(ProcedureError) as caught:
            call()
        assert caught.value.errno_name == "ELOOP"


def test_directory_that_becomes_a_link_while_it_is_walked_is_not_followed(guest: Path, tmp_path: Path) -> None:
    """The walk must open what it finds by its name in the directory it holds, and follow nothing."""
    (tmp_path / "host").mkdir()
    (tmp_path / "host/secret-name").touch()
    for number in range(3000):
        (guest / f"sub/{number:04}-{'x' * 200}").mkdir()
    with started(guest) as daemon:
        daemon.start_download(FIND0, Find0Args(GuestPath(b"/sub")))
        # The daemon waits for room in the channel with all of the directories still to be opened.
        for directory in (guest / "sub").iterdir():
            if directory.is_dir():
                directory.rmdir()
                directory.symlink_to(tmp_path / "host")
        *chunks, end = daemon.chunks()
        assert end.cancelled
        assert b"secret-name" not in b"".join(chunk.data for chunk in chunks)
        assert "Not a directory" in daemon.finish()[1]


def test_daemon_returns_to_its_own_root_after_errors(daemon: Guestfsd) -> None:
    with pytest.raises(ProcedureError):
        daemon.call(READDIR, ReaddirArgs(GuestPath(b"/none")))
    process = Path(f"/proc/{daemon.process.pid}")
    assert ((process / "root").readlink(), (process / "cwd").readlink()) == (Path("/"), Path("/"))
