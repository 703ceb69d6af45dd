"""Walking ahead: when it begins, what it keeps, and what a daemon that lies can do."""

import logging
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
import trio
import trio.testing

from guestmount_py.dircache import DirectoryCache
from guestmount_py.guest_files import GuestFiles
from guestmount_py.inodes import ROOT, Inode, InodeTable, Node
from guestmount_py.prefetch import Prefetcher
from rpc import procedures
from tests.fakes import FakeDaemon, budget, directory_entry, fake_guest, statns, walk_part

DIRECTORY, FILE = 0o40755, 0o100644
TREE: Final[dict[bytes, dict[bytes, tuple[int, int]]]] = {
    b"/": {b"a": (DIRECTORY, 10), b"b": (DIRECTORY, 20)},
    b"/a": {b"c": (DIRECTORY, 11), b"f": (FILE, 12)},
    b"/a/c": {b"g": (FILE, 13)},
    b"/b": {},
}
WIDE: Final[dict[bytes, dict[bytes, tuple[int, int]]]] = {
    b"/": {b"m": (DIRECTORY, 30), b"d": (DIRECTORY, 31), b"x": (DIRECTORY, 32), b"e": (DIRECTORY, 33)},
    **{b"/" + name: {b"inner": (FILE, number)} for number, name in enumerate((b"m", b"d", b"x", b"e"), 40)},
}


def _part(path: bytes, tree: dict[bytes, dict[bytes, tuple[int, int]]] | None = None) -> bytes:
    entries = (tree or (TREE if path in TREE else WIDE))[path]
    return walk_part(path, {name: (*facts, 0) for name, facts in entries.items()})


class _Walker:
    """Opens directories as a mount would."""

    def __init__(self, guest: GuestFiles, inodes: InodeTable, nursery: trio.Nursery, capacity_bytes: int) -> None:
        self.inodes = inodes
        self.directories = DirectoryCache(guest, budget(capacity_bytes))
        self.prefetcher = Prefetcher(guest, self.directories, inodes, nursery)

    async def open(self, path: bytes) -> None:
        node = self._node(path)
        await self.directories.listing(node.inode, path)
        self.prefetcher.opened(node, path)

    def _node(self, path: bytes) -> Node:
        node = self.inodes.get(ROOT)
        for name in path.split(b"/")[1:]:
            if name:
                listing = self.directories.cached(node.inode)
                assert listing is not None
                node = self.inodes.get(self.inodes.remember(listing.by_name[name], node.inode))
        return node

    def has(self, number: int) -> bool:
        return self.directories.is_listed(Inode(number))


@asynccontextmanager
async def _walker(
    daemon: FakeDaemon, capacity_bytes: int = 1 << 20, tree: dict[bytes, dict[bytes, tuple[int, int]]] = TREE
) -> AsyncIterator[_Walker]:
    root = statns(st_ino=2, st_mode=DIRECTORY, st_dev=0)
    daemon.answer(procedures.LSTATNS, lambda _args: root)

    def listing(args: Any) -> list[bytes]:
        records = [directory_entry(b".", root)]
        for name, (mode, ino) in tree[args.path].items():
            records.append(directory_entry(name, statns(st_ino=ino, st_mode=mode, st_dev=0)))
        return [b"".join(records)]

    daemon.answer(procedures.LIST_DIRECTORY, listing)
    async with fake_guest(daemon) as (guest, nursery):
        inodes = InodeTable(await guest.lstat(b"/", b""), [])
        daemon.calls.clear()
        yield _Walker(guest, inodes, nursery, capacity_bytes)


def _asked(daemon: FakeDaemon, name: str) -> list[Any]:
    return [args for called, args in daemon.calls if called == name]


def _walks(daemon: FakeDaemon) -> list[tuple[list[bytes], bool]]:
    return [(args.paths, args.by_name) for args in _asked(daemon, "walk")]


async def test_walk_begins_below_the_second_directory() -> None:
    daemon = FakeDaemon()
    daemon.answer(procedures.WALK, lambda _args: [_part(b"/a/c")])
    async with _walker(daemon) as walker:
        await walker.open(b"/")
        assert _asked(daemon, "walk") == []
        await walker.open(b"/a")
        await trio.testing.wait_all_tasks_blocked(0.1)
        assert walker.has(11)
        assert not walker.has(20)
        daemon.calls.clear()
        await walker.open(b"/a/c")
        assert daemon.calls == []


async def test_walk_of_one_directory_leaves_its_siblings_alone() -> None:
    daemon = FakeDaemon()
    async with _walker(daemon) as walker:
        await walker.open(b"/")
        for _ in range(2):
            await walker.open(b"/b")
        await trio.testing.wait_all_tasks_blocked(0.1)
    assert [args.path for args in _asked(daemon, "list_directory")] == [b"/", b"/b"]
    assert _asked(daemon, "walk") == []


async def test_second_child_brings_its_siblings() -> None:
    daemon = FakeDaemon()
    daemon.answer(procedures.WALK, lambda args: [b"".join(map(_part, args.paths))])
    async with _walker(daemon, tree=WIDE) as walker:
        for path in (b"/", b"/m", b"/d"):
            await walker.open(path)
        await trio.testing.wait_all_tasks_blocked(0.1)
        daemon.calls.clear()
        for path in (b"/x", b"/e"):
            await walker.open(path)
    assert daemon.calls == []


