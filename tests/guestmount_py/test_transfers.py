"""Downloads and uploads of the handle: the ways to take them, and the ways to break them off."""

import errno
import os
import random
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import trio

from appliance.state import State
from guestmount_py.events import Progress
from guestmount_py.handle import Guest
from rpc.errors import ConnectionLost, GuestmountError, LocalProtocolError, ProcedureError
from tests.guestmount_py.conftest import Bench, launched

MIB = 1 << 20
LARGE = random.Random(1).randbytes(MIB) * 48
"""More than sockets and buffers take, so that a transfer that is broken off is under way."""


class Broken(Exception):
    """What a source raises."""


@pytest.fixture
def large(bench: Bench) -> Bench:
    (bench.root / "large").write_bytes(LARGE)
    return bench


async def test_download_comes_in_pieces_whole_or_as_a_file(large: Bench) -> None:
    async with launched(large) as g:
        async with g.download("/large") as pieces:
            assert b"".join([piece async for piece in pieces]) == LARGE
        assert await g.download("/large").read() == LARGE
        target = large.directory / "target"
        target.write_bytes(b"longer than nothing")
        assert await g.download("/large").save(target) == len(LARGE)
        assert target.read_bytes() == LARGE
        assert await g.download_offset("/large", MIB, 10).read() == LARGE[:10]


async def test_download_longer_than_wanted_in_memory_is_cancelled(large: Bench) -> None:
    async with launched(large) as g:
        with pytest.raises(GuestmountError, match=f"more than {MIB} bytes"):
            await g.download("/large").read(MIB)
        assert await g.download_offset("/large", 0, MIB).read(MIB) == LARGE[:MIB]
        await _every_channel_answers(g)


async def test_failed_download_keeps_the_local_file(bench: Bench) -> None:
    target = bench.directory / "target"
    target.write_bytes(b"kept")
    async with launched(bench) as g:
        with pytest.raises(ProcedureError) as caught:
            await g.download("/absent").save(target)
        assert caught.value.errno == errno.ENOENT
    assert target.read_bytes() == b"kept"


async def test_download_to_where_no_file_can_be_is_cancelled(large: Bench) -> None:
    async with launched(large) as g:
        with pytest.raises(IsADirectoryError):
            await g.download("/large").save(large.directory)
        await _every_channel_answers(g)


async def test_download_that_is_left_early_is_cancelled(large: Bench) -> None:
    async with launched(large) as g:
        async with g.download("/large") as pieces:
            assert LARGE.startswith(await anext(pieces))
        await _every_channel_answers(g)


async def _every_channel_answers(g: Guest) -> None:
    """Make more transfers and calls at once than there are channels."""
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for _ in range(2 * g.config.channel_count):
                nursery.start_soon(g.download_offset("/large", 0, MIB).read)
                nursery.start_soon(g.lstat, "/large")
    assert await g.download_offset("/large", 5, 5).read() == LARGE[5:10]


async def test_cancelled_download_leaves_the_channel_usable(large: Bench) -> None:
    async with launched(large) as g:
        for _ in range(g.config.channel_count):
            with trio.CancelScope() as scope:
                async with g.download("/large") as pieces:
                    await anext(pieces)
                    scope.cancel()
                    await anext(pieces)
            assert scope.cancelled_caught
        await _every_channel_answers(g)


async def test_user_cancel_of_a_download_is_eintr(large: Bench) -> None:
    async with launched(large) as g:
        with pytest.raises(ProcedureError) as caught:
            await _cancel_while_downloading(g)
        assert (caught.value.procedure, caught.value.errno) == ("download", errno.EINTR)
        await _every_channel_answers(g)


async def _cancel_while_downloading(g: Guest) -> None:
    async with g.download("/large") as pieces:
        async for _ in pieces:
            g.user_cancel()


async def test_user_cancel_without_a_transfer_does_nothing(large: Bench) -> None:
    async with launched(large) as g:
        g.user_cancel()
        await _every_channel_answers(g)
    g.user_cancel()


