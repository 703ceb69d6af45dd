"""Every row of the table is a method with types, and the verbs made of several rows do what their names say."""

import errno
import inspect
import os
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from guestmount_py.arguments import INTERNAL, bound
from guestmount_py.conveniences import Conveniences
from guestmount_py.guest_files import GuestFiles
from guestmount_py.handle import Guest
from guestmount_py.sync import SyncGuest
from guestmount_py.transfers import Download
from guestmount_py.verbs import AsyncVerbs
from rpc import procedures
from rpc.arguments import PathArgs
from rpc.codec import FileName, GuestPath, codec_of
from rpc.errors import LocalProtocolError, ProcedureError, RemoteProtocolError, StateError
from rpc.procedure import Procedure, Transfer
from rpc.procedures import BY_NAME
from rpc.types import Dirent
from rpc.xdr import Writer
from tests.fakes import FakeDaemon, fake_guest
from tests.guestmount_py.conftest import Bench, launched
from tools.make_verbs import STUB, stub

SHADOWED = {"readdir"}
"""Rows that a verb of the same name replaces, because it does more."""


def test_stub_is_what_the_table_says() -> None:
    assert STUB.read_text() == stub(), "run 'python -m tools.make_verbs'"


VERBS = {name: row for name, row in BY_NAME.items() if name not in INTERNAL}


@pytest.mark.parametrize("row", VERBS.values(), ids=VERBS)
def test_stub_has_every_row_twice(row: Procedure[Any, Any]) -> None:
    assert STUB.read_text().count(f" def {row.name}(") == 2


def test_no_row_hides_behind_another_verb() -> None:
    public = {name for name in dir(Guest) if not name.startswith("_")}
    assert public & set(BY_NAME) == SHADOWED


def test_the_blocking_handle_has_the_same_verbs() -> None:
    def public(cls: type) -> set[str]:
        return {name for name in dir(cls) if not name.startswith("_")}

    assert public(Guest) - public(SyncGuest) == {"files", "images", "writing"}  # what mounts use
    assert public(SyncGuest) <= public(Guest)
    for name in public(Conveniences):
        assert inspect.signature(getattr(Guest, name)) == inspect.signature(getattr(SyncGuest, name))


async def test_what_is_no_procedure_is_no_attribute() -> None:
    g = Guest()
    for name in ("hello", "resume", "no_such_call", "BY_NAME", "PING_DAEMON", "import_module", "Procedure"):
        with pytest.raises(AttributeError, match=f"no procedure '{name}'"):
            getattr(g, name)
    assert not hasattr(AsyncVerbs(), "__deepcopy__")


@pytest.mark.parametrize("row", VERBS.values(), ids=VERBS)
async def test_every_row_can_be_called(row: Procedure[Any, Any]) -> None:
    verb = getattr(Guest(), row.name)
    values: list[Any] = [_example(kind) for name, kind in row.args.__annotations__.items() if name not in row.optargs]
    if row.transfer is Transfer.FILE_IN:
        values.insert(0, [])
    with pytest.raises(StateError, match="this handle is CONFIG"):
        await (verb(*values).read() if row.transfer is Transfer.FILE_OUT else verb(*values))
    with pytest.raises((TypeError, ValueError)):
        await verb(*values, "one", "too", "many")


def _example(kind: Any) -> Any:
    return [] if getattr(kind, "__origin__", None) is list else "text"


@pytest.mark.parametrize(
    "given", ["/caf\udce9", b"/caf\xe9", PurePosixPath("/caf\udce9")], ids=["text", "bytes", "path"]
)
def test_guest_paths_are_given_as_text_bytes_or_paths(given: Any) -> None:
    assert bound(procedures.LSTATNS, (given,), {}) == (b"/caf\xe9",)
    assert bound(procedures.MOUNT_RO, ("/dev/sda", given), {}) == ("/dev/sda", "/caf\udce9")
    assert bound(procedures.INTERNAL_LSTATNSLIST, ("/", [given]), {}) == (b"/", [b"/caf\xe9"])


