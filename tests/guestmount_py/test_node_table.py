"""The table of inodes of a mount that writes: lookup counts, paths, and files that move."""

import random

import pytest

from guestmount_py.caches import CacheBudget
from guestmount_py.entries import Entry
from guestmount_py.inode_numbers import ROOT, Inode
from guestmount_py.known_files import UnknownInode
from guestmount_py.node_table import PROMISED_DEVICE, NodeTable
from guestmount_py.statistics import Statistics
from rpc import hot
from tests.fakes import statns

_DEVICE, _SECOND_DEVICE = 100, 200


def _entry(name: bytes, inode: int, device: int = _DEVICE, mode: int = 0o100644) -> Entry:
    return Entry(name, hot.STATNS.pack(*statns(st_dev=device, st_ino=inode, st_mode=mode)), 0, None, ())


def _directory(name: bytes, inode: int, device: int = _DEVICE) -> Entry:
    return _entry(name, inode, device, 0o40755)


def _table() -> NodeTable:
    return NodeTable(_directory(b"", 5000), [_DEVICE, _SECOND_DEVICE])


def test_numbers_are_those_of_a_mount_that_only_reads() -> None:
    table = _table()
    assert table.get(ROOT).entry.fields[1] == 5000
    assert table.number(_entry(b"file", 4711, _SECOND_DEVICE), ROOT) == 1 << 48 | 4711
    assert table.number(_directory(b"boot", 2, _SECOND_DEVICE), ROOT) == 1 << 48 | 2


def test_promised_file_keeps_its_number_when_the_guest_has_made_it() -> None:
    table = _table()
    node = table.remember(_entry(b"new", table.next_promised(), PROMISED_DEVICE), ROOT)
    assert table.is_promised(node.inode)
    made = _entry(b"new", 77)
    assert not table.is_promised(table.number(made, ROOT))
    node.entry.data = made.data
    table.keep_promised(node)
    assert table.number(_entry(b"new", 77), ROOT) == table.number(_entry(b"twin", 77), ROOT) == node.inode
    table.drop_promised(_entry(b"other", 77), ROOT)
    assert table.number(_entry(b"other", 77), ROOT) == 77
    table.check_invariants()


async def test_second_link_is_the_same_node() -> None:
    table = _table()
    first, second = table.remember(_entry(b"one", 50), ROOT), table.remember(_entry(b"two", 50), ROOT)
    assert first is second
    assert first.lookup_count == 2
    assert await table.node(50) is first
    table.check_invariants()


def test_path_names_every_directory_on_the_way() -> None:
    table = _table()
    top = table.remember(_directory(b"top", 10), ROOT)
    below = table.remember(_directory(b"\xff", 11), top.inode)
    assert table.path(table.remember(_entry(b"file", 12), below.inode).inode) == b"/top/\xff/file"
    assert table.path(ROOT) == b"/"


def test_paths_follow_a_directory_that_moves() -> None:
    table = _table()
    source, target = table.remember(_directory(b"a", 10), ROOT), table.remember(_directory(b"b", 11), ROOT)
    moved = table.remember(_directory(b"moved", 12), source.inode)
    file = table.remember(_entry(b"file", 13), moved.inode)
    table.forget(moved.inode, 1)
    table.forget(source.inode, 1)
    table.move(moved, target.inode, _directory(b"new", 12))
    assert table.path(file.inode) == b"/b/new/file"
    assert table.find(source.inode) is None
    table.check_invariants()


def test_forgotten_directory_stays_while_a_child_needs_its_path() -> None:
    table = _table()
    top = table.remember(_directory(b"top", 10), ROOT)
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
    with pytest.raises(UnknownInode):
        table.path(4711)
    table.check_invariants()


def test_invariants_hold_through_random_lookups_moves_and_forgets() -> None:
    table = _table()
    generator = random.Random(3)
    known: list[Inode] = []
    for number in range(3000):
        directories = [ROOT, *(inode for inode in known if inode % 5 == 0)]
        name, choice = b"%d" % number, generator.random()
        if choice < 0.5 or not known:
            inode = generator.randrange(2, 500)
            make = _entry if inode % 5 else _directory
            parent = generator.choice(directories)
            known.append(table.remember(make(name, inode), parent if parent < inode else ROOT).inode)
        elif choice < 0.7:
            node = table.get(generator.choice(known))
            table.move(node, generator.choice([each for each in directories if each < node.inode]), node.entry)
        else:
            table.forget(known.pop(generator.randrange(len(known))), 1)
        if number % 100 == 0:
            table.check_invariants()
    assert {inode: table.get(inode).lookup_count for inode in known} == {inode: known.count(inode) for inode in known}
    for inode in known:
        table.forget(inode, 1)
    table.check_invariants()
    assert [inode for inode in range(2, 500) if table.find(Inode(inode))] == []


def test_nodes_count_in_the_bound() -> None:
    table, statistics = _table(), Statistics()
    table.attach(CacheBudget(1 << 20, statistics))
    for inode in range(2, 1024):
        table.remember(_entry(b"%d" % inode, inode), ROOT)
    table.remember(_entry(b"last", 2000), ROOT)
    assert statistics.as_dict()["caches"]["inodes"]["entries"] == 1024
    for inode in range(2, 1024):
        table.forget(inode, 1)
    assert statistics.as_dict()["caches"]["inodes"]["entries"] == 256
