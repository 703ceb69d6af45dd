"""One bound for all caches of a mount."""

import tracemalloc
from collections import deque
from typing import Any

import pytest

from guestmount_py.caches import SHARES, Cache, CacheBudget
from guestmount_py.config import MIN_CACHE_MIB
from guestmount_py.dircache import DirectoryCache
from guestmount_py.entries import entry_of
from guestmount_py.fuse_wire import READDIR
from guestmount_py.hot_operations import HotOperations
from guestmount_py.inodes import ROOT, Inode, InodeTable
from guestmount_py.statistics import Statistics
from guestmount_py.tree import Tree
from rpc import procedures
from tests.fakes import FakeDaemon, directory_entry, fake_guest, listing_chunks, statns
from tests.guestmount_py.kernel import ask, list_plus


class Kept:
    """A cache of things of some size, the oldest given up first."""

    def __init__(self, budget: CacheBudget, name: str, least: int = 0) -> None:
        self.sizes: deque[int] = deque()
        self._least = least
        self.cache: Cache = budget.open_cache(name, self._drop)

    def keep(self, size_bytes: int) -> None:
        self.sizes.append(size_bytes)
        self.cache.add(size_bytes)

    def _drop(self) -> bool:
        if len(self.sizes) <= self._least:
            return False
        self.cache.remove(self.sizes.popleft())
        return True


def test_shares_are_the_whole() -> None:
    assert sum(SHARES.values()) == 1


def test_cache_takes_what_others_leave_and_gives_it_back_when_they_want_it() -> None:
    budget = CacheBudget(800, Statistics())
    listings, small = Kept(budget, "listings"), Kept(budget, "small")
    for _ in range(10):
        small.keep(100)
    assert small.cache.used_bytes == 800
    for _ in range(5):
        listings.keep(100)
    assert (listings.cache.used_bytes, small.cache.used_bytes) == (500, 300)
    for _ in range(10):
        listings.keep(100)
    assert listings.cache.used_bytes + small.cache.used_bytes == 800
    assert small.cache.used_bytes >= small.cache.share_bytes


def test_cache_that_must_keep_what_it_has_leaves_giving_up_to_others() -> None:
    budget = CacheBudget(100, Statistics())
    segments, maps = Kept(budget, "segments", least=2), Kept(budget, "maps")
    for _ in range(3):
        maps.keep(30)
    for _ in range(3):
        segments.keep(60)
    assert (list(segments.sizes), list(maps.sizes)) == ([60, 60], [])


def test_figures_say_how_well_a_cache_does() -> None:
    statistics = Statistics()
    kept = Kept(CacheBudget(1000, statistics), "maps")
    kept.keep(10)
    kept.keep(20)
    assert statistics.as_dict()["caches"]["maps"]["hit_ratio"] == 0.0
    kept.cache.hits, kept.cache.misses = 3, 1
    assert statistics.as_dict()["caches"] == {
        "maps": {"entries": 2, "bytes": 30, "hits": 3, "misses": 1, "hit_ratio": 0.75}
    }


async def test_what_is_asked_for_later_is_counted_too() -> None:
    statistics = Statistics()
    entry = entry_of(b"file", statns())
    async with fake_guest(FakeDaemon()) as (guest, _):
        directories = DirectoryCache(guest, CacheBudget(1 << 20, statistics))
        directories.keep(ROOT, [entry])
        before = statistics.as_dict()["caches"]["listings"]
        entry.xattrs, entry.target = ((b"user.x", bytes(1000)),), b"t" * 500
        directories.count_again(ROOT)
        directories.count_again(Inode(77))
    after = statistics.as_dict()["caches"]["listings"]
    assert 1506 < after["bytes"] - before["bytes"] < 2000
    assert after["entries"] == before["entries"] == 1


@pytest.mark.parametrize(("cache_mib", "stays"), [(MIN_CACHE_MIB, False), (64, True)])
async def test_mount_keeps_its_listings_within_the_bound(cache_mib: int, *, stays: bool) -> None:
    """60 000 files in six directories take 27 MB."""
    root = statns(st_ino=2, st_mode=0o40755, st_size=4096)
    records = [directory_entry(b".", root)]
    records += [directory_entry(b"%d" % at, root._replace(st_ino=100 + at)) for at in range(6)]
    files = [directory_entry(b".", root), *(directory_entry(b"file-%05d" % at, statns()) for at in range(10_000))]
    chunks = (listing_chunks(files), listing_chunks(records))

    def listing(args: Any) -> list[bytes]:
        return chunks[args.path == b"/"]

    daemon = FakeDaemon()
    daemon.answer(procedures.LSTATNS, lambda _args: root)
    daemon.answer(procedures.LIST_DIRECTORY, listing)
    statistics = Statistics()
    async with fake_guest(daemon) as (guest, nursery):
        inodes = InodeTable(await guest.lstat(b"/", b""), [])
        hot = HotOperations(Tree(guest, inodes, nursery, statistics, cache_mib=cache_mib))
        for _ in range(2):
            for directory in (await list_plus(hot, ROOT))[2:]:
                await ask(hot, READDIR, directory.node)
    figures = statistics.as_dict()["caches"]["listings"]
    assert figures["bytes"] <= cache_mib << 20
    assert (figures["misses"] == 7) is stays
    assert (figures["hits"] > 0) is stays


async def test_walk_of_many_files_takes_no_more_memory_than_is_counted() -> None:
    """40 000 files in 40 directories: 19 MB with their listings, more than the bound."""
    root = statns(st_ino=2, st_mode=0o40755, st_size=4096)
    above = [directory_entry(b".", root)]
    above += [directory_entry(b"%d" % at, root._replace(st_ino=1_000_000 + at)) for at in range(40)]

    def listing(args: Any) -> list[bytes]:
        if args.path == b"/":
            return listing_chunks(above)
        first = 1000 * int(args.path[1:])
        files = (directory_entry(b"file-%06d" % at, statns(st_ino=10 + at)) for at in range(first, first + 1000))
        return listing_chunks((directory_entry(b".", root), *files))

    daemon = FakeDaemon()
    daemon.answer(procedures.LSTATNS, lambda _args: root)
    daemon.answer(procedures.LIST_DIRECTORY, listing)
    statistics = Statistics()
    async with fake_guest(daemon) as (guest, nursery):
        inodes = InodeTable(await guest.lstat(b"/", b""), [])
        hot = HotOperations(Tree(guest, inodes, nursery, statistics, cache_mib=MIN_CACHE_MIB))
        tracemalloc.start()
        try:
            for directory in (await list_plus(hot, ROOT))[2:]:
                await list_plus(hot, directory.node)
            taken_bytes, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        node = await inodes.node(10)
        assert inodes.path_of(node) == b"/0/file-000000"
        inodes.check_invariants()
    figures = statistics.as_dict()["caches"]
    assert 40_041 - 256 <= figures["inodes"]["entries"] <= 40_041
    assert figures["inodes"]["bytes"] < 20 * 40_041 + 40 * 700
    assert sum(each["bytes"] for each in figures.values()) <= MIN_CACHE_MIB << 20
    assert taken_bytes < MIN_CACHE_MIB << 20
