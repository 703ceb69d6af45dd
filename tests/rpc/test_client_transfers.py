"""Files over one channel: downloads, uploads, longer chunks, and every way either end can give up."""

import errno
import os
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from rpc import client, framing
from rpc.client import open_channel
from rpc.codec import DeviceOrPath
from rpc.errors import ConnectionLost, ProcedureError, RemoteProtocolError
from rpc.events import CancelWord, Chunk, Header, Progress
from rpc.procedures import DOWNLOAD, HELLO, UPLOAD
from rpc.procedures.transfers import RemoteFileArgs
from rpc.types import Hello
from tests.rpc.scripted_daemon import ScriptedDaemon, assert_lost, assert_usable, conversation

GET = RemoteFileArgs(DeviceOrPath(b"/file"))
PUT = RemoteFileArgs(DeviceOrPath(b"/file"))


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


async def test_upload_goes_on_though_the_daemon_sends_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """One look at what came for each chunk: it must neither stop the upload nor be kept."""
    progress = framing.encode_progress(Progress(UPLOAD.number, 0, 1, 2)) * 1000
    read, reads = os.read, 0

    async with conversation() as (channel, daemon):
        theirs = channel._socket.fileno()

        def endless(descriptor: int, size: int) -> bytes:
            nonlocal reads
            reads += descriptor == theirs
            assert reads < 100
            return progress if descriptor == theirs else read(descriptor, size)

        async def source() -> AsyncIterator[bytes]:
            monkeypatch.setattr(os, "read", endless)
            for count in range(5):
                yield b"x" * 8192
                assert reads == count + 1
                assert channel._connection._buffer.buffered_bytes == 0
            monkeypatch.setattr(os, "read", read)

        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _take() -> None:
                header, chunks = await receive_upload(daemon)
                assert len(chunks) == 6
                await daemon.send(daemon.connection.send_reply(header, b""))

            await channel.upload(UPLOAD, PUT, source())
        await assert_usable(channel, daemon)
