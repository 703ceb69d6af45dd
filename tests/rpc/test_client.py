"""One channel over a real socket: calls, cancellation, and every way the other end can fail."""

import errno

import pytest
import trio
import trio.testing

from rpc import client, constants, framing
from rpc.arguments import NoArgs
from rpc.client import open_channel
from rpc.codec import DeviceOrPath, GuestPath
from rpc.errors import ConnectionLost, LocalProtocolError, ProcedureError, RemoteProtocolError
from rpc.events import Header, Progress
from rpc.procedures import LSTATNS, PING_DAEMON, PREAD, PWRITE
from rpc.procedures.contents import PreadArgs, PwriteArgs
from rpc.procedures.transfers import RemoteFileArgs
from tests.rpc.scripted_daemon import PATH, STAT, assert_lost, assert_usable, conversation

GET = RemoteFileArgs(DeviceOrPath(b"/file"))
PUT = RemoteFileArgs(DeviceOrPath(b"/file"))


async def test_call_returns_the_result() -> None:
    async with conversation() as (channel, daemon):
        await assert_usable(channel, daemon)
        await assert_usable(channel, daemon)


async def test_large_result_arrives_whole() -> None:
    content = bytes(index % 251 for index in range(1 << 20))
    async with conversation() as (channel, daemon), trio.open_nursery() as nursery:
        nursery.start_soon(daemon.answer, PREAD, content)
        assert await channel.call(PREAD, PreadArgs(GuestPath(b"/f"), 1 << 20, 0)) == content


async def test_error_reply_carries_errno_and_text() -> None:
    async with conversation() as (channel, daemon), trio.open_nursery() as nursery:
        nursery.start_soon(daemon.refuse, LSTATNS, errno.ENOENT, "/file: No such file or directory")
        with pytest.raises(ProcedureError, match="lstatns: /file: No such file") as caught:
            await channel.call(LSTATNS, PATH)
        assert (caught.value.errno, caught.value.errno_name) == (errno.ENOENT, "ENOENT")
        nursery.start_soon(daemon.refuse, LSTATNS, 0, "mount first")
        with pytest.raises(ProcedureError) as caught:
            await channel.call(LSTATNS, PATH)
        assert (caught.value.errno, caught.value.errno_name) == (errno.EINVAL, "")


async def test_progress_is_passed_on() -> None:
    seen: list[Progress] = []
    async with conversation() as (channel, daemon):
        channel.on_progress = seen.append
        await daemon.send(framing.encode_progress(Progress(0, 0, 0, 1)))
        await assert_usable(channel, daemon)
    assert seen == [Progress(0, 0, 0, 1)]


async def test_closing_a_channel_ends_the_call_that_waits() -> None:
    ours, theirs = trio.socket.socketpair()
    stream = trio.SocketStream(ours)
    async with trio.SocketStream(theirs) as other, open_channel(stream) as channel:
        await other.send_all(framing.LAUNCH_WORD)
        await channel.wait_launch()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _close() -> None:
                await trio.testing.wait_all_tasks_blocked()
                await stream.aclose()

            with pytest.raises(ConnectionLost):
                await channel.call(LSTATNS, PATH)


async def test_arguments_that_do_not_fit_send_nothing() -> None:
    async with conversation() as (channel, daemon):
        with pytest.raises(LocalProtocolError):
            await channel.call(PREAD, PreadArgs(GuestPath(b"/f"), 1 << 31, 0))
        await assert_usable(channel, daemon)


async def test_bytes_behind_a_result_are_ignored() -> None:
    async with conversation() as (channel, daemon), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _answer() -> None:
            header, _ = await daemon.receive_call(PING_DAEMON)
            await daemon.send(daemon.connection.send_reply(header, b"newer"))

        await channel.call(PING_DAEMON, NoArgs())


async def test_end_before_the_launch_word_is_a_lost_connection() -> None:
    ours, theirs = trio.socket.socketpair()
    async with open_channel(trio.SocketStream(ours)) as channel:
        theirs.close()
        with pytest.raises(ConnectionLost, match="went away"):
            await channel.wait_launch()


async def test_other_word_instead_of_launch_is_refused() -> None:
    ours, theirs = trio.socket.socketpair()
    async with open_channel(trio.SocketStream(ours)) as channel, trio.SocketStream(theirs) as stream:
        await stream.send_all(framing.CANCEL_WORD)
        with pytest.raises(RemoteProtocolError, match="CANCEL in STARTING"):
            await channel.wait_launch()


@pytest.mark.parametrize("part", [0, 3, 30, 100])
async def test_end_in_a_reply_loses_the_channel(part: int) -> None:
    async with conversation() as (channel, daemon), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _die() -> None:
            header, _ = await daemon.receive_call(LSTATNS)
            await daemon.send(daemon.connection.send_result(header, LSTATNS, STAT)[:part])
            await daemon.stream.aclose()

        with pytest.raises(ConnectionLost):
            await channel.call(LSTATNS, PATH)
        await assert_lost(channel)


