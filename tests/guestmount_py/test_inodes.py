"""Inode numbers, and what the kernel knows."""

import random
import tracemalloc
from typing import Any

import pytest

from guestmount_py.caches import CacheBudget
from guestmount_py.dircache import DirectoryCache
from guestmount_py.entries import Entry
from guestmount_py.inodes import ROOT, Inode, InodeTable, Unlisted
from guestmount_py.statistics import Statistics
from rpc import hot, procedures
from rpc.errors import RemoteProtocolError
from tests.fakes import FakeDaemon, directory_entry, fake_guest, statns

_ROOT_DEVICE, _SECOND_DEVICE, _LATE_DEVICE, _FAT_DEVICE = 100, 200, 300, 400


def _entry(name: bytes, inode: int, device: int = _ROOT_DEVICE, mode: int = 0o100644) -> Entry:
    return Entry(name, hot.STATNS.pack(*statns(st_dev=device, st_ino=inode, st_mode=mode)), 0, None, ())


def _directory(name: bytes, inode: int, device: int = _ROOT_DEVICE) -> Entry:
    return _entry(name, inode, device, 0o40755)


def _table() -> InodeTable:
    return InodeTable(_entry(b"", 128), [_ROOT_DEVICE, _SECOND_DEVICE, _FAT_DEVICE], {_FAT_DEVICE})


def test_root_is_one_whatever_the_guest_says() -> None:
    table = _table()
    assert table.get(1).entry.fields[1] == 128
    assert table.number(_entry(b"self", 128), ROOT) == ROOT


def test_files_of_the_first_filesystem_keep_their_numbers() -> None:
    assert _table().number(_entry(b"file", 4711), ROOT) == 4711


def test_files_of_the_second_mount_are_moved_by_its_index() -> None:
    assert _table().number(_entry(b"file", 4711, _SECOND_DEVICE), ROOT) == 1 << 48 | 4711


def test_inode_one_that_is_not_the_root_is_moved() -> None:
    number = _table().number(_entry(b"one", 1), ROOT)
    assert number != ROOT
    assert number & 0xFFFF == 1


def test_device_met_later_gets_the_same_index_in_every_mount() -> None:
    numbers = {_table().number(_entry(b"subvolume", 256, _LATE_DEVICE), ROOT) for _ in range(3)}
    assert len(numbers) == 1
    assert numbers.isdisjoint({256, 1 << 48 | 256})


def test_numbers_are_unique_across_many_devices() -> None:
    table = _table()
    numbers = [table.number(_entry(b"%d" % device, 256, device), ROOT) for device in range(1000, 4000)]
    assert len(set(numbers)) == len(numbers)


def test_more_devices_than_indexes_is_an_error_not_a_hang() -> None:
    table = _table()
    for device in range(1000, 1000 + 8189):
        table.number(_entry(b"%d" % device, 256, device), ROOT)
    with pytest.raises(RemoteProtocolError, match="devices"):
        table.number(_entry(b"another", 256, 999), ROOT)


def test_number_is_stable_for_the_second_link() -> None:
    table = _table()
    first, second = table.remember(_entry(b"one", 50), ROOT), table.remember(_entry(b"two", 50), ROOT)
    assert first == second
    assert table.lookup_count(first) == 2
    assert table.get(second).entry.name == b"one"
    table.check_invariants()


def test_path_names_every_directory_on_the_way() -> None:
    table = _table()
    top = table.remember(_directory(b"top", 10), ROOT)
    below = table.remember(_directory(b"\xff", 11), top)
    assert table.path(table.remember(_entry(b"file", 12), below)) == b"/top/\xff/file"
    assert table.path(ROOT) == b"/"


def test_forgotten_directory_stays_while_a_child_needs_its_path() -> None:
    table = _table()
    top = table.remember(_directory(b"top", 10), ROOT)
    child = table.remember(_entry(b"child", 11), top)
    table.forget(top, 1)
    table.check_invariants()
    assert table.path(child) == b"/top/child"
    table.forget(child, 1)
    assert table.find(top) is None
    assert table.lookup_count(child) == 0
    table.check_invariants()


def test_forgetting_what_is_not_known_is_harmless() -> None:
    table = _table()
    table.forget(4711, 3)
    table.forget(ROOT, 100)
    assert table.path(ROOT) == b"/"
    table.check_invariants()


def test_invariants_hold_through_random_lookups_and_forgets() -> None:
    table = _table()
    generator = random.Random(3)
    known: list[Inode] = []
    inodes = [inode for inode in range(2, 500) if inode != 128]  # the root's
    for number in range(3000):
        if generator.random() < 0.6 or not known:
            parents = [ROOT, *(inode for inode in known if inode % 5 == 0)]
            inode = generator.choice(inodes)
            make = _entry if inode % 5 else _directory
            known.append(table.remember(make(b"%d" % number, inode), generator.choice(parents)))
        else:
            table.forget(known.pop(generator.randrange(len(known))), 1)
        if number % 100 == 0:
            table.check_invariants()
    assert {inode: table.lookup_count(inode) for inode in known} == {inode: known.count(inode) for inode in known}
    for inode in known:
        table.forget(inode, 1)
    table.check_invariants()
    assert [inode for inode in range(2, 500) if table.lookup_count(inode) or table.find(Inode(inode))] == []


