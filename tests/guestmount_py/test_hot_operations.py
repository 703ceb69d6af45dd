"""What is answered without pyfuse3, on a daemon that lies, dies or counts."""

import errno
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from guestmount_py import fuse_wire as wire
from guestmount_py.hot_operations import HotOperations
from guestmount_py.inodes import ROOT, Inode, InodeTable
from guestmount_py.tree import Tree
from rpc import procedures
from tests.fakes import FakeDaemon, directory_entry, fake_guest, listing_chunks, statns
from tests.guestmount_py.kernel import ask, get_xattr, list_plus, list_xattrs
from tests.guestmount_py.mapped_guest import LAST, MappedGuest

_ROOT: Final = statns(st_ino=2, st_mode=0o40755, st_size=4096)


@asynccontextmanager
async def _hot(daemon: FakeDaemon, *records: bytes) -> AsyncIterator[tuple[HotOperations, InodeTable]]:
    daemon.answer(procedures.LSTATNS, lambda _args: _ROOT)
    if records:
        chunks = listing_chunks((directory_entry(b".", _ROOT), *records))
        daemon.answer(procedures.LIST_DIRECTORY, lambda _args: chunks)
    async with fake_guest(daemon) as (guest, nursery):
        inodes = InodeTable(await guest.lstat(b"/", b""), [])
        daemon.calls.clear()
        yield HotOperations(Tree(guest, inodes, nursery)), inodes
        inodes.check_invariants()


@pytest.mark.parametrize("size_bytes", [4096, 400, 1 << 17])
async def test_listing_comes_once_whole_however_it_is_cut(size_bytes: int) -> None:
    names = [b"f" * length for length in range(1, 60)]
    records = [directory_entry(name, statns(st_ino=100 + at, st_size=at)) for at, name in enumerate(names)]
    daemon = FakeDaemon()
    async with _hot(daemon, *records) as (hot, inodes):
        listed = await list_plus(hot, ROOT, size_bytes)
        assert [(each.name, each.node, each.size_bytes) for each in listed[2:]] == [
            (name, 100 + at, at) for at, name in enumerate(names)
        ]
        assert [(each.name, each.node) for each in listed[:2]] == [(b".", 1), (b"..", 1)]
        assert [each.next_offset for each in listed] == list(range(1, len(names) + 3))
        assert [name for name, _ in daemon.calls] == ["list_directory"]
        assert all(inodes.lookup_count(each.node) == 1 for each in listed[2:])


async def test_plain_listing_counts_no_lookups() -> None:
    async with _hot(FakeDaemon(), directory_entry(b"file", statns())) as (hot, inodes):
        data = await ask(hot, wire.READDIR, ROOT)
        assert data.count(b"file") == 1
        assert len(data) == 3 * 24 + 8 + 8 + 8
        with pytest.raises(KeyError):
            inodes.get(10)


async def test_lookups_are_taken_back_one_by_one_and_in_batches() -> None:
    records = [directory_entry(b"%d" % at, statns(st_ino=100 + at)) for at in range(3)]
    async with _hot(FakeDaemon(), *records) as (hot, inodes):
        for _ in range(2):
            await list_plus(hot, ROOT)
        one = wire.Request(wire.FORGET, 1, 100, memoryview(wire.FORGET_IN.pack(1)))
        assert hot.handlers[wire.FORGET](one) == (b"",)
        assert inodes.lookup_count(100) == 1
        body = b"".join(number.to_bytes(8, "little") for number in (2, 100, 1, 101, 2))
        hot.handlers[wire.BATCH_FORGET](wire.Request(wire.BATCH_FORGET, 1, 0, memoryview(body)))
        for gone in (100, 101):
            with pytest.raises(KeyError):
                inodes.get(gone)
        assert inodes.lookup_count(102) == 2


async def test_number_of_two_kinds_of_file_costs_its_entry_alone(caplog: pytest.LogCaptureFixture) -> None:
    """The kernel gets what is right of the listing, and nothing is counted that it does not get."""
    records = [directory_entry(b"%d" % at, statns(st_ino=100 + at)) for at in range(3)]
    records += [directory_entry(b"lie", statns(st_ino=101, st_mode=0o40755))]
    async with _hot(FakeDaemon(), *records) as (hot, inodes):
        for size_bytes in (1 << 17, 400):
            listed = await list_plus(hot, ROOT, size_bytes)
            assert [(each.name, each.node) for each in listed[2:]] == [
                (b"0", 100),
                (b"1", 101),
                (b"2", 102),
                (b"lie", 0),
            ]
        assert [inodes.lookup_count(100 + at) for at in range(3)] == [2, 2, 2]
    assert any("lie" in record.message for record in caplog.records)


@pytest.mark.parametrize("opcode", [wire.OPEN, wire.OPENDIR])
async def test_kernel_is_told_to_open_by_itself(opcode: int) -> None:
    async with _hot(FakeDaemon(), directory_entry(b"file", statns())) as (hot, _):
        with pytest.raises(OSError, match="for the kernel") as caught:
            await ask(hot, opcode, ROOT)
        assert caught.value.errno == errno.ENOSYS


@pytest.mark.parametrize("opcode", [wire.READ, wire.READDIRPLUS, wire.READLINK])
async def test_unknown_inode_is_stale(opcode: int) -> None:
    async with _hot(FakeDaemon(), directory_entry(b"file", statns())) as (hot, _):
        with pytest.raises(OSError, match="for the kernel") as caught:
            await ask(hot, opcode, 4711)
        assert caught.value.errno == errno.ESTALE


