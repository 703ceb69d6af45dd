"""A daemon that does what a test tells it, step by step, over a real socket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from rpc.arguments import NoArgs, PathArgs
from rpc.client import Channel, open_channel
from rpc.codec import GuestPath
from rpc.connection import Connection, Role
from rpc.errors import ConnectionLost
from rpc.events import Event, Header, Message, NeedData
from rpc.procedure import Procedure
from rpc.procedures import LSTATNS, PING_DAEMON
from rpc.types import Statns
from rpc.xdr import Reader

STAT = Statns._make(range(22))
PATH = PathArgs(GuestPath(b"/file"))


class ScriptedDaemon:
    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.connection = Connection(Role.DAEMON)

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def receive(self) -> Event:
        while isinstance(event := self.connection.next_event(), NeedData):
            data = await self.stream.receive_some(65536)
            assert data, "the client hung up"
            self.connection.receive_data(bytes(data))
        return event

    async def receive_call(self, procedure: Procedure[Any, Any]) -> tuple[Header, Any]:
        event = await self.receive()
        assert isinstance(event, Message)
        assert event.header.proc == procedure.number
        return event.header, procedure.args_codec.decode(Reader(event.body))

    async def answer(self, procedure: Procedure[Any, Any], result: Any) -> Any:
        header, args = await self.receive_call(procedure)
        await self.send(self.connection.send_result(header, procedure, result))
        return args

    async def refuse(self, procedure: Procedure[Any, Any], number: int, text: str) -> None:
        header, _ = await self.receive_call(procedure)
        await self.send(self.connection.send_error(header.proc, header.serial, number, text))

    async def begin_stream(self, procedure: Procedure[Any, None]) -> None:
        header, _ = await self.receive_call(procedure)
        await self.send(self.connection.send_reply(header, b"", streams=True))


@asynccontextmanager
async def conversation() -> AsyncIterator[tuple[Channel, ScriptedDaemon]]:
    """Open a launched channel and its daemon."""
    ours, theirs = trio.socket.socketpair()
    async with open_channel(trio.SocketStream(ours)) as channel, trio.SocketStream(theirs) as stream:
        daemon = ScriptedDaemon(stream)
        await daemon.send(daemon.connection.send_launch())
        await channel.wait_launch()
        yield channel, daemon


async def assert_usable(channel: Channel, daemon: ScriptedDaemon) -> None:
    assert not channel.is_lost
    async with trio.open_nursery() as nursery:
        nursery.start_soon(daemon.answer, LSTATNS, STAT)
        assert await channel.call(LSTATNS, PATH) == STAT


async def assert_lost(channel: Channel) -> None:
    assert channel.is_lost
    with pytest.raises(ConnectionLost):
        await channel.call(PING_DAEMON, NoArgs())
