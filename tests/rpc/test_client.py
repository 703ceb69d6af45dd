"""One channel over a real socket: calls, transfers, cancellation, and every way the other end can fail."""

import errno
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from rpc import client, constants, framing
from rpc.arguments import DownloadArgs, LstatnsArgs, NoArgs, PreadArgs, PwriteArgs, UploadArgs
from rpc.client import Channel, open_channel
from rpc.codec import DeviceOrPath, GuestPath
from rpc.errors import ConnectionLost, LocalProtocolError, ProcedureError, RemoteProtocolError
from rpc.events import CancelWord, Chunk, Header, Progress
from rpc.procedures import DOWNLOAD, HELLO, LSTATNS, PING_DAEMON, PREAD, PWRITE, UPLOAD
from rpc.types import Hello, Statns
from tests.rpc.scripted_daemon import ScriptedDaemon, conversation

STAT = Statns._make(range(22))
PATH = LstatnsArgs(GuestPath(b"/file"))
GET = DownloadArgs(DeviceOrPath(b"/file"))
PUT = UploadArgs(DeviceOrPath(b"/file"))


async def assert_usable(channel: Channel, daemon: ScriptedDaemon) -> None:
    assert not channel.is_lost
    async with trio.open_nursery() as nursery:
        nursery.start_soon(daemon.answer, LSTATNS, STAT)
        assert await channel.call(LSTATNS, PATH) == STAT


async def assert_lost(channel: Channel) -> None:
    assert channel.is_lost
    with pytest.raises(ConnectionLost):
        await channel.call(PING_DAEMON, NoArgs())


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


async def test_progress_comes_at_any_time() -> None:
    word = framing.encode_progress(Progress(0, 0, 0, 1))
    seen: list[Progress] = []
    ours, theirs = trio.socket.socketpair()
    async with open_channel(trio.SocketStream(ours)) as channel, trio.SocketStream(theirs) as other:
        channel.on_progress = seen.append
        daemon = ScriptedDaemon(other)
        await daemon.send(word + daemon.connection.send_launch())
        await channel.wait_launch()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _send_a_file() -> None:
                await daemon.begin_stream(DOWNLOAD)
                await daemon.send(word + daemon.connection.send_chunk(b"data") + word + daemon.connection.send_end())

            async with channel.download(DOWNLOAD, GET) as pieces:
                assert [piece async for piece in pieces] == [b"data"]
        assert len(seen) == 3


async def test_progress_during_an_upload_does_not_stop_it() -> None:
    reported = trio.Event()
    seen: list[Progress] = []

    async def source() -> AsyncIterator[bytes]:
        yield b"one"
        await reported.wait()
        yield b"two"

    async with conversation() as (channel, daemon), trio.open_nursery() as nursery:
        channel.on_progress = seen.append

        @nursery.start_soon
        async def _take() -> None:
            header, _ = await daemon.receive_call(UPLOAD)
            daemon.connection.begin_upload()
            assert await daemon.receive() == Chunk(b"one")
            await daemon.send(framing.encode_progress(Progress(66, header.serial, 3, 6)))
            reported.set()
            assert [await daemon.receive() for _ in range(2)] == [Chunk(b"two"), Chunk(b"")]
            await daemon.send(daemon.connection.send_reply(header, b""))

        await channel.upload(UPLOAD, PUT, source(), size_hint_bytes=6)
    assert [progress.position for progress in seen] == [3]


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


async def stream(daemon: ScriptedDaemon, pieces: list[bytes], *, cancelled: bool = False) -> None:
    await daemon.begin_stream(DOWNLOAD)
    for piece in pieces:
        await daemon.send(daemon.connection.send_chunk(piece))
    await daemon.send(daemon.connection.send_end(cancelled=cancelled))


@pytest.mark.parametrize("pieces", [[], [b"x"], [b"x" * 8192] * 100 + [b"end"]], ids=["empty", "one", "many"])
async def test_download_yields_every_piece(pieces: list[bytes]) -> None:
    async with conversation() as (channel, daemon):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream, daemon, pieces)
            async with channel.download(DOWNLOAD, GET) as received:
                assert [piece async for piece in received] == pieces
        await assert_usable(channel, daemon)


