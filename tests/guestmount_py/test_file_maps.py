"""Maps of files: which are asked for together, which are kept."""

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from guestmount_py.caches import CacheBudget
from guestmount_py.dircache import DirectoryCache, Listing
from guestmount_py.entries import NO_POSITION
from guestmount_py.extents import FileMap
from guestmount_py.file_maps import FileMaps
from guestmount_py.inodes import ROOT, InodeTable
from guestmount_py.map_requests import Wanted
from guestmount_py.statistics import Statistics
from rpc import procedures
from rpc.errors import RemoteProtocolError
from tests.guestmount_py.mapped_guest import LAST, MappedGuest

SIZE_BYTES = 1 << 20
FILES = [b"file-%03d" % index for index in range(100)]


@dataclass
class Reader:
    """Wants maps of files in the root directory, by name."""

    maps: FileMaps
    inodes: InodeTable
    listing: Listing
    statistics: Statistics
    listed: bool

    async def get(self, name: bytes) -> FileMap | None:
        entry = self.listing.by_name[name]
        if not self.listed:  # it came alone
            entry = replace(entry, position=NO_POSITION)
        return await self.maps.get(self.inodes.remember(entry, ROOT))

    def figures(self) -> dict[str, Any]:
        found: dict[str, Any] = self.statistics.as_dict()["caches"]["maps"]
        return found


@pytest.fixture
def guest(tmp_path: Path) -> MappedGuest:
    image = tmp_path / "image"
    image.write_bytes(bytes(SIZE_BYTES))
    return MappedGuest(image, SIZE_BYTES)


@asynccontextmanager
async def reader_of(guest: MappedGuest, capacity_bytes: int = 1 << 20, *, listed: bool = True) -> AsyncIterator[Reader]:
    async with guest.served() as (files, inodes, images, nursery):
        budget = CacheBudget(capacity_bytes, guest.statistics)
        directories = DirectoryCache(files, budget)
        inodes.attach(directories, budget)
        listing = Listing(await files.list_directory(b"/"))
        if listed:
            directories.keep(ROOT, listing.entries)
        yield Reader(FileMaps(images, inodes, directories, budget, nursery), inodes, listing, guest.statistics, listed)


def add_many(guest: MappedGuest) -> None:
    for index, name in enumerate(FILES):
        guest.add(name, 4096, (0, index * 4096, 4096, LAST))


def asked(guest: MappedGuest) -> list[list[bytes]]:
    return [args.names.split(b"\0") for name, args in guest.daemon.calls if name == "map_files"]


async def test_first_file_brings_few_and_the_next_one_that_is_not_here_the_rest(guest: MappedGuest) -> None:
    add_many(guest)
    async with reader_of(guest) as reader:
        for index, name in enumerate(FILES):
            await trio.testing.wait_all_tasks_blocked(0.005)
            found = await reader.get(name)
            assert found is not None
            assert [piece.offset for piece in found.pieces(0, 4096)] == [index * 4096]
    assert asked(guest) == [FILES[:8], FILES[8:16], FILES[16:80], FILES[80:]]
    assert guest.count("device_map") == 1
    assert (reader.figures()["hits"], reader.figures()["misses"]) == (98, 2)


async def test_file_in_the_middle_brings_those_behind_it_and_no_other_twice(guest: MappedGuest) -> None:
    add_many(guest)
    async with reader_of(guest) as reader:
        await reader.get(FILES[97])
        await reader.get(FILES[50])
        await trio.testing.wait_all_tasks_blocked()
    assert asked(guest) == [[*FILES[97:], *FILES[:5]], FILES[50:58], [*FILES[58:97], *FILES[5:30]]]


async def test_reader_of_files_here_and_there_brings_few_others(guest: MappedGuest) -> None:
    for index in range(3000):
        guest.add(b"%05d" % index, 4096, (0, 0, 4096, LAST))
    async with reader_of(guest, 4 << 20) as reader:
        for index in range(0, 3000, 300):
            await reader.get(b"%05d" % index)
            await trio.testing.wait_all_tasks_blocked()
    assert sum(map(len, asked(guest))) < 10 * 8 + 64 + 128 + 8 * 32


async def test_maps_under_way_are_waited_for(guest: MappedGuest) -> None:
    add_many(guest)
    async with reader_of(guest) as reader:
        await reader.get(FILES[0])
        async with trio.open_nursery() as nursery:
            for name in FILES[8:]:
                nursery.start_soon(reader.get, name)
    names = [name for batch in asked(guest) for name in batch]
    assert sorted(names) == FILES


