"""Our client and our daemon over a socket: whoever gives a transfer up, the channel is usable afterwards."""

import errno
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
import trio

from rpc import constants
from rpc.arguments import NoArgs, PathArgs
from rpc.client import Channel, open_channel
from rpc.codec import DeviceOrPath, GuestPath
from rpc.errors import ProcedureError
from rpc.procedures import DOWNLOAD, LSTATNS, PING_DAEMON, UPLOAD
from rpc.procedures.transfers import RemoteFileArgs
from tests.daemon.guestfsd import started

BIG_BYTES: Final = 32 << 20
BIG: Final = RemoteFileArgs(DeviceOrPath(b"/big"))
NEW: Final = RemoteFileArgs(DeviceOrPath(b"/new"))
NOWHERE: Final = RemoteFileArgs(DeviceOrPath(b"/nodir/new"))
CHUNK: Final = constants.CHUNK_MAX_BYTES


@asynccontextmanager
async def channel_to(guest: Path, prelude: str = "", complaint: str = "") -> AsyncIterator[Channel]:
    """Serve a guest and check at the end that the channel is usable, and that the daemon has said no more than this."""
    with (guest / "big").open("wb") as file:
        file.truncate(BIG_BYTES)
    with started(guest, prelude=prelude) as guestfsd:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(guestfsd.channel.dup()))
        async with open_channel(stream) as channel:
            channel._connection = guestfsd.connection  # it has seen the launch word
            yield channel
            assert not channel.is_lost
            await channel.call(PING_DAEMON, NoArgs())
            stat = await channel.call(LSTATNS, PathArgs(GuestPath(b"/big")))
            assert stat.st_size == BIG_BYTES
        assert guestfsd.finish() == (0, complaint)


async def zeros(size_bytes: int) -> AsyncGenerator[bytes, None]:
    for start in range(0, size_bytes, 1 << 16):
        yield bytes(min(1 << 16, size_bytes - start))
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("extended", [False, True])
async def test_client_leaves_a_download(guest: Path, extended: bool) -> None:
    async with channel_to(guest) as channel:
        if extended:
            assert await channel.hello()
        async with channel.download(DOWNLOAD, BIG) as pieces:
            await anext(pieces)
        with trio.CancelScope() as scope:
            async with channel.download(DOWNLOAD, BIG) as pieces:
                async for _ in pieces:
                    scope.cancel()
        assert scope.cancelled_caught


async def test_client_leaves_a_download_whose_last_chunk_is_there(guest: Path) -> None:
    """The cancel word crosses the end chunk: the daemon meets it when it waits for the next call."""
    async with channel_to(guest) as channel:
        for _ in range(50):
            async with channel.download(DOWNLOAD, RemoteFileArgs(DeviceOrPath(b"/hello"))) as pieces:
                assert await anext(pieces) == b"hello, world\n"
            await channel.call(PING_DAEMON, NoArgs())


async def test_daemon_gives_a_download_up(guest: Path) -> None:
    prelude = "\n".join(
        (
            "import daemon.server as s",
            "report = s.ProgressClock.report",
            "def fail(clock, position, total):",
            f"    if position >= {BIG_BYTES // 2}: raise OSError(5, 'Input/output error')",
            "s.ProgressClock.report = fail",
        )
    )
    complaint = "guestfsd: a transfer is given up: Input/output error\n"
    async with channel_to(guest, prelude, complaint) as channel:
        received_bytes = 0
        async with channel.download(DOWNLOAD, BIG) as pieces:
            while received_bytes < BIG_BYTES // 2:
                received_bytes += len(await anext(pieces))
            with pytest.raises(ProcedureError) as caught:
                await anext(pieces)
            assert caught.value.errno == errno.EIO


async def test_upload_is_complete(guest: Path) -> None:
    async with channel_to(guest) as channel:
        await channel.upload(UPLOAD, NEW, zeros(BIG_BYTES + 1), BIG_BYTES + 1)
        assert (guest / "new").stat().st_size == BIG_BYTES + 1


async def test_source_of_an_upload_fails(guest: Path) -> None:
    async def source() -> AsyncIterator[bytes]:
        yield b"x" * CHUNK
        raise KeyError

    async with channel_to(guest) as channel:
        with pytest.raises(KeyError):
            await channel.upload(UPLOAD, NEW, source())
        assert (guest / "new").stat().st_size <= CHUNK


async def test_client_cancels_an_upload(guest: Path) -> None:
    async with channel_to(guest) as channel:
        with trio.CancelScope() as scope:

            async def source() -> AsyncIterator[bytes]:
                yield b"x" * CHUNK
                scope.cancel()
                await trio.sleep_forever()

            await channel.upload(UPLOAD, NEW, source())
        assert scope.cancelled_caught


async def test_daemon_refuses_an_upload_at_once(guest: Path) -> None:
    async with channel_to(guest) as channel, aclosing(zeros(64 * BIG_BYTES)) as source:
        with pytest.raises(ProcedureError) as caught:
            await channel.upload(UPLOAD, NOWHERE, source)
        assert caught.value.errno == errno.ENOENT
        assert await anext(source)  # it was not read to its end


@pytest.mark.parametrize("size_bytes", [0, CHUNK])
async def test_daemon_refuses_an_upload_that_has_ended(guest: Path, size_bytes: int) -> None:
    """The cancel word crosses the end chunk: the client meets it when it waits for the reply."""
    slow = (
        "import daemon.server as s, time\ns.handler_of = lambda number, of=s.handler_of: time.sleep(0.05) or of(number)"
    )
    async with channel_to(guest, slow) as channel:
        for _ in range(5):
            with pytest.raises(ProcedureError) as caught:
                await channel.upload(UPLOAD, NOWHERE, zeros(size_bytes))
            assert caught.value.errno == errno.ENOENT


async def test_daemon_cannot_go_on_with_an_upload(guest: Path) -> None:
    limit = f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({BIG_BYTES}, {BIG_BYTES}))"
    async with channel_to(guest, limit) as channel:
        for size_bytes in (64 * BIG_BYTES, BIG_BYTES + 1):
            with pytest.raises(ProcedureError) as caught:
                async with aclosing(zeros(size_bytes)) as source:
                    await channel.upload(UPLOAD, NEW, source)
            assert caught.value.errno == errno.EFBIG
            assert (guest / "new").stat().st_size == BIG_BYTES
