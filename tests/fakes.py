"""A daemon of our own making, for answers that no honest one gives: it speaks the real protocol over a real socket."""

import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import trio

from guestmount_py.caches import CacheBudget
from guestmount_py.guest_files import GuestFiles
from guestmount_py.statistics import Statistics
from rpc.client import open_channel
from rpc.connection import Connection, Role
from rpc.events import NEED_DATA, Message
from rpc.pool import ChannelPool
from rpc.procedure import Procedure, Transfer
from rpc.procedures import BY_NUMBER
from rpc.types import Statns
from rpc.xdr import Reader

Answer = Callable[[Any], Any]


def statns(**fields: int) -> Statns:
    """Return the attributes of a regular file, changed as asked."""
    plain = Statns(1, 10, 0o100644, 1, 0, 0, 0, 5, 4096, 8, 1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 0, 0)
    return plain._replace(**fields)


def budget(capacity_bytes: int = 64 << 20) -> CacheBudget:
    """Return a bound for caches that no statistics are kept of."""
    return CacheBudget(capacity_bytes, Statistics())


def opaque(data: bytes) -> bytes:
    """Return a variable-length opaque item (RFC 4506 section 4.10)."""
    return struct.pack(">I", len(data)) + data + bytes(-len(data) % 4)


def directory_entry(name: bytes, stat: Statns, xattrs: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """Return a ``DirectoryEntry`` record, without looking at what is in it."""
    pairs = b"".join(opaque(key) + opaque(value) for key, value in xattrs)
    return opaque(name) + struct.pack(">22q", *stat) + opaque(b"") + struct.pack(">II", 1, len(xattrs)) + pairs


def listing_chunks(records: Iterable[bytes]) -> list[bytes]:
    """Return small records as a listing is sent: whole ones in each chunk, no chunk above the protocol's 8 KiB."""
    found = list(records)
    return [b"".join(found[start : start + 25]) for start in range(0, len(found), 25)]


def walk_part(path: bytes, entries: Mapping[bytes, tuple[int, int, int]]) -> bytes:
    """Return what a walk's stream says of one directory, whose entries are st_mode, st_ino and the minor of st_dev."""
    names = b"\0".join(entries)
    stats = b"".join(
        struct.pack("<IIQIIIHxxQQQQ64x", 0x7FF, 4096, 0, 1, 0, 0, mode, ino, 5, 8, 0)
        + struct.pack("<IIII112x", 0, 0, 0, minor)
        for mode, ino, minor in entries.values()
    )
    return struct.pack(">5I", len(path), 1, len(entries), len(names), 0) + path + names + stats


class FakeDaemon:
    """Answers calls from a table, and remembers them.

    Attributes:
        calls: what was asked, in order.
        hang_up: cancel it, and the daemon has died.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.hang_up = trio.CancelScope()
        self._answers: dict[str, Answer] = {}

    def answer(self, procedure: Procedure[Any, Any], answer: Answer) -> None:
        """Take what makes a call's result from its arguments: for FileOut a list of chunks. Its OSError is sent."""
        self._answers[procedure.name] = answer

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one channel until it is closed."""
        connection = Connection(Role.DAEMON)
        await stream.send_all(connection.send_launch())
        async with stream:
            async for data in stream:
                connection.receive_data(bytes(data))
                while (event := connection.next_event()) is not NEED_DATA:
                    if isinstance(event, Message):
                        await self._answer(connection, stream, event)

    async def _answer(self, connection: Connection, stream: trio.SocketStream, call: Message) -> None:
        procedure = BY_NUMBER[call.header.proc]
        args = procedure.args_codec.decode(Reader(call.body))
        self.calls.append((procedure.name, args))
        try:
            if procedure.name not in self._answers:
                raise OSError(f"procedure {procedure.name} is not known to this daemon")
            result = self._answers[procedure.name](args)
        except OSError as exc:
            data = connection.send_error(call.header.proc, call.header.serial, exc.errno or 0, str(exc))
            await stream.send_all(data)
            return
        if procedure.transfer is not Transfer.FILE_OUT:
            await stream.send_all(connection.send_result(call.header, procedure, result))
            return
        await stream.send_all(connection.send_reply(call.header, b"", streams=True))
        for chunk in result:
            await stream.send_all(connection.send_chunk(chunk))
        await stream.send_all(connection.send_end())


async def _until_hung_up(scope: trio.CancelScope, task_status: "trio.TaskStatus[trio.Nursery]") -> None:
    with scope:
        async with trio.open_nursery() as serving:
            task_status.started(serving)
            await trio.sleep_forever()


@asynccontextmanager
async def fake_guest(
    daemon: FakeDaemon, *, extended: bool = True, channel_count: int = 2
) -> AsyncIterator[tuple[GuestFiles, trio.Nursery]]:
    """Own a guest that a fake daemon serves, and a nursery beside it."""
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        serving = await nursery.start(_until_hung_up, daemon.hang_up)
        channels = []
        for _ in range(channel_count):
            ours, theirs = (trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in socket.socketpair())
            serving.start_soon(daemon.serve, theirs)
            channel = await stack.enter_async_context(open_channel(ours))
            await channel.wait_launch()
            channels.append(channel)
        yield GuestFiles(ChannelPool(channels), extended=extended), nursery
        nursery.cancel_scope.cancel()
