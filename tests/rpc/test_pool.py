"""Who takes which call, who waits, and what happens when channels die."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from rpc.arguments import NoArgs
from rpc.codec import DeviceOrPath, GuestPath
from rpc.errors import ConnectionLost
from rpc.events import Chunk, Message
from rpc.pool import ChannelPool
from rpc.procedures import DOWNLOAD, PING_DAEMON, PREAD, UPLOAD
from rpc.procedures.contents import PreadArgs
from rpc.procedures.transfers import RemoteFileArgs
from tests.rpc.scripted_daemon import ScriptedDaemon, conversation

GET = RemoteFileArgs(DeviceOrPath(b"/file"))


@asynccontextmanager
async def pool_of(count: int) -> AsyncIterator[tuple[ChannelPool, list[ScriptedDaemon]]]:
    async with AsyncExitStack() as stack:
        pairs = [await stack.enter_async_context(conversation()) for _ in range(count)]
        yield ChannelPool([channel for channel, _ in pairs]), [daemon for _, daemon in pairs]


async def ping(pool: ChannelPool) -> None:
    await pool.call(PING_DAEMON, NoArgs())


async def hold_download(pool: ChannelPool, release: trio.Event) -> None:
    async with pool.download(DOWNLOAD, GET) as pieces:
        await release.wait()
        async for _ in pieces:
            pass


async def end_stream(daemon: ScriptedDaemon) -> None:
    await daemon.send(daemon.connection.send_end())


async def test_calls_spread_over_the_channels() -> None:
    async with pool_of(3) as (pool, daemons), trio.open_nursery() as nursery:
        for _ in daemons:
            nursery.start_soon(ping, pool)
        headers = [await daemon.receive_call(PING_DAEMON) for daemon in daemons]  # all at once
        for daemon, (header, _) in zip(daemons, headers, strict=True):
            await daemon.send(daemon.connection.send_reply(header, b""))


async def test_transfers_keep_off_the_first_channel() -> None:
    release = trio.Event()
    async with pool_of(2) as (pool, (first, second)), trio.open_nursery() as nursery:
        nursery.start_soon(hold_download, pool, release)
        await second.begin_stream(DOWNLOAD)
        nursery.start_soon(hold_download, pool, release)  # waits for the second channel
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(3):
            nursery.start_soon(ping, pool)
            await first.answer(PING_DAEMON, None)
        release.set()
        await end_stream(second)
        await second.begin_stream(DOWNLOAD)
        await end_stream(second)


async def test_uploads_keep_off_the_first_channel() -> None:
    async def source() -> AsyncIterator[bytes]:
        yield b"all"

    async with pool_of(2) as (pool, (first, second)), trio.open_nursery() as nursery:
        nursery.start_soon(pool.upload, UPLOAD, GET, source(), 3)
        header, args = await second.receive_call(UPLOAD)
        assert (header.progress_hint, args) == (3, GET)
        second.connection.begin_upload()
        nursery.start_soon(ping, pool)
        await first.answer(PING_DAEMON, None)
        assert [await second.receive(), await second.receive()] == [Chunk(b"all"), Chunk(b"")]
        await second.send(second.connection.send_reply(header, b""))


async def test_only_channel_takes_everything() -> None:
    release = trio.Event()
    release.set()
    async with pool_of(1) as (pool, (daemon,)), trio.open_nursery() as nursery:
        nursery.start_soon(hold_download, pool, release)
        await daemon.begin_stream(DOWNLOAD)
        await end_stream(daemon)
        nursery.start_soon(ping, pool)
        await daemon.answer(PING_DAEMON, None)


async def test_longest_waiter_is_served_before_a_greedy_caller() -> None:
    async def greedy(pool: ChannelPool) -> None:
        for _ in range(3):
            await pool.call(PREAD, PreadArgs(GuestPath(b"/greedy"), 1, 0))

    async with pool_of(1) as (pool, (daemon,)), trio.open_nursery() as nursery:
        nursery.start_soon(greedy, pool)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ping, pool)
        await trio.testing.wait_all_tasks_blocked()
        numbers = []
        for _ in range(4):
            event = await daemon.receive()
            assert isinstance(event, Message)
            numbers.append(event.header.proc)
            body = b"" if event.header.proc == PING_DAEMON.number else bytes(4)
            await daemon.send(daemon.connection.send_reply(event.header, body))
    assert numbers == [PREAD.number, PING_DAEMON.number, PREAD.number, PREAD.number]


async def test_cancelled_waiter_takes_no_channel() -> None:
    async with pool_of(1) as (pool, (daemon,)), trio.open_nursery() as nursery:
        nursery.start_soon(ping, pool)
        await trio.testing.wait_all_tasks_blocked()
        scope = trio.CancelScope()

        @nursery.start_soon
        async def _wait() -> None:
            with scope:
                await ping(pool)

        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        await daemon.answer(PING_DAEMON, None)
        nursery.start_soon(ping, pool)
        await daemon.answer(PING_DAEMON, None)


async def test_waiter_cancelled_after_it_was_served_gives_the_channel_back() -> None:
    async with pool_of(1) as (pool, (daemon,)), trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def call_then_cancel() -> None:
            await ping(pool)
            scope.cancel()  # the waiter has just been handed the channel, and has not run since

        async def wait() -> None:
            with scope:
                await ping(pool)

        nursery.start_soon(call_then_cancel)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await daemon.answer(PING_DAEMON, None)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ping, pool)
        await daemon.answer(PING_DAEMON, None)


async def test_lost_channel_drops_out() -> None:
    async with pool_of(2) as (pool, (first, second)), trio.open_nursery() as nursery:
        await second.stream.aclose()
        with pytest.raises(ConnectionLost):
            async with pool.download(DOWNLOAD, GET):
                pytest.fail("no transfer began")
        release = trio.Event()
        release.set()
        nursery.start_soon(hold_download, pool, release)  # the first one must do
        await first.begin_stream(DOWNLOAD)
        await end_stream(first)


async def test_lost_first_channel_leaves_the_others() -> None:
    async with pool_of(2) as (pool, (first, second)), trio.open_nursery() as nursery:
        await first.stream.aclose()
        with pytest.raises(ConnectionLost):
            await ping(pool)
        nursery.start_soon(ping, pool)
        await second.answer(PING_DAEMON, None)


async def test_everybody_learns_when_the_last_channel_is_lost() -> None:
    async def call(pool: ChannelPool) -> None:
        with pytest.raises(ConnectionLost):
            await ping(pool)

    async def download(pool: ChannelPool) -> None:
        with pytest.raises(ConnectionLost):
            async with pool.download(DOWNLOAD, GET):
                pytest.fail("no transfer began")

    async with pool_of(2) as (pool, daemons):
        async with trio.open_nursery() as nursery:
            for kind in (call, download) * 4:
                nursery.start_soon(kind, pool)
            await trio.testing.wait_all_tasks_blocked()
            for daemon in daemons:
                await daemon.stream.aclose()
        with pytest.raises(ConnectionLost):
            await ping(pool)


@pytest.mark.parametrize("kind", ["call", "download"])
async def test_error_in_the_callers_code_gives_the_channel_back(kind: str) -> None:
    async with pool_of(1) as (pool, (daemon,)), trio.open_nursery() as nursery:
        failures: list[Any] = []

        @nursery.start_soon
        async def _fail() -> None:
            try:
                if kind == "call":
                    await pool.call(PREAD, PreadArgs(GuestPath(b"/f"), 1 << 31, 0))
                async with pool.download(DOWNLOAD, GET):
                    raise KeyError
            except Exception as exc:
                failures.append(exc)

        if kind == "download":
            await daemon.begin_stream(DOWNLOAD)
            await daemon.receive()
            await end_stream(daemon)
        await trio.testing.wait_all_tasks_blocked()
        assert len(failures) == 1
        nursery.start_soon(ping, pool)
        await daemon.answer(PING_DAEMON, None)


async def test_free_channel_that_was_used_last_is_taken_behind_the_first() -> None:
    async with pool_of(4) as (pool, daemons), trio.open_nursery() as nursery:
        headers = []
        for daemon in daemons:
            nursery.start_soon(ping, pool)
            headers.append((await daemon.receive_call(PING_DAEMON))[0])

        async def answer(number: int) -> None:
            await daemons[number].send(daemons[number].connection.send_reply(headers[number], b""))
            await trio.testing.wait_all_tasks_blocked()

        asked: list[int] = []

        async def note(number: int) -> None:
            headers[number], _ = await daemons[number].receive_call(PING_DAEMON)
            asked.append(number)

        for number in (3, 1, 2, 0):
            await answer(number)
            nursery.start_soon(note, number)
        for _ in daemons:
            nursery.start_soon(ping, pool)
            await trio.testing.wait_all_tasks_blocked()
        for number in asked:
            await answer(number)
    assert asked == [0, 2, 1, 3]