def test_optional_arguments_go_by_name() -> None:
    assert bound(procedures.IS_FILE, ("/x",), {}) == (b"/x", None)
    assert bound(procedures.IS_FILE, ("/x",), {"followsymlinks": True}) == (b"/x", True)
    with pytest.raises(TypeError, match="is_file takes 1 arguments, not 2; optional ones go by name"):
        bound(procedures.IS_FILE, ("/x", True), {})
    with pytest.raises(TypeError, match="followsymlink"):
        bound(procedures.IS_FILE, ("/x",), {"followsymlink": True})


def test_a_text_is_no_list_of_texts() -> None:
    with pytest.raises(TypeError, match="is no list"):
        bound(procedures.VGCREATE, ("vg", "/dev/sda"), {})


def test_nul_is_refused_before_a_daemon_could_cut_a_path_or_a_key_there() -> None:
    with pytest.raises(LocalProtocolError, match="luks_open: key contains NUL") as caught:
        bound(procedures.LUKS_OPEN, ("/dev/sda", "secret\0rest", "name"), {})
    assert "secret" not in str(caught.value)
    with pytest.raises(LocalProtocolError, match="contains NUL"):
        bound(procedures.COMMAND, (["rm", "-r", "/home/x\0y"],), {})
    attribute = bound(procedures.SETXATTR, ("security.capability", b"\1\0\0\2", 4, "/ping"), {})
    assert attribute.val == "\1\0\0\2"  # a value is no text, whatever the protocol calls it
    with pytest.raises(LocalProtocolError, match="must not contain NUL"):
        codec_of(PathArgs).encode(Writer(), bound(procedures.RM_RF, ("/home/x\0y",), {}))


def test_content_is_not_guessed_from_text() -> None:
    assert bound(procedures.INTERNAL_WRITE, ("/x", b"text"), {}).content == b"text"
    assert bound(procedures.INTERNAL_WRITE, ("/x", "text"), {}).content == "text"


async def test_arguments_that_do_not_fit_are_refused_before_they_are_sent(bench: Bench) -> None:
    async with launched(bench) as g:
        with pytest.raises(LocalProtocolError):
            await g.pread("/x", 1 << 40, 0)
        assert await g.exists("/")


async def test_files_are_read_whole(bench: Bench) -> None:
    (bench.root / "lines").write_bytes(b"one\r\ntwo\n\nfour \xff")
    (bench.root / "ended").write_bytes(b"one\ntwo\n")
    (bench.root / "empty").touch()
    async with launched(bench) as g:
        assert await g.read_file("/lines") == b"one\r\ntwo\n\nfour \xff"
        assert await g.cat("/lines") == "one\r\ntwo\n\nfour \udcff"
        assert await g.read_lines("/lines") == ["one", "two", "", "four \udcff"]
        assert await g.read_lines("/ended") == ["one", "two"]
        assert await g.read_lines("/empty") == []


@pytest.mark.parametrize("size_bytes", [0, 5, 2 << 20, (2 << 20) + 1, 5 << 20])
async def test_files_are_written_and_added_to_whatever_their_size(bench: Bench, size_bytes: int) -> None:
    content = os.urandom(size_bytes)
    async with launched(bench) as g:
        await g.write_append("/file", content)
        assert (bench.root / "file").read_bytes() == content
        await g.write("/file", content[1:])
        assert (bench.root / "file").read_bytes() == content[1:]
        await g.write_append("/file", content)
    assert (bench.root / "file").read_bytes() == content[1:] + content


async def test_directories_are_listed(bench: Bench) -> None:
    (bench.root / "sub/deep").mkdir(parents=True)
    (bench.root / "sub/b").symlink_to("a")
    Path(os.fsdecode(os.fsencode(bench.root) + b"/sub/a\xff")).touch()
    async with launched(bench) as g:
        assert await g.ls("/sub") == [b"a\xff", b"b", b"deep"]
        assert await g.ls("/sub/deep") == []
        assert await g.find("/") == [b"sub", b"sub/a\xff", b"sub/b", b"sub/deep"]
        assert sorted(entry.name for entry in await g.readdir("/sub")) == [b".", b"..", b"a\xff", b"b", b"deep"]
        assert (await g.lstat("/sub/b")).st_size == 1
        assert (await g.stat("/sub/deep")).st_ino == (bench.root / "sub/deep").stat().st_ino
        assert await g.readlink("/sub/b") == b"a"


