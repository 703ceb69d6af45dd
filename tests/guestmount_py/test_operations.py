"""Handlers called directly, on a daemon that lies, dies or counts."""

import errno
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import pyfuse3
import pytest

from guestmount_py.inodes import ROOT, InodeTable
from guestmount_py.operations import ReadOnlyOperations
from guestmount_py.tree import Tree
from rpc import procedures
from tests.fakes import FakeDaemon, directory_entry, fake_guest, statns

_ROOT: Final = statns(st_ino=2, st_mode=0o40755, st_size=4096)
_CONTEXT: Final = pyfuse3.RequestContext()


@asynccontextmanager
async def _operations(daemon: FakeDaemon) -> AsyncIterator[tuple[ReadOnlyOperations, InodeTable]]:
    daemon.answer(procedures.LSTATNS, lambda _args: _ROOT)
    async with fake_guest(daemon) as (guest, nursery):
        inodes = InodeTable(await guest.lstat(b"/", b""), [])
        daemon.calls.clear()
        yield ReadOnlyOperations(Tree(guest, inodes, nursery)), inodes
        inodes.check_invariants()


def _lists(daemon: FakeDaemon, *records: bytes) -> None:
    daemon.answer(procedures.LIST_DIRECTORY, lambda _args: [b"".join((directory_entry(b".", _ROOT), *records))])


@pytest.mark.parametrize("name", [b"a/b", b"..", b"", b"\0", b"../../etc/passwd"])
async def test_hostile_name_is_eio_and_a_log_line(name: bytes, caplog: pytest.LogCaptureFixture) -> None:
    daemon = FakeDaemon()
    _lists(daemon, directory_entry(name, statns()))
    async with _operations(daemon) as (operations, _):
        with pytest.raises(pyfuse3.FUSEError) as caught:
            await operations.lookup(ROOT, pyfuse3.FileNameT(b"name"), _CONTEXT)
    assert caught.value.errno == errno.EIO
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_names_and_attributes_come_from_one_listing() -> None:
    daemon = FakeDaemon()
    _lists(
        daemon, directory_entry(b"file", statns(), [(b"user.x", b"1")]), directory_entry(b"other", statns(st_ino=11))
    )
    daemon.answer(procedures.LSTATNS, _missing)
    async with _operations(daemon) as (operations, inodes):
        found = await operations.lookup(ROOT, pyfuse3.FileNameT(b"file"), _CONTEXT)
        assert (await operations.getattr(found.st_ino, _CONTEXT)).st_size == 5
        daemon.answer(procedures.LSTATNS, _missing)
        absent = await operations.lookup(ROOT, pyfuse3.FileNameT(b"missing"), _CONTEXT)
        assert absent.st_ino == 0
        assert absent.entry_timeout > 1e8
        assert [name for name, _ in daemon.calls] == ["list_directory", "lstatns"]
        inodes.forget(found.st_ino, 1)
        assert not inodes.lookup_count(found.st_ino)


async def test_name_in_another_case_is_found_where_the_guest_folds_case() -> None:
    daemon = FakeDaemon()
    _lists(daemon, directory_entry(b"BOOTX64.EFI", statns()))
    async with _operations(daemon) as (operations, inodes):
        daemon.answer(procedures.LSTATNS, lambda _args: statns())
        listed = await operations.lookup(ROOT, pyfuse3.FileNameT(b"BOOTX64.EFI"), _CONTEXT)
        folded = await operations.lookup(ROOT, pyfuse3.FileNameT(b"bootx64.efi"), _CONTEXT)
        assert folded.st_ino == listed.st_ino
        inodes.forget(listed.st_ino, 2)


async def test_large_directory_is_not_listed_for_one_name() -> None:
    daemon = FakeDaemon()
    async with _operations(daemon) as (operations, inodes):
        inodes.get(ROOT).entry.data = _packed(st_size=1 << 20)
        daemon.answer(procedures.LSTATNS, lambda _args: statns())
        assert (await operations.lookup(ROOT, pyfuse3.FileNameT(b"file"), _CONTEXT)).st_ino == 10
        daemon.answer(procedures.LSTATNS, _missing)
        assert (await operations.lookup(ROOT, pyfuse3.FileNameT(b"none"), _CONTEXT)).st_ino == 0
        assert {name for name, _ in daemon.calls} == {"lstatns"}


def _packed(**fields: int) -> bytes:
    return directory_entry(b"", _ROOT._replace(**fields))[4:]


def _missing(_args: object) -> None:
    raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))


async def test_hard_links_count_lookups_of_one_inode() -> None:
    daemon = FakeDaemon()
    linked = statns(st_nlink=2)
    _lists(daemon, directory_entry(b"one", linked), directory_entry(b"two", linked))
    async with _operations(daemon) as (operations, inodes):
        for name in (b"one", b"two", b"one"):
            assert (await operations.lookup(ROOT, pyfuse3.FileNameT(name), _CONTEXT)).st_ino == 10
        assert inodes.lookup_count(10) == 3
        inodes.forget(10, 2)
        assert inodes.lookup_count(10) == 1
        inodes.forget(10, 1)
        with pytest.raises(pyfuse3.FUSEError) as caught:
            await operations.getattr(pyfuse3.InodeT(10), _CONTEXT)
        assert caught.value.errno == errno.ESTALE