@pytest.mark.parametrize(("name", "listed"), [(b"large", True), (FILES[0], False)])
async def test_large_file_and_one_whose_directory_is_not_listed_are_asked_for_alone(
    guest: MappedGuest, name: bytes, *, listed: bool
) -> None:
    add_many(guest)
    guest.add(b"large", 64 << 20, (0, 0, 4096, LAST))
    async with reader_of(guest, listed=listed) as reader:
        await reader.get(name)
    assert asked(guest) == [[name]]


async def test_readers_of_one_directory_at_the_same_time_ask_for_no_file_twice(guest: MappedGuest) -> None:
    add_many(guest)
    async with reader_of(guest) as reader, trio.open_nursery() as nursery:
        for name in FILES[:8]:
            nursery.start_soon(reader.get, name)
    names = [name for batch in asked(guest) for name in batch]
    assert len(names) == len(set(names))
    assert len(asked(guest)) < 8


@pytest.mark.parametrize("names", [[], FILES[3:5]])
async def test_file_that_its_listing_has_not_is_mapped_all_the_same(guest: MappedGuest, names: list[bytes]) -> None:
    """As where the guest folds case."""
    add_many(guest)
    async with reader_of(guest, listed=False) as reader:
        reader.maps._directories.keep(ROOT, [reader.listing.by_name[name] for name in names])
        assert await reader.get(FILES[0]) is not None
        assert set(asked(guest)[0]) >= {FILES[0]}
        assert await reader.get(FILES[99]) is not None


async def test_names_of_one_file_are_one_map(guest: MappedGuest) -> None:
    for name in FILES[:4]:
        guest.add(name, 4096, (0, 4096, 4096, LAST), ino=77)
    async with reader_of(guest) as reader:
        assert await reader.get(FILES[2]) is await reader.get(FILES[0])
        assert reader.figures()["entries"] == 1


@pytest.mark.parametrize("capacity_bytes", [0, 1000, 4000])
async def test_bound_is_kept_and_what_was_given_up_is_asked_for_again(guest: MappedGuest, capacity_bytes: int) -> None:
    add_many(guest)
    async with reader_of(guest, capacity_bytes, listed=False) as reader:
        for _ in range(2):
            for index, name in enumerate(FILES):
                found = await reader.get(name)
                assert found is not None
                assert found.pieces(0, 1)[0].offset == index * 4096
        assert reader.figures()["bytes"] <= capacity_bytes
        assert reader.figures()["misses"] == 200


async def test_wanted_map_comes_back_though_its_neighbours_push_it_out(guest: MappedGuest) -> None:
    add_many(guest)
    async with reader_of(guest, 1000) as reader:
        for name in FILES:
            assert await reader.get(name) is not None


async def test_directory_that_cannot_be_opened_leaves_its_files_to_the_guest(guest: MappedGuest) -> None:
    add_many(guest)

    def refuse(_args: object) -> list[bytes]:
        raise OSError(errno.ENOENT, "gone")

    async with reader_of(guest) as reader:
        guest.daemon.answer(procedures.MAP_FILES, refuse)
        assert await reader.get(FILES[0]) is None
        assert await reader.get(FILES[0]) is None
    assert len(asked(guest)) == 1


async def test_error_in_what_is_fetched_ahead_harms_nobody(
    guest: MappedGuest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    add_many(guest)
    async with reader_of(guest) as reader:

        def fail(*_args: object) -> list[Wanted]:
            raise KeyError(77)

        monkeypatch.setattr(reader.maps._sweep, "next_files", fail)
        for name in FILES:
            assert await reader.get(name) is not None
            await trio.testing.wait_all_tasks_blocked()
        assert {record.message for record in caplog.records} == {"asking for maps ahead failed: this is a bug"}
        monkeypatch.undo()
        assert reader.maps._sweep.next_files() == []


async def test_guest_with_a_new_filesystem_at_each_question_is_an_error(guest: MappedGuest) -> None:
    for index in range(300):
        guest.add(b"%d" % index, 4096, (0, 0, 4096, LAST))
    async with reader_of(guest, listed=False) as reader:
        for name in (b"%d" % index for index in range(256)):
            guest.filesystem += 1
            await reader.get(name)
        guest.filesystem += 1
        with pytest.raises(RemoteProtocolError, match="more than 256 filesystems"):
            await reader.get(b"256")
    assert guest.count("device_map") == 256
