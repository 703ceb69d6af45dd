"""The daemon is not trusted: what it says wrong is an error, never a file."""

import errno
import struct
from collections.abc import Callable
from typing import Any

import pytest

from guestmount_py.fuse_wire import statfs_reply
from rpc import procedures
from rpc.codec import FileName
from rpc.errors import ProcedureError, RemoteProtocolError
from rpc.types import Dirent, Statns, Statvfs, Xattr
from tests.fakes import FakeDaemon, directory_entry, fake_guest, statns

_DOT = directory_entry(b".", statns(st_mode=0o40755, st_ino=2))

_IMPOSSIBLE_STATS = {
    "inode 0": statns(st_ino=0),
    "negative inode": statns(st_ino=-2),
    "no file type": statns(st_mode=0o644),
    "unknown file type": statns(st_mode=0o170644),
    "bits above the mode": statns(st_mode=0o100644 | 1 << 20),
    "negative size": statns(st_size=-1),
    "negative blocks": statns(st_blocks=-8),
    "negative links": statns(st_nlink=-1),
    "too many links": statns(st_nlink=1 << 32),
    "negative owner": statns(st_uid=-1),
    "owner of 33 bits": statns(st_uid=1 << 32),
    "group of 33 bits": statns(st_gid=1 << 32),
    "negative device": statns(st_rdev=-1),
    "huge block size": statns(st_blksize=1 << 40),
    "second of 10**9 ns": statns(st_mtime_nsec=1_000_000_000),
    "negative ns": statns(st_atime_nsec=-1),
    "ns out of range in ctime": statns(st_ctime_nsec=1 << 62),
}
_IMPOSSIBLE_NAMES = [b"a/b", b"/etc/passwd", b"..", b"../..", b"", b"nul\0byte", b"x" * 1025]


@pytest.mark.parametrize("stat", _IMPOSSIBLE_STATS.values(), ids=_IMPOSSIBLE_STATS)
async def test_impossible_attributes_cost_one_file_not_its_directory(stat: Statns) -> None:
    daemon = FakeDaemon()
    daemon.answer(procedures.LSTATNS, lambda _args: stat)
    daemon.answer(procedures.LIST_DIRECTORY, lambda _args: [_DOT + directory_entry(b"name", stat)])
    async with fake_guest(daemon) as (guest, _):
        with pytest.raises(RemoteProtocolError):
            await guest.lstat(b"/name", b"name")
        (entry,) = await guest.list_directory(b"/")
        assert entry.is_unreadable


@pytest.mark.parametrize("name", _IMPOSSIBLE_NAMES)
async def test_impossible_name_is_refused(name: bytes) -> None:
    daemon = FakeDaemon()
    daemon.answer(procedures.LIST_DIRECTORY, lambda _args: [_DOT + directory_entry(name, statns())])
    async with fake_guest(daemon) as (guest, _):
        with pytest.raises(RemoteProtocolError):
            await guest.list_directory(b"/")


async def test_name_that_stands_twice_is_shown_once(caplog: pytest.LogCaptureFixture) -> None:
    daemon = FakeDaemon()
    first, second = (directory_entry(b"twice", statns(st_ino=number)) for number in (7, 8))
    daemon.answer(procedures.LIST_DIRECTORY, lambda _args: [_DOT + first, second])
    async with fake_guest(daemon) as (guest, _):
        (entry,) = await guest.list_directory(b"/")
    assert entry.fields[1] == 7
    assert any("twice" in record.message for record in caplog.records)


async def test_file_is_never_taken_for_a_device_of_the_appliance() -> None:
    daemon = FakeDaemon()
    daemon.answer(procedures.DOWNLOAD_OFFSET, lambda _args: [b"data"])
    async with fake_guest(daemon) as (guest, _), guest.stream(b"/dev/sda", 0, 4) as pieces:
        assert [piece async for piece in pieces] == [b"data"]
    (args,) = [args for name, args in daemon.calls if name == "download_offset"]
    assert not args.remotefilename.startswith(b"/dev/")


@pytest.mark.parametrize("pieces", [[], [directory_entry(b"file", statns())]])
async def test_listing_without_its_directory_is_not_an_empty_directory(pieces: list[bytes]) -> None:
    daemon = FakeDaemon()
    daemon.answer(procedures.LIST_DIRECTORY, lambda _args: pieces)
    async with fake_guest(daemon) as (guest, _):
        with pytest.raises(RemoteProtocolError):
            await guest.list_directory(b"/")