async def test_files_are_found_again_in_listings_even_if_those_change() -> None:
    """Another order, as no filesystem that is mounted read-only gives, costs a search; a file that went is unknown."""
    root = statns(st_ino=2, st_mode=0o40755, st_dev=_ROOT_DEVICE)
    names: list[bytes] = []

    def listing(_args: Any) -> list[bytes]:
        records = (directory_entry(name, statns(st_ino=10 + len(name), st_dev=_ROOT_DEVICE)) for name in names)
        return [b"".join((directory_entry(b".", root), *records))]

    daemon = FakeDaemon()
    daemon.answer(procedures.LSTATNS, lambda _args: root)
    daemon.answer(procedures.LIST_DIRECTORY, listing)
    async with fake_guest(daemon) as (guest, _):
        table = InodeTable(await guest.lstat(b"/", b""), [])
        for order in ([0, 1, 2], [2, 1, 0], [2, 1]):
            statistics = Statistics()
            budget = CacheBudget(1 << 20, statistics)
            directories = DirectoryCache(guest, budget)
            table.attach(directories, budget)
            names[:] = [(b"a", b"bb", b"ccc")[index] for index in order]
            if order == [0, 1, 2]:
                for entry in (await directories.listing(ROOT, b"/")).entries:
                    table.remember(entry, ROOT)
            else:
                with pytest.raises(Unlisted):
                    table.get(12)
            assert (await table.node(12)).entry.name == b"bb"
            assert (await table.node(13)).entry.name == b"ccc"
            assert table.path(13) == b"/ccc"
            figures = statistics.as_dict()["caches"]["listings"]
            assert (figures["hits"], figures["misses"]) == (0, 1)  # the use of a file is no request for a listing
        with pytest.raises(KeyError):
            await table.node(11)
        table.attach(DirectoryCache(guest, budget), CacheBudget(1 << 20, statistics))
        assert statistics.as_dict()["caches"]["inodes"]["entries"] == 4
        table.check_invariants()


def test_files_of_an_unnumbered_filesystem_keep_numbers_made_of_their_names() -> None:
    """The guest's kernel gives another number each time; two files may even come to have the same one in turn."""
    numbers = {
        _table().number(_entry(name, inode, _FAT_DEVICE), Inode(parent))
        for inode in (1, 5, 6, 1 << 48)
        for name in (b"a", b"b")
        for parent in (ROOT, 300)
    }
    assert len(numbers) == 4
    assert all(1 << 62 <= number < 1 << 63 for number in numbers)
    table = _table()
    assert table.get(table.remember(_entry(b"a", 5, _FAT_DEVICE), ROOT)).entry.name == b"a"
    assert table.remember(_entry(b"b", 5, _FAT_DEVICE), ROOT) != table.remember(_entry(b"a", 6, _FAT_DEVICE), ROOT)
    table.check_invariants()


@pytest.mark.parametrize("inode", [10, ROOT])
def test_what_is_a_directory_and_a_file_is_refused_and_not_kept(inode: int) -> None:
    table = _table()
    guest_inode = 128 if inode == ROOT else inode
    top = table.remember(_directory(b"top", guest_inode), ROOT)
    with pytest.raises(RemoteProtocolError, match="directory and something else"):
        table.remember(_entry(b"file", guest_inode), ROOT)
    file = table.remember(_entry(b"file", 11), top)
    with pytest.raises(RemoteProtocolError, match="directory and something else"):
        table.remember(_directory(b"directory", 11), ROOT)
    table.check_invariants()
    for known in (file, top):
        table.forget(known, 1)
    table.check_invariants()
    assert table.lookup_count(file) == 0


def test_files_with_numbers_side_by_side_take_less_than_20_bytes_each() -> None:
    table = _table()
    count = 100_000
    directories = [table.remember(_directory(b"%d" % number, number), ROOT) for number in range(2, 102)]
    entry = _entry(b"file", 0)
    entry.position = 7
    tracemalloc.start()
    try:
        for inode in range(1000, 1000 + count):
            table.remember(entry, directories[inode % 100], Inode(inode))
        taken_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken_bytes < 20 * count


def test_empty_stubs_of_subvolumes_are_each_a_directory_of_its_own() -> None:
    """In a btrfs snapshot every nested subvolume is an empty directory with the inode number 2."""
    numbers = {_table().number(_directory(name, 2), Inode(parent)) for name in (b"a", b"b") for parent in (1, 300)}
    assert len(numbers) == 4
    assert _table().number(_directory(b"a", 2), ROOT) in numbers


def test_root_of_another_mount_is_no_stub() -> None:
    assert _table().number(_directory(b"boot", 2, _SECOND_DEVICE), ROOT) == 1 << 48 | 2


def test_numbers_above_48_bits_meet_no_other_device() -> None:
    table = _table()
    numbers = [table.number(_entry(b"file", 1 << 48 | 4711, device), ROOT) for device in (_ROOT_DEVICE, _SECOND_DEVICE)]
    numbers.append(table.number(_entry(b"file", 4711, _SECOND_DEVICE), ROOT))
    assert len(set(numbers)) == 3