async def test_attributes_of_many_files_come_in_batches(bench: Bench) -> None:
    names = [f"{number:04}" for number in range(2500)]
    for name in names:
        (bench.root / name).symlink_to(f"to-{name}")
    async with launched(bench) as g:
        assert await g.readlinklist("/", names) == [f"to-{name}".encode() for name in names]
        stats = await g.lstatlist("/", [*names, "absent"])
        assert [stat.st_ino for stat in stats] == [(bench.root / name).lstat().st_ino for name in names] + [-1]
        assert len([row for row in await g.lxattrlist("/", names) if not row.attrname]) == len(names)


async def test_features_are_told(bench: Bench) -> None:
    async with launched(bench) as g:
        groups = await g.available_all_groups()
        assert not await g.feature_available(["no-such-group"])
        assert await g.feature_available([]) is True
        assert await g.feature_available(["linuxxattrs"]) is True
        assert not await g.feature_available([*groups, "no-such-group"])


class _OverPool(Conveniences):
    """Verbs over a fake daemon's channels."""

    def __init__(self, files: GuestFiles) -> None:
        self._pool = files._pool

    async def call(self, procedure: Procedure[Any, Any], args: Any) -> Any:
        return await self._pool.call(procedure, args)

    def receive(self, procedure: Procedure[Any, Any], args: Any) -> Download:
        return Download(partial(self._pool.download, procedure, args))


async def test_directories_are_listed_with_the_stream_or_the_message_whichever_the_daemon_knows() -> None:
    entries = [Dirent(number, "d", FileName(name)) for number, name in enumerate((b".", b"..", b"x\xff"), start=5)]
    daemon = FakeDaemon()
    daemon.answer(procedures.READDIR, lambda _args: entries)
    async with fake_guest(daemon) as (files, _):
        assert await _OverPool(files).readdir("/dir") == entries
        assert [name for name, _ in daemon.calls] == ["internal_readdir", "readdir"]


async def test_directory_too_large_for_a_stock_daemons_message_is_listed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUEST_IS_STOCK", "1")
    (bench.root / "large").mkdir()
    for number in range(16_500):
        (bench.root / f"large/{number:0250}").touch()
    (bench.root / "large/link").symlink_to("to")
    os.mkfifo(bench.root / "large/fifo")
    expected = {os.fsencode(entry.name): entry.inode() for entry in os.scandir(bench.root / "large")}
    async with launched(bench) as g:
        with pytest.raises(ProcedureError, match="longer"):
            await g.call(procedures.READDIR, procedures.READDIR.args(GuestPath(b"/large")))
        found: dict[bytes, Dirent] = {entry.name: entry for entry in await g.readdir("/large")}
        assert [found.pop(name).ino for name in (b".", b"..")] == [
            path.stat().st_ino for path in (bench.root / "large", bench.root)
        ]
        assert {name: entry.ino for name, entry in found.items()} == expected
        assert [found[name].ftyp for name in (b"%0250d" % 7, b"link", b"fifo")] == ["r", "l", "f"]
        assert {entry.name for entry in await g.files.list_directory(b"/large")} == set(expected)


async def test_error_of_the_stream_is_not_taken_for_an_old_daemon() -> None:
    def refuse(_args: Any) -> Any:
        raise NotADirectoryError(errno.ENOTDIR, "not a directory")

    daemon = FakeDaemon()
    daemon.answer(procedures.INTERNAL_READDIR, refuse)
    async with fake_guest(daemon) as (files, _):
        with pytest.raises(ProcedureError, match="not a directory"):
            await _OverPool(files).readdir("/file")
        assert [name for name, _ in daemon.calls] == ["internal_readdir"]


@pytest.mark.parametrize("names", [b"../../.ssh/authorized_keys\0", b"..\0", b"cut", b"\0"])
async def test_names_that_no_directory_has_are_not_handed_on(names: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    async def read(_self: Download, max_bytes: int = 0) -> bytes:
        return names

    monkeypatch.setattr(Download, "read", read)
    guest = Guest()
    with pytest.raises(RemoteProtocolError):
        await guest.ls("/")
    with pytest.raises(RemoteProtocolError):
        await guest.find("/")