@pytest.mark.parametrize("cut", [1, 4, 100, 190])
async def test_record_that_is_cut_is_refused(cut: int) -> None:
    daemon = FakeDaemon()
    daemon.answer(procedures.LIST_DIRECTORY, lambda _args: [directory_entry(b"name", statns())[:-cut]])
    async with fake_guest(daemon) as (guest, _):
        with pytest.raises(RemoteProtocolError):
            await guest.list_directory(b"/")


async def test_huge_count_of_xattrs_is_refused_before_memory_is_taken() -> None:
    daemon = FakeDaemon()
    record = directory_entry(b"name", statns())[:-4] + b"\xff\xff\xff\xff"
    daemon.answer(procedures.LIST_DIRECTORY, lambda _args: [record])
    async with fake_guest(daemon) as (guest, _):
        with pytest.raises(RemoteProtocolError):
            await guest.list_directory(b"/")


async def test_guest_stays_usable_after_a_wrong_answer() -> None:
    daemon = FakeDaemon()
    daemon.answer(procedures.LIST_DIRECTORY, lambda _args: [directory_entry(b"..", statns())] * 3)
    daemon.answer(procedures.LSTATNS, lambda _args: statns())
    async with fake_guest(daemon, channel_count=1) as (guest, _):
        with pytest.raises(RemoteProtocolError):
            await guest.list_directory(b"/")
        assert (await guest.lstat(b"/name", b"name")).fields[1] == 10


def _lists_too_few(daemon: FakeDaemon) -> None:
    daemon.answer(procedures.INTERNAL_LSTATNSLIST, lambda _args: [statns()])


def _lists_xattr_of_nobody(daemon: FakeDaemon) -> None:
    daemon.answer(procedures.INTERNAL_LXATTRLIST, lambda _args: [Xattr(b"user.x", b"1")])


def _lists_too_few_targets(daemon: FakeDaemon) -> None:
    daemon.answer(procedures.INTERNAL_READLINKLIST, lambda _args: [b""])


@pytest.mark.parametrize("lie", [_lists_too_few, _lists_xattr_of_nobody, _lists_too_few_targets])
async def test_standard_lists_that_do_not_match_are_refused(lie: Callable[[FakeDaemon], None]) -> None:
    daemon = FakeDaemon()
    names = [Dirent(1, "r", FileName(name)) for name in (b"a", b"b")]
    _answer_standard(daemon, names)
    async with fake_guest(daemon, extended=False) as (guest, _):
        assert [entry.name for entry in await guest.list_directory(b"/")] == [b"a", b"b"]
        lie(daemon)
        with pytest.raises(RemoteProtocolError):
            await guest.list_directory(b"/")


def _answer_standard(daemon: FakeDaemon, names: list[Dirent]) -> None:
    daemon.answer(procedures.READDIR, lambda _args: names)
    daemon.answer(procedures.INTERNAL_LSTATNSLIST, lambda args: [statns() for _ in args.names])
    daemon.answer(procedures.INTERNAL_READLINKLIST, lambda args: [b"" for _ in args.names])
    daemon.answer(procedures.INTERNAL_LXATTRLIST, lambda args: [Xattr(b"", b"0\0") for _ in args.names])


async def test_daemon_without_the_streamed_readdir_is_asked_for_it_once() -> None:
    daemon = FakeDaemon()
    _answer_standard(daemon, [Dirent(1, "r", FileName(b"a"))])
    async with fake_guest(daemon, extended=False) as (guest, _):
        for _ in range(3):
            await guest.list_directory(b"/")
    names = [name for name, _ in daemon.calls]
    assert (names.count("internal_readdir"), names.count("readdir")) == (1, 3)


async def test_directory_too_large_for_one_message_is_listed_by_name() -> None:
    daemon = FakeDaemon()
    _answer_standard(daemon, [])
    daemon.answer(procedures.READDIR, _too_long)
    daemon.answer(procedures.LS0, lambda _args: [b"a\0", b"b\0" + b"\xff" * 100, b"\xff" * 100 + b"\0"])
    async with fake_guest(daemon, extended=False) as (guest, _):
        assert [entry.name for entry in await guest.list_directory(b"/")] == [b"a", b"b", b"\xff" * 200]
        await guest.list_directory(b"/")
        names = [name for name, _ in daemon.calls]
        assert names.count("internal_readdir") == 1
        daemon.answer(procedures.LS0, lambda _args: [b"a\0b"])
        with pytest.raises(RemoteProtocolError):
            await guest.list_directory(b"/")