async def test_download_error_leaves_the_channel_usable() -> None:
    async with conversation() as (channel, daemon):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(daemon.refuse, DOWNLOAD, errno.EISDIR, "is a directory")
            with pytest.raises(ProcedureError, match="is a directory"):
                async with channel.download(DOWNLOAD, GET):
                    pytest.fail("no transfer began")
        await assert_usable(channel, daemon)


async def test_download_given_up_by_the_daemon_is_an_io_error() -> None:
    async with conversation() as (channel, daemon):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: stream(daemon, [b"part"], cancelled=True))
            async with channel.download(DOWNLOAD, GET) as pieces:
                assert await anext(pieces) == b"part"
                with pytest.raises(ProcedureError, match="gave the transfer up") as caught:
                    await anext(pieces)
        assert caught.value.errno == errno.EIO
        await assert_usable(channel, daemon)


async def acknowledge_cancel(daemon: ScriptedDaemon) -> None:
    """Send data until the cancel word is there, as the daemon does (section 3.3)."""
    await daemon.begin_stream(DOWNLOAD)
    for _ in range(3):
        await daemon.send(daemon.connection.send_chunk(b"x" * 8192))
    assert isinstance(await daemon.receive(), CancelWord)
    await daemon.send(daemon.connection.send_end(cancelled=True))


async def test_leaving_a_download_early_cancels_it() -> None:
    async with conversation() as (channel, daemon):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(acknowledge_cancel, daemon)
            async with channel.download(DOWNLOAD, GET) as pieces:
                async for piece in pieces:
                    assert piece == b"x" * 8192
                    break
        assert [piece async for piece in pieces] == []
        await assert_usable(channel, daemon)


async def test_exception_in_a_download_passes_and_cancels_it() -> None:
    async with conversation() as (channel, daemon):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(acknowledge_cancel, daemon)
            with pytest.raises(KeyError):
                async with channel.download(DOWNLOAD, GET):
                    raise KeyError
        await assert_usable(channel, daemon)


async def test_cancelled_download_is_cancelled_at_the_daemon() -> None:
    async with conversation() as (channel, daemon):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(acknowledge_cancel, daemon)
            with trio.CancelScope() as scope:
                async with channel.download(DOWNLOAD, GET) as pieces:
                    async for _ in pieces:
                        scope.cancel()
        assert scope.cancelled_caught
        await assert_usable(channel, daemon)


async def test_download_cancelled_before_its_reply_is_cancelled_after_it() -> None:
    async with conversation() as (channel, daemon), trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        @nursery.start_soon
        async def _download() -> None:
            with scope:
                async with channel.download(DOWNLOAD, GET):
                    pytest.fail("the context must not be entered")

        header, _ = await daemon.receive_call(DOWNLOAD)
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        await daemon.send(daemon.connection.send_reply(header, b"", streams=True))
        assert isinstance(await daemon.receive(), CancelWord)
        await daemon.send(daemon.connection.send_end(cancelled=True))
        await assert_usable(channel, daemon)


async def test_download_that_does_not_stop_loses_the_channel(autojump_clock: trio.testing.MockClock) -> None:
    async with conversation() as (channel, daemon):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(daemon.begin_stream, DOWNLOAD)
            async with channel.download(DOWNLOAD, GET):
                pass
        assert trio.current_time() == pytest.approx(client.RESYNCHRONISE_S)
        await assert_lost(channel)


async def test_end_in_a_download_is_a_lost_connection() -> None:
    async with conversation() as (channel, daemon), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _die() -> None:
            await daemon.begin_stream(DOWNLOAD)
            await daemon.stream.aclose()

        async with channel.download(DOWNLOAD, GET) as pieces:
            with pytest.raises(ConnectionLost):
                await anext(pieces)
        await assert_lost(channel)


