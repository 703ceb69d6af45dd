"""Listings, links and walks."""

import os
from pathlib import Path
from typing import Any, cast

import pytest

from daemon.listings import list_directory
from daemon.session import Session
from daemon.sysroot import Sysroot
from rpc.arguments import PathArgs, PathNamesArgs
from rpc.codec import FileName, GuestPath
from rpc.errors import ProcedureError
from rpc.hot import STATNS as STATNS_LAYOUT
from rpc.hot import RawEntry, decode_directory_entries, decode_dirents
from rpc.procedure import Procedure
from rpc.procedures import (
    FIND0,
    INTERNAL_READDIR,
    INTERNAL_READLINKLIST,
    LIST_DIRECTORY,
    LS0,
    READDIR,
    READLINK,
    REALPATH,
)
from rpc.procedures.directories import Find0Args, ReaddirArgs
from rpc.types import Xattr
from tests.daemon.guestfsd import Guestfsd
from tests.daemon.test_stat import expected

NAMES = {b"hello", b"sub", b"link", b"dangling", b"caf\xe9", b"fifo", b"null", b"disk", b"socket"}
LETTERS = {
    b"hello": "r",
    b"sub": "d",
    b"link": "l",
    b"dangling": "l",
    b"caf\xe9": "r",
    b"fifo": "f",
    b"null": "c",
    b"disk": "b",
    b"socket": "s",
}


def listed(daemon: Guestfsd, path: bytes) -> list[tuple[RawEntry, bytes]]:
    """Return the entries of a directory with their packed attributes; each chunk holds whole records."""
    daemon.start_download(LIST_DIRECTORY, PathArgs(GuestPath(path)))
    *chunks, end = daemon.chunks()
    assert not end.cancelled
    return [
        (entry, chunk.data[entry.stat_offset : entry.stat_offset + STATNS_LAYOUT.size])
        for chunk in chunks
        for entry in decode_directory_entries(chunk.data)
    ]


def test_readdir_tells_names_inodes_and_types(daemon: Guestfsd, guest: Path) -> None:
    found = {entry.name: (entry.ino, entry.ftyp) for entry in daemon.call(READDIR, ReaddirArgs(GuestPath(b"/")))}
    assert found.pop(FileName(b".")) == (guest.stat().st_ino, "d")
    assert found.pop(FileName(b"..")) == (guest.stat().st_ino, "d")
    root = os.fsencode(guest)
    assert found == {name: (os.lstat(root + b"/" + name).st_ino, LETTERS[name]) for name in NAMES}


def test_internal_readdir_streams_what_readdir_returns(daemon: Guestfsd) -> None:
    streamed = list(decode_dirents(daemon.download(INTERNAL_READDIR, ReaddirArgs(GuestPath(b"/")))))
    assert streamed == daemon.call(READDIR, ReaddirArgs(GuestPath(b"/")))


def test_internal_readdir_of_a_huge_directory_keeps_records_whole(daemon: Guestfsd, guest: Path) -> None:
    names = {b"%0200d" % number for number in range(3000)}
    for name in names:
        os.close(os.open(os.fsencode(guest / "sub") + b"/" + name, os.O_CREAT | os.O_WRONLY))
    daemon.start_download(INTERNAL_READDIR, ReaddirArgs(GuestPath(b"/sub")))
    *chunks, _ = daemon.chunks()
    assert len(chunks) > 50
    found = [bytes(entry.name) for chunk in chunks for entry in decode_dirents(chunk.data)]
    assert sorted(found) == sorted([*names, b"inner", b".", b".."])


def test_readdir_beyond_the_longest_message_is_an_error_and_the_daemon_goes_on(daemon: Guestfsd, guest: Path) -> None:
    for number in range(16000):
        os.close(os.open(os.fsencode(guest / "sub") + b"/%0250d" % number, os.O_CREAT | os.O_WRONLY))
    with pytest.raises(ProcedureError, match="longer than the protocol allows") as caught:
        daemon.call(READDIR, ReaddirArgs(GuestPath(b"/sub")))
    assert caught.value.errno_name == ""
    assert daemon.call(READLINK, PathArgs(GuestPath(b"/link"))) == b"/sub/inner"
    assert daemon.download(LS0, ReaddirArgs(GuestPath(b"/sub"))).count(b"\0") == 16001


def test_ls0_ends_each_name_with_nul(daemon: Guestfsd) -> None:
    text = daemon.download(LS0, ReaddirArgs(GuestPath(b"/")))
    assert text.endswith(b"\0")
    assert set(text.split(b"\0")) - {b""} == NAMES


