"""Listings that came ahead of whoever wants them: none that may be older than a change is kept."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import pytest
import trio

from guestmount_py.changing_directories import ChangingDirectories
from guestmount_py.entries import Entry, entry_of
from guestmount_py.inode_numbers import Inode
from rpc import procedures
from tests.fakes import FakeDaemon, budget, fake_guest, statns, walk_part

PLACE: Final = Inode(7)
OLD: Final = entry_of(b"old", statns())


@asynccontextmanager
async def directories_of(daemon: FakeDaemon) -> AsyncIterator[ChangingDirectories]:
    async with fake_guest(daemon) as (guest, _):
        yield ChangingDirectories(guest, budget())


def _names(directories: ChangingDirectories) -> list[bytes] | None:
    listing = directories.cached(PLACE)
    return [entry.name for entry in listing.entries] if listing is not None else None


async def test_listing_ahead_is_kept_and_given_to_who_waits_for_it() -> None:
    async with directories_of(FakeDaemon()) as directories, trio.open_nursery() as nursery:
        with directories.listed_ahead(()):
            assert directories.await_ahead(PLACE)
            nursery.start_soon(directories.listing, PLACE, b"/place")
            await trio.testing.wait_all_tasks_blocked()
            assert directories.keep_ahead(PLACE, [OLD]) is not None
    assert _names(directories) == [b"old"]


@pytest.mark.parametrize(
    "change",
    [
        lambda directories: directories.change(PLACE, b"old", None),
        lambda directories: directories.update(PLACE, b"old", b""),
        lambda directories: directories.note_change(PLACE),
        lambda directories: directories.discard(PLACE),
    ],
    ids=["change", "update", "note_change", "discard"],
)
async def test_listing_that_a_change_overtook_is_not_kept(change: Callable[[ChangingDirectories], None]) -> None:
    async with directories_of(FakeDaemon()) as directories:
        with directories.listed_ahead(()):
            assert directories.await_ahead(PLACE)
            change(directories)
            assert directories.keep_ahead(PLACE, [OLD]) is None
    assert _names(directories) is None


async def test_directory_with_changes_under_way_is_not_kept() -> None:
    async with directories_of(FakeDaemon()) as directories:
        with directories.listed_ahead([PLACE]):
            assert directories.await_ahead(PLACE)
            assert directories.keep_ahead(PLACE, [OLD]) is None
    assert _names(directories) is None


async def test_who_waits_for_a_listing_that_is_not_kept_asks_again() -> None:
    daemon = FakeDaemon()
    daemon.answer(procedures.WALK, lambda _args: [walk_part(b"/place", {b"new": (0o100644, 10, 1)})])
    heard: list[Entry] = []

    async def want(directories: ChangingDirectories) -> None:
        heard.extend((await directories.listing(PLACE, b"/place")).entries)

    async with directories_of(daemon) as directories, trio.open_nursery() as nursery:
        with directories.listed_ahead(()):
            assert directories.await_ahead(PLACE)
            nursery.start_soon(want, directories)
            await trio.testing.wait_all_tasks_blocked()
            directories.note_change(PLACE)
            directories.keep_ahead(PLACE, [OLD])
    assert [entry.name for entry in heard] == [b"new"]
    assert _names(directories) == [b"new"]
