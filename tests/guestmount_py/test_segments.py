"""Large files in segments."""

import errno
import random
from collections.abc import Iterator
from typing import Any

import pytest
import trio
import trio.testing

from guestmount_py.segments import SEGMENT_BYTES, Segment, SegmentCache
from rpc import procedures
from rpc.errors import ConnectionLost, ProcedureError
from tests.fakes import FakeDaemon, budget, fake_guest

_SIZE_BYTES = 3 * SEGMENT_BYTES + 12_345


@pytest.fixture(scope="module")
def content() -> bytes:
    return random.Random(1).randbytes(_SIZE_BYTES)


def _daemon_of(content: bytes) -> FakeDaemon:
    def chunks(args: Any) -> list[bytes]:
        part = content[args.offset : args.offset + args.size]
        return [part[start : start + 8192] for start in range(0, len(part), 8192)]

    daemon = FakeDaemon()
    daemon.answer(procedures.DOWNLOAD_OFFSET, chunks)
    return daemon


def _pieces(step: int) -> Iterator[int]:
    return iter(range(0, _SIZE_BYTES, step))


async def test_reading_in_order_asks_for_each_segment_once(content: bytes) -> None:
    daemon = _daemon_of(content)
    async with fake_guest(daemon) as (guest, nursery):
        cache = SegmentCache(guest, nursery, budget())
        parts = [await cache.read(7, b"/file", _SIZE_BYTES, offset, 131_072) for offset in _pieces(131_072)]
    assert b"".join(parts) == content
    assert sorted(args.offset for _, args in daemon.calls) == [index * SEGMENT_BYTES for index in range(4)]


async def test_reads_across_a_border_and_beyond_the_end(content: bytes) -> None:
    async with fake_guest(_daemon_of(content)) as (guest, nursery):
        cache = SegmentCache(guest, nursery, budget())
        start = SEGMENT_BYTES - 10
        assert await cache.read(7, b"/file", _SIZE_BYTES, start, 20) == content[start : start + 20]
        assert await cache.read(7, b"/file", _SIZE_BYTES, _SIZE_BYTES - 5, 100) == content[-5:]
        assert await cache.read(7, b"/file", _SIZE_BYTES, _SIZE_BYTES, 100) == b""


async def test_memory_is_bounded_and_what_was_dropped_comes_again(content: bytes) -> None:
    daemon = _daemon_of(content)
    async with fake_guest(daemon) as (guest, nursery):
        cache = SegmentCache(guest, nursery, budget(2 * SEGMENT_BYTES))
        for _ in range(2):
            parts = [await cache.read(7, b"/file", _SIZE_BYTES, offset, 1 << 20) for offset in _pieces(1 << 20)]
            assert b"".join(parts) == content
    assert len(daemon.calls) > 4


async def test_failure_reaches_the_reader_and_is_not_kept(content: bytes) -> None:
    def fail(_args: object) -> list[bytes]:
        raise OSError(errno.EIO, "bad sector")

    daemon = FakeDaemon()
    daemon.answer(procedures.DOWNLOAD_OFFSET, fail)
    async with fake_guest(daemon) as (guest, nursery):
        cache = SegmentCache(guest, nursery, budget())
        with pytest.raises(ProcedureError, match="bad sector"):
            await cache.read(7, b"/file", _SIZE_BYTES, 0, 100)
        daemon.answer(procedures.DOWNLOAD_OFFSET, lambda args: [content[args.offset : args.offset + 100]])
        assert await cache.read(7, b"/file", _SIZE_BYTES, 0, 100) == content[:100]


async def test_closed_file_stops_its_transfer() -> None:
    daemon = FakeDaemon()
    daemon.answer(procedures.DOWNLOAD_OFFSET, lambda _args: [bytes(8192)] * 10)
    async with fake_guest(daemon) as (guest, nursery):
        cache = SegmentCache(guest, nursery, budget())
        await cache.read(7, b"/file", _SIZE_BYTES, 0, 8192)
        cache.forget(7)
        await trio.testing.wait_all_tasks_blocked()
        assert await cache.read(7, b"/file", _SIZE_BYTES, 0, 8192) == bytes(8192)


async def test_forgotten_before_it_started_ends_quietly() -> None:
    daemon = FakeDaemon()
    async with fake_guest(daemon) as (guest, nursery):
        cache = SegmentCache(guest, nursery, budget())
        async with trio.open_nursery() as readers:
            readers.start_soon(_read_and_lose, cache)
            await trio.lowlevel.checkpoint()
            cache.forget(7)


async def _read_and_lose(cache: SegmentCache) -> None:
    with pytest.raises((ConnectionLost, ProcedureError)):
        await cache.read(7, b"/file", _SIZE_BYTES, 0, 8192)


async def test_reader_waits_only_for_its_part() -> None:
    segment = Segment(SEGMENT_BYTES)
    got: list[bytes] = []

    async def read() -> None:
        got.append(await segment.read(1, 4))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        segment.append(b"ab")
        await trio.testing.wait_all_tasks_blocked()
        assert got == []
        segment.append(b"cdef")
    assert got == [b"bcd"]
    assert not segment.is_finished