async def of(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def receive_upload(daemon: ScriptedDaemon) -> tuple[Header, list[Chunk]]:
    header, _ = await daemon.receive_call(UPLOAD)
    daemon.connection.begin_upload()
    chunks: list[Chunk] = []
    while not (chunks and chunks[-1].is_last):
        event = await daemon.receive()
        assert isinstance(event, Chunk)
        chunks.append(event)
    return header, chunks


async def test_upload_cuts_the_file_into_chunks() -> None:
    async with conversation() as (channel, daemon), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _take() -> None:
            header, chunks = await receive_upload(daemon)
            assert header.progress_hint == 8200
            assert [len(chunk.data) for chunk in chunks] == [8192, 8, 3, 0]
            await daemon.send(daemon.connection.send_reply(header, b""))

        await channel.upload(UPLOAD, PUT, of(bytes(8200), b"", b"end"), size_hint_bytes=8200)


async def test_upload_whose_source_fails_is_cancelled() -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"part"
        raise OSError(errno.EIO, "disk")

    async with conversation() as (channel, daemon):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _take() -> None:
                header, chunks = await receive_upload(daemon)
                assert chunks == [Chunk(b"part"), Chunk(b"", cancelled=True)]
                await daemon.send(daemon.connection.send_error(header.proc, header.serial, 0, "cancelled"))

            with pytest.raises(OSError, match="disk"):
                await channel.upload(UPLOAD, PUT, failing())
        await assert_usable(channel, daemon)


async def test_upload_rejected_early_stops_reading_its_source() -> None:
    rejected = trio.Event()
    read: list[int] = []

    async def source() -> AsyncIterator[bytes]:
        for number in range(3):
            read.append(number)
            yield b"data"
            await rejected.wait()

    async with conversation() as (channel, daemon):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _reject() -> None:
                header, _ = await daemon.receive_call(UPLOAD)
                daemon.connection.begin_upload()
                await daemon.send(daemon.connection.send_cancel_word())
                rejected.set()
                while not (isinstance(event := await daemon.receive(), Chunk) and event.is_last):
                    pass
                assert event.cancelled
                await daemon.send(daemon.connection.send_error(header.proc, header.serial, errno.ENOSPC, "disk full"))

            pieces = source()
            with pytest.raises(ProcedureError, match="disk full"):
                await channel.upload(UPLOAD, PUT, pieces)
            await pieces.aclose()  # type: ignore[attr-defined]
        assert read == [0, 1]
        await assert_usable(channel, daemon)


async def test_upload_rejected_after_its_end_is_an_error() -> None:
    async with conversation() as (channel, daemon):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _reject() -> None:
                header, _ = await receive_upload(daemon)
                error = daemon.connection.send_error(header.proc, header.serial, errno.EROFS, "read-only")
                await daemon.send(framing.CANCEL_WORD + error)

            with pytest.raises(ProcedureError, match="read-only"):
                await channel.upload(UPLOAD, PUT, of(b"all"))
        await assert_usable(channel, daemon)


async def test_end_in_an_upload_is_a_lost_connection() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            await trio.lowlevel.checkpoint()
            yield bytes(8192)

    async with conversation() as (channel, daemon), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _die() -> None:
            await daemon.receive_call(UPLOAD)
            await daemon.stream.aclose()

        source = endless()
        with pytest.raises(ConnectionLost):
            await channel.upload(UPLOAD, PUT, source)
        await source.aclose()  # type: ignore[attr-defined]
        await assert_lost(channel)


async def test_hello_agrees_on_longer_chunks() -> None:
    answer = Hello(1, 1 << 20, ["list_directory"])
    async with conversation() as (channel, daemon), trio.open_nursery() as nursery:
        nursery.start_soon(daemon.answer, HELLO, answer)
        assert await channel.hello() == answer
        daemon.connection.chunk_max_bytes = 1 << 20
        nursery.start_soon(stream, daemon, [bytes(1 << 20)])
        async with channel.download(DOWNLOAD, GET) as pieces:
            assert [len(piece) async for piece in pieces] == [1 << 20]


async def test_hello_to_a_stock_daemon_is_none() -> None:
    async with conversation() as (channel, daemon):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(daemon.refuse, HELLO, 0, "unknown procedure 10000")
            assert await channel.hello() is None
        await assert_usable(channel, daemon)


@pytest.mark.parametrize("size", [0, 8191, (1 << 20) + 1, 0xFFFFFFFF])
async def test_hello_with_an_impossible_chunk_size_loses_the_channel(size: int) -> None:
    async with conversation() as (channel, daemon), trio.open_nursery() as nursery:
        nursery.start_soon(daemon.answer, HELLO, Hello(1, size, []))
        with pytest.raises(RemoteProtocolError, match="wants chunks"):
            await channel.hello()
        await assert_lost(channel)


async def test_closed_channel_is_lost() -> None:
    async with conversation() as (channel, _):
        pass
    with pytest.raises(ConnectionLost):
        await channel.call(LSTATNS, PATH)