def _pieces(count: int = 48) -> Iterator[bytes]:
    for number in range(count):
        yield LARGE[number * MIB : (number + 1) * MIB]


async def _endless(act: Callable[[], object]) -> AsyncIterator[bytes]:
    for _ in range(20):
        yield bytes(100_000)
        await trio.lowlevel.checkpoint()
    act()
    while True:
        yield bytes(100_000)
        await trio.lowlevel.checkpoint()


async def test_upload_comes_from_a_file_or_an_iterator(bench: Bench) -> None:
    local = bench.directory / "local"
    local.write_bytes(LARGE)
    async with launched(bench) as g:
        await g.upload(local, "/from-path")
        await g.upload(str(local), b"/from-text")
        await g.upload(_pieces(), "/from-iterator")
        await g.upload([b"a", b"bc"], "/from-list")
        await g.upload_offset([b"X"], "/from-list", 1)
    for name in ("from-path", "from-text", "from-iterator"):
        assert (bench.root / name).read_bytes() == LARGE
    assert (bench.root / "from-list").read_bytes() == b"aXc"


async def test_upload_of_what_is_no_source_sends_nothing(bench: Bench) -> None:
    async with launched(bench) as g:
        for source, error in ((b"content", TypeError), (7, TypeError), (bench.directory / "absent", FileNotFoundError)):
            with pytest.raises(error):
                await g.upload(source, "/target")  # type: ignore[arg-type]
    assert not (bench.root / "target").exists()


def _break() -> None:
    raise Broken


async def test_source_that_breaks_cancels_the_upload(large: Bench) -> None:
    async with launched(large) as g:
        for _ in range(g.config.channel_count):
            with pytest.raises(Broken):
                await g.upload(_endless(_break), "/target")
        await _every_channel_answers(g)
        assert 0 < (large.root / "target").stat().st_size <= 20 * 100_000


async def test_cancelled_upload_leaves_the_channel_usable(large: Bench) -> None:
    async with launched(large) as g:
        for _ in range(g.config.channel_count):
            with trio.CancelScope() as scope:
                await g.upload(_endless(scope.cancel), "/target")
            assert scope.cancelled_caught
        await _every_channel_answers(g)


async def test_user_cancel_of_an_upload_is_eintr(large: Bench) -> None:
    async with launched(large) as g:
        with pytest.raises(ProcedureError) as caught:
            await g.upload(_endless(g.user_cancel), "/target")
        assert (caught.value.procedure, caught.value.errno) == ("upload", errno.EINTR)
        await _every_channel_answers(g)


async def test_upload_that_the_daemon_refuses_ends_at_once(large: Bench) -> None:
    async with launched(large) as g:
        with trio.fail_after(10), pytest.raises(ProcedureError) as caught:
            await g.upload(_endless(lambda: None), "/absent/target")
        assert caught.value.errno == errno.ENOENT
        await _every_channel_answers(g)


async def test_upload_that_fills_the_disk_fails_with_its_errno(large: Bench) -> None:
    async with launched(large) as g:
        await trio.run_process(["mount", "-t", "tmpfs", "-o", "size=1m", "small", large.root])
        try:
            with trio.fail_after(10), pytest.raises(ProcedureError, match="No space left") as caught:
                await g.upload(_endless(lambda: None), "/target")
        finally:
            await trio.run_process(["umount", "-l", large.root])
        assert caught.value.errno == errno.ENOSPC
        assert await g.exists("/")


async def _slowly(count: int, pause_s: float) -> AsyncIterator[bytes]:
    for _ in range(count):
        await trio.sleep(pause_s)
        yield bytes(1000)