@pytest.mark.parametrize("name", [b"a/b", b"..", b"", b"\0", b"../../etc/passwd"])
async def test_hostile_name_is_eio_and_a_log_line(name: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with _hot(FakeDaemon(), directory_entry(name, statns())) as (hot, _):
        with pytest.raises(OSError, match="for the kernel") as caught:
            await ask(hot, wire.READDIRPLUS, ROOT)
        assert caught.value.errno == errno.EIO
        assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_lost_appliance_is_eio_without_a_log_line_each(caplog: pytest.LogCaptureFixture) -> None:
    daemon = FakeDaemon()
    async with _hot(daemon) as (hot, _):
        daemon.hang_up.cancel()
        for _ in range(5):
            with pytest.raises(OSError, match="for the kernel") as caught:
                await ask(hot, wire.READDIR, ROOT)
            assert caught.value.errno == errno.EIO
    assert caplog.records == []


async def test_listing_under_way_survives_the_cache() -> None:
    """Offsets stay right, and a large directory is not asked for again at each piece of it."""
    records = [directory_entry(b"%04d" % at, statns(st_ino=100 + at)) for at in range(50)]
    daemon = FakeDaemon()
    async with _hot(daemon, *records) as (hot, _):
        first = await ask(hot, wire.READDIR, ROOT, 0, 400)
        directories = hot._tree.directories
        directories.keep(ROOT, [])
        second = await ask(hot, wire.READDIR, ROOT, 20)
        assert b"0018" in second
        assert b"0018" not in first
        assert [name for name, _ in daemon.calls] == ["list_directory"]


async def test_file_shorter_than_its_size_is_eio(caplog: pytest.LogCaptureFixture) -> None:
    daemon = FakeDaemon()
    daemon.answer(procedures.DOWNLOAD_OFFSET, lambda _args: [b"only this"])
    daemon.answer(procedures.PREAD, lambda _args: b"")
    async with _hot(daemon, directory_entry(b"file", statns(st_size=1 << 20))) as (hot, _):
        await list_plus(hot, ROOT)
        for offset in (0, 131072):
            with pytest.raises(OSError, match="for the kernel") as caught:
                await ask(hot, wire.READ, 10, offset, 131072)
            assert caught.value.errno == errno.EIO
    assert any("its size says" in record.message for record in caplog.records)


async def test_file_longer_than_its_size_is_eio(caplog: pytest.LogCaptureFixture) -> None:
    daemon = FakeDaemon()
    daemon.answer(procedures.DOWNLOAD_OFFSET, lambda _args: [bytes(8192)] * 25)
    async with _hot(daemon, directory_entry(b"file", statns(st_size=200_000))) as (hot, _):
        await list_plus(hot, ROOT)
        with pytest.raises(OSError, match="for the kernel") as caught:
            await ask(hot, wire.READ, 10, 0, 262144)
        assert caught.value.errno == errno.EIO
    assert any("asked for" in record.message for record in caplog.records)


async def test_target_is_given_at_once_where_the_listing_told_it() -> None:
    link = statns(st_mode=0o120777)
    plain = directory_entry(b"link", link)
    told = plain[:-12] + b"\0\0\0\6target\0\0" + plain[-8:]
    async with _hot(FakeDaemon(), told) as (hot, _):
        await list_plus(hot, ROOT)
        assert await ask(hot, wire.READLINK, 10) == b"target"


async def test_target_that_is_not_known_is_left_to_pyfuse3() -> None:
    async with _hot(FakeDaemon(), directory_entry(b"link", statns(st_mode=0o120777))) as (hot, inodes):
        await list_plus(hot, ROOT)
        inodes.get(10).entry.target = None
        assert hot.handlers[wire.READLINK](wire.Request(wire.READLINK, 1, 10, memoryview(b""))) is None


async def test_extended_attributes_come_with_the_listing() -> None:
    record = directory_entry(b"file", statns(), [(b"user.x", b"one"), (b"user.y", b"")])
    daemon = FakeDaemon()
    async with _hot(daemon, record) as (hot, _):
        await list_plus(hot, ROOT)
        assert await list_xattrs(hot, 10, 100) == b"user.x\0user.y\0"
        assert await list_xattrs(hot, 10, 0) == (14).to_bytes(4, "little") + bytes(4)
        assert await get_xattr(hot, 10, b"user.x", 3) == b"one"
        assert await get_xattr(hot, 10, b"user.x", 0) == (3).to_bytes(4, "little") + bytes(4)
        assert await get_xattr(hot, 10, b"user.y", 3) == b""
        for name, limit_bytes, number in ((b"user.z", 3, errno.ENODATA), (b"user.x", 2, errno.ERANGE)):
            with pytest.raises(OSError, match="for the kernel") as caught:
                await get_xattr(hot, 10, name, limit_bytes)
            assert caught.value.errno == number
        assert [name for name, _ in daemon.calls] == ["list_directory"]


async def test_map_of_another_length_is_eio(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """One inode, told with two lengths: a short answer would be taken for the end of the file."""
    image = tmp_path / "image"
    image.write_bytes(bytes(8192))
    guest = MappedGuest(image, 8192)
    guest.add(b"long", 4096, (0, 0, 4096, LAST), ino=50)
    guest.add(b"short", 100, (0, 0, 4096, LAST), ino=51)
    async with guest.mounted() as hot:
        await list_plus(hot, ROOT)
        assert len(await ask(hot, wire.READ, 50)) == 4096
        maps = hot._tree.files._maps
        assert maps is not None
        maps._maps[Inode(50)] = await maps.get(Inode(51))
        with pytest.raises(OSError, match="for the kernel") as caught:
            await ask(hot, wire.READ, 50, 0, 4096)
        assert caught.value.errno == errno.EIO
    assert any("4096" in record.message for record in caplog.records)