async def test_call_after_the_end_is_a_lost_connection() -> None:
    async with conversation() as (channel, daemon):
        await daemon.stream.aclose()
        with pytest.raises(ConnectionLost):
            await channel.call(LSTATNS, PATH)
        await assert_lost(channel)


async def test_waiters_learn_of_a_lost_connection() -> None:
    async with conversation() as (channel, daemon), trio.open_nursery() as nursery:

        async def call() -> None:
            with pytest.raises(ConnectionLost):
                await channel.call(LSTATNS, PATH)

        for _ in range(3):
            nursery.start_soon(call)
        await daemon.receive_call(LSTATNS)
        await daemon.stream.aclose()


@pytest.mark.parametrize(
    "reply",
    [
        framing.encode_message(Header.reply(422, 1, 0), [bytes(176)]),
        framing.encode_message(Header.reply(422, constants.FIRST_SERIAL, 0), [bytes(175)]),
        framing.encode_message(Header.reply(422, constants.FIRST_SERIAL, 1), [b"\0\0\0\x21" + bytes(40)]),
        b"\x7f\0\0\0",
        framing.LAUNCH_WORD,
    ],
    ids=["serial", "short", "errno name", "length", "launch"],
)
async def test_wrong_reply_loses_the_channel(reply: bytes) -> None:
    async with conversation() as (channel, daemon), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _answer() -> None:
            await daemon.receive_call(LSTATNS)
            await daemon.send(reply)

        with pytest.raises(RemoteProtocolError):
            await channel.call(LSTATNS, PATH)
        await assert_lost(channel)


async def test_calls_are_made_first_come_first_served() -> None:
    order: list[int] = []
    async with conversation() as (channel, daemon), trio.open_nursery() as nursery:

        async def call(number: int) -> None:
            await channel.call(PREAD, PreadArgs(GuestPath(b"/f"), 1, number))
            order.append(number)

        for number in range(5):
            nursery.start_soon(call, number)
            await trio.testing.wait_all_tasks_blocked()
        asked = [(await daemon.answer(PREAD, b"x")).offset for _ in range(5)]
    assert asked == order == list(range(5))


async def test_cancelled_call_waits_for_its_reply() -> None:
    async with conversation() as (channel, daemon), trio.open_nursery() as nursery:
        scope = trio.CancelScope()
        ended = trio.Event()

        @nursery.start_soon
        async def _call() -> None:
            with scope:
                await channel.call(LSTATNS, PATH)
            ended.set()

        header, _ = await daemon.receive_call(LSTATNS)
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert not ended.is_set()
        await daemon.send(daemon.connection.send_result(header, LSTATNS, STAT))
        await ended.wait()
        assert scope.cancelled_caught
        await assert_usable(channel, daemon)


async def test_cancelled_call_without_a_reply_loses_the_channel(autojump_clock: trio.testing.MockClock) -> None:
    async with conversation() as (channel, _):
        with trio.move_on_after(1) as scope:
            await channel.call(LSTATNS, PATH)
        assert scope.cancelled_caught
        assert trio.current_time() == pytest.approx(1 + client.RESYNCHRONISE_S)
        await assert_lost(channel)


async def test_call_cancelled_when_the_daemon_dies_ends_as_cancelled() -> None:
    async with conversation() as (channel, daemon), trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        @nursery.start_soon
        async def _die() -> None:
            await daemon.receive_call(LSTATNS)
            scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            await daemon.stream.aclose()

        with scope:
            await channel.call(LSTATNS, PATH)
        assert scope.cancelled_caught
        await assert_lost(channel)


async def test_cancelled_before_anything_was_sent_leaves_the_channel_alone() -> None:
    async with conversation() as (channel, daemon):
        with trio.CancelScope() as scope:
            scope.cancel()
            await channel.call(LSTATNS, PATH)
        assert scope.cancelled_caught
        await assert_usable(channel, daemon)


async def test_cancelled_sending_is_finished_first() -> None:
    args = PwriteArgs(GuestPath(b"/f"), bytes(4 << 20)[:-100], 0)
    async with conversation() as (channel, daemon), trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        @nursery.start_soon
        async def _call() -> None:
            with scope:
                await channel.call(PWRITE, args)

        await trio.testing.wait_all_tasks_blocked()  # the socket is full
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert await daemon.answer(PWRITE, 1) == args
        await assert_usable(channel, daemon)
        assert scope.cancelled_caught


async def test_cancelled_sending_that_nobody_reads_loses_the_channel(autojump_clock: trio.testing.MockClock) -> None:
    args = PwriteArgs(GuestPath(b"/f"), bytes(4 << 20)[:-100], 0)
    async with conversation() as (channel, _):
        with trio.move_on_after(1) as scope:
            await channel.call(PWRITE, args)
        assert scope.cancelled_caught
        await assert_lost(channel)


async def test_closed_channel_is_lost() -> None:
    async with conversation() as (channel, _):
        pass
    with pytest.raises(ConnectionLost):
        await channel.call(LSTATNS, PATH)