async def test_slow_upload_tells_its_progress_a_few_times_a_second(bench: Bench) -> None:
    progress: list[Progress] = []
    async with launched(bench) as g:
        g.subscribe(Progress, progress.append)
        began_s = trio.current_time()
        await g.upload(_slowly(60, 0.05), "/target", size_hint_bytes=60_000)
        took_s = trio.current_time() - began_s
    assert {(event.procedure, event.total) for event in progress} == {("upload", 60_000)}
    positions = [event.position for event in progress]
    assert positions == sorted(positions)
    assert positions[-1] == 60_000
    assert 2 <= len(positions) <= 2 + 3 * took_s


async def test_callback_that_raises_fails_the_call_and_no_more(bench: Bench) -> None:
    def interrupt(_event: Progress) -> None:
        raise Broken

    async with launched(bench) as g:
        subscription = g.subscribe(Progress, interrupt)
        with pytest.raises(Broken):
            await g.upload(_slowly(100, 0.05), "/target", size_hint_bytes=100_000)
        subscription.cancel()
        for _ in range(2 * g.config.channel_count):
            await g.upload([b"whole"], "/target")
    assert (bench.root / "target").read_bytes() == b"whole"


@pytest.mark.parametrize("piece_bytes", [1, 8191, 8192, 8193, MIB + 1])
async def test_pieces_of_any_size_arrive_in_order(bench: Bench, piece_bytes: int) -> None:
    content = LARGE[: 3 * piece_bytes + 1]
    pieces = (content[start : start + piece_bytes] for start in range(0, len(content), piece_bytes))
    async with launched(bench) as g:
        await g.upload(pieces, "/target")
        assert await g.download("/target").read() == content


async def test_empty_file_goes_both_ways(bench: Bench) -> None:
    async with launched(bench) as g:
        await g.upload([], "/empty")
        assert await g.download("/empty").read() == b""
        assert await g.download("/empty").save(bench.directory / "empty") == 0
    assert (bench.directory / "empty").read_bytes() == b""
    assert (bench.root / "empty").read_bytes() == b""


async def test_one_handle_copies_to_another(large: Bench) -> None:
    async with launched(large) as one, launched(large) as other, one.download("/large") as pieces:
        await other.upload(pieces, "/copy")
    assert (large.root / "copy").read_bytes() == LARGE


@pytest.mark.parametrize("victim", ["source", "target"])
async def test_handle_that_dies_while_it_copies_takes_no_other_along(large: Bench, victim: str) -> None:
    async with launched(large) as source, launched(large) as target:
        doomed, other = (source, target) if victim == "source" else (target, source)
        qemu = doomed.pid
        with trio.fail_after(10), pytest.raises(ConnectionLost, match="qemu ended with status -9"):
            await _copy(source, target, lambda: os.kill(qemu, signal.SIGKILL))
        assert (doomed.state, other.state) == (State.CONFIG, State.READY)
        await _every_channel_answers(other)


async def _copy(source: Guest, target: Guest, act: Callable[[], object]) -> None:
    async with source.download("/large") as pieces:

        async def until_it_acts() -> AsyncIterator[bytes]:
            yield await anext(pieces)
            act()
            await trio.sleep(0.5)  # who dies might come to the end of so little otherwise
            async for piece in pieces:
                yield piece

        await target.upload(until_it_acts(), "/copy")


async def test_transfers_run_side_by_side(large: Bench) -> None:
    async with launched(large) as g, trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(partial(g.upload, _pieces(8), f"/up{number}"))
            nursery.start_soon(g.download("/large").save, large.directory / f"down{number}")
    for number in range(6):
        assert (large.root / f"up{number}").read_bytes() == LARGE[: 8 * MIB]
        assert Path(large.directory / f"down{number}").read_bytes() == LARGE


async def test_what_would_break_a_stock_daemon_is_not_sent(large: Bench) -> None:
    async with launched(large) as g:
        with pytest.raises(LocalProtocolError, match="offset -1 is negative"):
            await g.upload_offset([b"data"], "/large", -1)
        with pytest.raises(LocalProtocolError, match="'nonsense': known are"):
            await g.tar_in([b"data"], "/", compress="nonsense")
        await _every_channel_answers(g)
