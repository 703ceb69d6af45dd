"""Whose maps come ahead of a reader: a walk that lies about them harms nobody, and what is remembered is bounded."""

import errno
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import trio.testing

from guestmount_py.dircache import DirectoryCache
from guestmount_py.entries import checked_entries, entry_of
from guestmount_py.fuse_wire import READ
from guestmount_py.inodes import ROOT, Inode, InodeTable
from guestmount_py.map_sweep import MapSweep
from rpc import procedures
from tests.fakes import FakeDaemon, budget, directory_entry, fake_guest, statns, walk_part
from tests.guestmount_py.kernel import ask, list_plus
from tests.guestmount_py.mapped_guest import DIRECTORY, LAST, MappedGuest

SIZE_BYTES: Final = 1 << 20
DIRECTORY_MODE, FILE_MODE = 0o40755, 0o100644
Tree = Mapping[int, Mapping[bytes, int]]
"""By inode, the entries' names and inodes; those of directories are below 1000."""


@asynccontextmanager
async def sweep_of(tree: Tree) -> AsyncIterator[MapSweep]:
    """Own a sweep through listings, the root's being number 1, which is to begin behind its first file."""
    daemon = FakeDaemon()
    daemon.answer(procedures.LSTATNS, lambda _args: DIRECTORY)
    async with fake_guest(daemon) as (guest, _):
        inodes = InodeTable(await guest.lstat(b"/", b""), [])
        directories = DirectoryCache(guest, budget())
        for inode, entries in tree.items():
            found = [
                entry_of(name, statns(st_ino=ino, st_mode=DIRECTORY_MODE if ino < 1000 else FILE_MODE))
                for name, ino in entries.items()
            ]
            directories.keep(Inode(inode), checked_entries(found))
        sweep = MapSweep(inodes, directories, lambda _inode: False)
        sweep.begin(ROOT, b"first")
        yield sweep


def named(sweep: MapSweep) -> list[bytes]:
    """Return the paths of the files that a sweep names until it has no more, or a hundred."""
    paths: list[bytes] = []
    while len(paths) < 100 and (files := sweep.next_files()):
        paths += [(each.directory if each.directory != b"/" else b"") + b"/" + each.name for each in files]
    return paths


async def test_directory_said_to_be_in_itself_is_gone_through_once() -> None:
    async with sweep_of({1: {b"first": 1000, b"a": 10}, 10: {b"again": 10, b"file": 1001}}) as sweep:
        assert named(sweep) == [b"/first", b"/a/file"]


async def test_directories_to_go_to_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guestmount_py.map_sweep._DIRECTORIES_MAX", 3)
    subdirectories = {b"d%d" % number: 10 + number for number in range(9)}
    tree = {1: {b"first": 1000, **subdirectories}, **{ino: {b"file": 1000 + ino} for ino in subdirectories.values()}}
    async with sweep_of(tree) as sweep:
        assert named(sweep) == [b"/first", b"/d0/file", b"/d1/file", b"/d2/file"]


async def test_directories_to_go_to_are_bounded_over_all_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guestmount_py.map_sweep._DIRECTORIES_MAX", 3)
    tree: Tree = {
        1: {b"first": 1000, b"a": 10, b"b": 11, b"c": 12},
        10: {b"x": 20, b"y": 21, b"z": 22},
        **{ino: {b"file": 1000 + ino} for ino in (11, 12, 20, 21, 22)},
    }
    async with sweep_of(tree) as sweep:
        assert named(sweep) == [b"/first", b"/a/x/file", b"/a/y/file", b"/a/z/file"]


async def test_sweep_pauses_where_it_finds_nothing_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guestmount_py.map_sweep._LOOKED_AT_MAX", 3)
    tree: Tree = {1: {b"a": 10}, 10: {b"b": 11}, 11: {b"c": 12}, 12: {b"d": 13}, 13: {b"file": 1000}}
    async with sweep_of(tree) as sweep:
        assert [[each.name for each in sweep.next_files()] for _ in range(3)] == [[], [b"file"], []]


@pytest.mark.parametrize("minor", [0xDEAD, 1])
async def test_walk_that_tells_of_files_on_devices_never_seen_harms_nobody(
    tmp_path: Path, minor: int, caplog: pytest.LogCaptureFixture
) -> None:
    """In directories that the kernel does not know: their paths cannot be told."""
    image = tmp_path / "image"
    image.write_bytes(b"D" * SIZE_BYTES)
    guest = MappedGuest(image, SIZE_BYTES)
    for index in range(40):
        guest.add(b"f%02d" % index, 4096, (0, index * 4096, 4096, LAST))
    in_root = [
        directory_entry(b"d", statns(st_ino=900, st_mode=DIRECTORY_MODE)),
        *(directory_entry(name, stat) for name, (stat, _) in guest.files.items()),
    ]
    in_d = [directory_entry(b"sub", statns(st_ino=901, st_mode=DIRECTORY_MODE))]
    guest.add(b"odd", 5, (0, 0, 4096, LAST))

    def listing(args: Any) -> list[bytes]:
        if args.path not in (b"/", b"/d"):
            raise OSError(errno.ENOENT, "not here")
        records = in_root if args.path == b"/" else in_d
        head = directory_entry(b".", DIRECTORY)
        return [head, *records]

    walked = walk_part(b"/d/sub", {b"deep": (DIRECTORY_MODE, 902, 1)})
    walked += walk_part(b"/d/sub/deep", {b"odd": (FILE_MODE, 903, minor)})
    guest.daemon.answer(procedures.WALK, lambda _args: [walked])
    async with guest.mounted() as operations:
        guest.daemon.answer(procedures.LIST_DIRECTORY, listing)
        nodes = {each.name: each.node for each in await list_plus(operations, ROOT)}
        await list_plus(operations, nodes[b"d"])
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert operations._tree.directories.is_listed(Inode(902))
        for index in range(40):
            assert await ask(operations, READ, nodes[b"f%02d" % index], 0, 4096) == b"D" * 4096
            await trio.testing.wait_all_tasks_blocked()
    asked = {name for called, args in guest.daemon.calls if called == "map_files" for name in args.names.split(b"/")}
    assert any(name.endswith(b"odd") for name in asked) is (minor == 1)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
