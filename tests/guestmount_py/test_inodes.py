"""Inode numbers and lookup counts."""

import random

import pytest

from guestmount_py.entries import Entry
from guestmount_py.inodes import ROOT, Inode, InodeTable
from rpc import hot
from rpc.errors import RemoteProtocolError
from tests.fakes import statns

_ROOT_DEVICE, _SECOND_DEVICE, _LATE_DEVICE = 100, 200, 300


def _entry(name: bytes, inode: int, device: int = _ROOT_DEVICE, mode: int = 0o100644) -> Entry:
    return Entry(name, hot.STATNS.pack(*statns(st_dev=device, st_ino=inode, st_mode=mode)), 0, None, ())


def _directory(name: bytes, inode: int, device: int = _ROOT_DEVICE) -> Entry:
    return _entry(name, inode, device, 0o40755)


def _table() -> InodeTable:
    return InodeTable(_entry(b"", 128), [_ROOT_DEVICE, _SECOND_DEVICE])


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
    for device in range(1000, 1000 + 8190):
        table.number(_entry(b"%d" % device, 256, device), ROOT)
    with pytest.raises(RemoteProtocolError, match="devices"):
        table.number(_entry(b"another", 256, 999), ROOT)


def test_number_is_stable_for_the_second_link() -> None:
    table = _table()
    first, second = table.remember(_entry(b"one", 50), ROOT), table.remember(_entry(b"two", 50), ROOT)
    assert first is second
    assert first.lookup_count == 2
    table.check_invariants()


def test_path_names_every_directory_on_the_way() -> None:
    table = _table()
    top = table.remember(_entry(b"top", 10), ROOT)
    below = table.remember(_entry(b"\xff", 11), top.inode)
    assert table.path(table.remember(_entry(b"file", 12), below.inode).inode) == b"/top/\xff/file"
    assert table.path(ROOT) == b"/"


def test_forgotten_directory_stays_while_a_child_needs_its_path() -> None:
    table = _table()
    top = table.remember(_entry(b"top", 10), ROOT)
    child = table.remember(_entry(b"child", 11), top.inode)
    table.forget(top.inode, 1)
    table.check_invariants()
    assert table.path(child.inode) == b"/top/child"
    table.forget(child.inode, 1)
    assert table.find(top.inode) is None
    assert table.find(child.inode) is None
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
    known: list[Inode] = [ROOT]
    for number in range(3000):
        if generator.random() < 0.6 or len(known) == 1:
            known.append(
                table.remember(_entry(b"%d" % number, generator.randrange(2, 500)), generator.choice(known)).inode
            )
        else:
            inode = known.pop(generator.randrange(1, len(known)))
            table.forget(inode, 1)
            known = [each for each in known if table.find(each) is not None]
        if number % 100 == 0:
            table.check_invariants()
    for inode in known[1:]:
        table.forget(inode, 1)
    table.check_invariants()
    assert [node for node in known if node != ROOT and table.find(node)] == []


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