@pytest.mark.parametrize(
    ("opened", "walked"),
    [((b"/m", b"/d"), ([b"/x", b"/e"], False)), ((b"/d", b"/e"), ([b"/m", b"/x"], True))],
    ids=["as listed", "by name"],
)
async def test_siblings_are_listed_in_the_order_of_the_walker(
    opened: tuple[bytes, bytes], walked: tuple[list[bytes], bool]
) -> None:
    daemon = FakeDaemon()
    daemon.answer(procedures.WALK, lambda args: [b"".join(map(_part, args.paths))])
    async with _walker(daemon, tree=WIDE) as walker:
        for path in (b"/", *opened):
            await walker.open(path)
        await trio.testing.wait_all_tasks_blocked(0.1)
    assert _walks(daemon) == [walked]


async def test_walker_that_skips_a_directory_is_followed() -> None:
    daemon = FakeDaemon()
    daemon.answer(procedures.WALK, lambda args: [_part(path) for path in args.paths])
    async with _walker(daemon, tree=WIDE) as walker:
        for path in (b"/", b"/m", b"/d", b"/e"):  # the last one before the walk has begun
            await walker.open(path)
        await trio.testing.wait_all_tasks_blocked(0.1)
        assert walker.has(32)
    assert [args.path for args in _asked(daemon, "list_directory")] == [b"/", b"/m", b"/d", b"/e"]


async def test_whoever_comes_to_the_head_of_the_queue_waits_for_the_walk() -> None:
    daemon = FakeDaemon()
    daemon.answer(procedures.WALK, lambda args: [b"".join(map(_part, args.paths))])
    async with _walker(daemon) as walker:
        for path in (b"/", b"/a", b"/a/c"):
            await walker.open(path)
            await trio.testing.wait_all_tasks_blocked()
    assert [args.path for args in _asked(daemon, "list_directory")] == [b"/", b"/a"]
    assert len(_asked(daemon, "walk")) == 1


@pytest.mark.parametrize(
    "stream",
    [b"", _part(b"/b"), b"\0" * 20, _part(b"/a/c")[:-1], os.urandom(300)],
    ids=["empty", "other", "nul", "cut", "noise"],
)
async def test_lying_walk_ends_and_harms_nobody(stream: bytes, caplog: pytest.LogCaptureFixture) -> None:
    daemon = FakeDaemon()
    daemon.answer(procedures.WALK, lambda _args: [stream] if stream else [])
    async with _walker(daemon) as walker:
        with trio.fail_after(10):
            for path in (b"/", b"/a", b"/a/c", b"/b"):
                await walker.open(path)
    assert len(_asked(daemon, "walk")) < 10
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_walk_stops_when_enough_is_ahead() -> None:
    daemon = FakeDaemon()
    daemon.answer(procedures.WALK, lambda _args: [_part(b"/a/c"), _part(b"/b")])
    async with _walker(daemon, capacity_bytes=100) as walker:
        await walker.open(b"/")
        await walker.open(b"/a")
        await trio.sleep(0.1)
    assert len(_asked(daemon, "walk")) == 1


@pytest.mark.parametrize("by_name", [False, True])
async def test_subdirectories_without_room_in_the_queue_follow_when_the_walker_comes_there(
    monkeypatch: pytest.MonkeyPatch, *, by_name: bool
) -> None:
    monkeypatch.setattr("guestmount_py.prefetch._WAITING_MAX", 4)
    numbers = [*range(30)]
    if by_name:
        random.Random(1).shuffle(numbers)
    tree = {b"/": {b"%02d" % number: (DIRECTORY, 100 + number) for number in numbers}}
    tree |= {b"/" + name: {b"inner": (DIRECTORY, 100 + number)} for number, name in enumerate(tree[b"/"], 100)}
    tree |= {path + b"/inner": {} for path in list(tree)[1:]}
    daemon = FakeDaemon()
    daemon.answer(procedures.WALK, lambda args: [b"".join(_part(path, tree) for path in args.paths)])
    async with _walker(daemon, tree=tree) as walker:
        await walker.open(b"/")
        for name in sorted(tree[b"/"]) if by_name else tree[b"/"]:
            await walker.open(b"/" + name)
            assert len(walker.prefetcher._waiting) <= 4
            await trio.testing.wait_all_tasks_blocked()
            await walker.open(b"/" + name + b"/inner")
            await trio.testing.wait_all_tasks_blocked()
    assert len(_asked(daemon, "list_directory")) <= 5


async def test_directories_in_paths_too_long_for_the_guest_are_left_alone() -> None:
    daemon = FakeDaemon()
    names = [b"n" * 255] * 17

    def deeper(args: Any) -> list[bytes]:
        path = args.paths[0]
        return [_part(path, {path: {names[0]: (DIRECTORY, 100 + path.count(b"/"))}})]

    daemon.answer(procedures.WALK, deeper)
    async with _walker(daemon) as walker:
        await walker.open(b"/")
        await walker.open(b"/a")
        await trio.testing.wait_all_tasks_blocked(0.1)
    assert max(len(args.paths[0]) for args in _asked(daemon, "walk")) < 4096 + 300
