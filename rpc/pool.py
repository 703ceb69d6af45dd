"""Several channels to one daemon: who takes which call."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

import trio

from rpc.client import Channel
from rpc.errors import ConnectionLost
from rpc.procedures import Procedure

ArgsT = TypeVar("ArgsT")
RetT = TypeVar("RetT")


class ChannelPool:
    """Spread calls over channels; the first one takes no transfers if there are others, so calls never wait for one.

    Invariant: a channel is in ``_idle`` or lent to exactly one task.
    """

    def __init__(self, channels: Sequence[Channel]) -> None:
        self._idle = list(channels)
        self._first = channels[0]
        self._single = len(channels) == 1
        self._waiting = trio.lowlevel.ParkingLot()

    async def call(self, procedure: Procedure[ArgsT, RetT], args: ArgsT) -> RetT:
        """Make a call on a free channel; see ``Channel.call``."""
        channel = await self._borrow(for_transfer=False)
        with self._returned(channel):
            return await channel.call(procedure, args)

    @asynccontextmanager
    async def download(self, procedure: Procedure[ArgsT, None], args: ArgsT) -> AsyncIterator[AsyncIterator[bytes]]:
        """Make a FileOut call on a free channel; see ``Channel.download``."""
        channel = await self._borrow(for_transfer=True)
        with self._returned(channel):
            async with channel.download(procedure, args) as pieces:
                yield pieces

    async def _borrow(self, *, for_transfer: bool) -> Channel:
        while True:
            if self._first.is_lost:
                raise ConnectionLost("the appliance went away")
            for position, channel in enumerate(self._idle):
                if not for_transfer or self._single or channel is not self._first:
                    return self._idle.pop(position)
            await self._waiting.park()

    @contextmanager
    def _returned(self, channel: Channel) -> Iterator[None]:
        try:
            yield
        finally:
            if not channel.is_lost:
                self._idle.insert(0, channel) if channel is self._first else self._idle.append(channel)
            self._waiting.unpark_all()