async def test_error_of_readdir_is_not_taken_for_a_directory_too_large() -> None:
    def refuse(_args: Any) -> Any:
        raise NotADirectoryError(errno.ENOTDIR, "not a directory")

    daemon = FakeDaemon()
    daemon.answer(procedures.READDIR, refuse)
    async with fake_guest(daemon, extended=False) as (guest, _):
        with pytest.raises(ProcedureError, match="not a directory"):
            await guest.list_directory(b"/")
        assert "ls0" not in [name for name, _ in daemon.calls]


async def test_attributes_too_long_for_one_message_come_in_more() -> None:
    def answer(args: Any) -> Any:
        if len(args.names) > 2:
            _too_long(args)
        return [row for name in args.names for row in (Xattr(b"", b"1\0"), Xattr(b"user.name", name))]

    daemon = FakeDaemon()
    _answer_standard(daemon, [Dirent(1, "r", FileName(b"%d" % number)) for number in range(7)])
    daemon.answer(procedures.INTERNAL_LXATTRLIST, answer)
    async with fake_guest(daemon, extended=False) as (guest, _):
        for entry in await guest.list_directory(b"/"):
            assert entry.xattrs == ((b"user.name", entry.name),)
        daemon.answer(procedures.INTERNAL_LXATTRLIST, _too_long)
        with pytest.raises(ProcedureError, match="longer"):
            await guest.list_directory(b"/")


def _too_long(_args: Any) -> Any:
    raise OSError("a message longer than 4194304 bytes")


async def test_pread_longer_than_asked_is_refused() -> None:
    daemon = FakeDaemon()
    daemon.answer(procedures.PREAD, lambda args: bytes(args.count + 1))
    async with fake_guest(daemon) as (guest, _):
        with pytest.raises(RemoteProtocolError):
            await guest.pread(b"/file", 10, 0)


async def test_long_pread_is_split_and_ends_at_the_end_of_the_file() -> None:
    daemon = FakeDaemon()
    content = bytes(range(256)) * 20_000
    daemon.answer(procedures.PREAD, lambda args: content[args.offset : args.offset + args.count])
    async with fake_guest(daemon) as (guest, _):
        assert await guest.pread(b"/file", 8 << 20, 3) == content[3:]
        assert max(args.count for _, args in daemon.calls) <= 2 << 20


async def test_negative_filesystem_size_is_refused() -> None:
    daemon = FakeDaemon()
    daemon.answer(procedures.STATVFS, lambda _args: Statvfs(4096, 4096, -1, 0, 0, 0, 0, 0, 0, 0, 255))
    async with fake_guest(daemon) as (guest, _):
        with pytest.raises(RemoteProtocolError):
            await guest.statvfs(b"/")


async def test_more_files_than_63_bits_count_are_possible() -> None:
    """erofs says that it has room for 2^64 - 1; they come as -1, and statfs(2) shows them unsigned."""
    daemon = FakeDaemon()
    daemon.answer(procedures.STATVFS, lambda _args: Statvfs(4096, 4096, 10, 0, 0, -1, -1, -1, 0, 0, 255))
    async with fake_guest(daemon) as (guest, _):
        found = await guest.statvfs(b"/")
    assert struct.unpack_from("<5Q", statfs_reply(found)) == (10, 0, 0, (1 << 64) - 1, (1 << 64) - 1)


@pytest.mark.parametrize("contents", [[], [b"\0\0\0\1\0\0\0\1a\0\0\0"] * 3, [b"\0\0\0\1" + b"\0\0\0\x65" + bytes(104)]])
async def test_small_files_that_do_not_match_are_refused(contents: list[bytes]) -> None:
    daemon = FakeDaemon()
    daemon.answer(procedures.READ_FILES, lambda _args: contents)
    async with fake_guest(daemon) as (guest, _):
        with pytest.raises(RemoteProtocolError):
            await guest.small_files(b"/", [b"a", b"b"], 100)


async def test_filesystem_without_xattrs_has_none() -> None:
    def refuse(_args: object) -> None:
        raise OSError(errno.ENOTSUP, "no such thing here")

    daemon = FakeDaemon()
    daemon.answer(procedures.LGETXATTRS, refuse)
    async with fake_guest(daemon) as (guest, _):
        assert await guest.xattrs(b"/file") == ()


async def test_errno_of_the_guest_comes_through() -> None:
    def refuse(_args: object) -> None:
        raise OSError(errno.EACCES, "not for you")

    daemon = FakeDaemon()
    daemon.answer(procedures.READLINK, refuse)
    async with fake_guest(daemon) as (guest, _):
        with pytest.raises(ProcedureError) as caught:
            await guest.readlink(b"/link")
    assert caught.value.errno == errno.EACCES