def test_list_directory_tells_everything(daemon: Guestfsd, guest: Path) -> None:
    os.setxattr(guest / "hello", "user.b", b"2")
    os.setxattr(guest / "hello", "user.a", b"\0binary\0")
    daemon.hello()
    listed(daemon, b"/")  # sets access times, once (relatime)
    entries = listed(daemon, b"/")
    assert entries[0][0].name == b"."
    assert {entry.name for entry, _ in entries} == NAMES | {b"."}
    for entry, attributes in entries:
        assert STATNS_LAYOUT.unpack(attributes) == expected(os.lstat(os.fsencode(guest) + b"/" + entry.name))
    found = {entry.name: entry for entry, _ in entries}
    assert (found[FileName(b"link")].target, found[FileName(b"dangling")].target) == (b"/sub/inner", b"nowhere")
    assert {entry.target for entry, _ in entries} == {b"", b"/sub/inner", b"nowhere"}
    assert found[FileName(b"hello")].xattrs == (Xattr(b"user.a", b"\0binary\0"), Xattr(b"user.b", b"2"))
    assert found[FileName(b"sub")].xattrs == ()


def test_list_directory_leaves_out_attributes_that_fill_a_chunk(guest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(guest)  # the handler leaves this process elsewhere
    for number in range(3):
        os.setxattr(guest / "hello", f"user.{number}", bytes(500))
    session = Session(Sysroot(os.fsencode(guest), is_plain_directory=True))
    session.chunk_max_bytes = 1024
    pieces = list(list_directory(session, PathArgs(GuestPath(b"/"))))
    assert all(isinstance(piece, bytes) and len(piece) <= 1024 for piece in pieces)
    found = {entry.name: entry for piece in pieces for entry in decode_directory_entries(bytes(piece))}
    assert found.keys() == NAMES | {b"."}
    assert {name for name, entry in found.items() if entry.xattrs is None} == {b"hello"}


def test_list_directory_of_many_entries_is_complete(daemon: Guestfsd, guest: Path) -> None:
    for number in range(5000):
        (guest / f"sub/{number}").touch()
    daemon.hello()
    names = [bytes(entry.name) for entry, _ in listed(daemon, b"/sub")]
    assert names[0] == b"."
    assert sorted(names) == sorted([b".", b"inner", *(b"%d" % number for number in range(5000))])


@pytest.mark.parametrize(("path", "errno_name"), [(b"/hello", "ENOTDIR"), (b"/none", "ENOENT"), (b"/fifo", "ENOTDIR")])
def test_listing_what_is_no_directory_is_an_error(daemon: Guestfsd, path: bytes, errno_name: str) -> None:
    for procedure in (LIST_DIRECTORY, INTERNAL_READDIR, LS0, FIND0, READDIR):
        with pytest.raises(ProcedureError) as caught:
            daemon.call(cast("Procedure[Any, Any]", procedure), procedure.args(GuestPath(path)))
        assert caught.value.errno_name == errno_name


def test_find0_tells_every_path_once(daemon: Guestfsd, guest: Path) -> None:
    (guest / "sub/deeper").mkdir()
    (guest / "sub/deeper/x").touch()
    (guest / "sub/loop").symlink_to("..")
    below = {b"/inner", b"/deeper", b"/deeper/x", b"/loop"}
    found = daemon.download(FIND0, Find0Args(GuestPath(b"/sub"))).split(b"\0")
    assert found.pop() == b""
    assert sorted(found) == sorted(below)
    found = daemon.download(FIND0, Find0Args(GuestPath(b"/"))).split(b"\0")
    assert sorted(found[:-1]) == sorted(NAMES | {b"sub" + path for path in below})


def test_readlink_and_its_list(daemon: Guestfsd) -> None:
    assert daemon.call(READLINK, PathArgs(GuestPath(b"/dangling"))) == b"nowhere"
    with pytest.raises(ProcedureError) as caught:
        daemon.call(READLINK, PathArgs(GuestPath(b"/hello")))
    assert caught.value.errno_name == "EINVAL"
    names = [FileName(name) for name in (b"link", b"hello", b"none", b"dangling")]
    found = daemon.call(INTERNAL_READLINKLIST, PathNamesArgs(GuestPath(b"/"), names))
    assert found == [b"/sub/inner", b"", b"", b"nowhere"]


def test_realpath_stays_in_the_guest(daemon: Guestfsd) -> None:
    assert daemon.call(REALPATH, PathArgs(GuestPath(b"/sub/../link"))) == "/sub/inner"
    for path in (b"/hello/../sub", b"/hello/"):
        assert daemon.error(REALPATH, PathArgs(GuestPath(path)))[0] == "ENOTDIR"
