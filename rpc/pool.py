"""Several channels to one daemon: who takes which call."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

import trio

from rpc.client import Channel
from rpc.errors import ConnectionLost
from rpc.procedure import Procedure

ArgsT = TypeVar("ArgsT")
RetT = TypeVar("RetT")


class _Waiter:
    """A task that waits for a channel of its kind."""

    def __init__(self, *, for_transfer: bool, only_first: bool) -> None:
        self.for_transfer = for_transfer
        self.only_first = only_first
        self.channel: Channel | None = None
        self.served = trio.Event()


class ChannelPool:
    """Spread calls over channels; the first one takes no transfers if there are others, so calls never wait for one.

    Whoever waits longest gets the next channel that suits. Whoever need not wait gets the first one or, of the others,
    the one that was used last: the guest has that process's memory and code at hand. A channel that is lost drops out;
    when none is left, or none suits, everybody gets ConnectionLost.

    Invariant: a channel is idle, lent to exactly one task, or lost; none that is idle suits anyone who waits.
    """

    def __init__(self, channels: Sequence[Channel]) -> None:
        self._first = channels[0]
        self._alive = list(channels)
        self._idle = list(channels)
        self._waiting: list[_Waiter] = []

    async def call(self, procedure: Procedure[ArgsT, RetT], args: ArgsT) -> RetT:
        """Make a call on a free channel; see ``Channel.call``."""
        with self._returned(await self._borrow(for_transfer=False)) as channel:
            return await channel.call(procedure, args)

    async def call_first(self, procedure: Procedure[ArgsT, RetT], args: ArgsT) -> RetT:
        """Make a call on the first channel: what it leaves behind in the daemon is with that one process."""
        with self._returned(await self._borrow(for_transfer=False, only_first=True)) as channel:
            return await channel.call(procedure, args)

    @asynccontextmanager
    async def download(self, procedure: Procedure[ArgsT, None], args: ArgsT) -> AsyncIterator[AsyncIterator[bytes]]:
        """Make a FileOut call on a free channel; see ``Channel.download``."""
        with self._returned(await self._borrow(for_transfer=True)) as channel:
            async with channel.download(procedure, args) as pieces:
                yield pieces

    async def upload(
        self, procedure: Procedure[ArgsT, RetT], args: ArgsT, source: AsyncIterator[bytes], size_hint_bytes: int = 0
    ) -> RetT:
        """Make a FileIn call on a free channel; see ``Channel.upload``."""
        with self._returned(await self._borrow(for_transfer=True)) as channel:
            return await channel.upload(procedure, args, source, size_hint_bytes)

    def _suits(self, channel: Channel, waiter: _Waiter) -> bool:
        if channel is self._first:
            return not waiter.for_transfer or len(self._alive) == 1
        return not waiter.only_first

    def _is_hopeless(self, waiter: _Waiter) -> bool:
        return not self._alive or (waiter.only_first and self._first.is_lost)

    async def _borrow(self, *, for_transfer: bool, only_first: bool = False) -> Channel:
        waiter = _Waiter(for_transfer=for_transfer, only_first=only_first)
        if self._is_hopeless(waiter):
            raise ConnectionLost("the appliance went away")
        for channel in self._idle:
            if self._suits(channel, waiter):
                self._idle.remove(channel)
                return channel
        self._waiting.append(waiter)
        try:
            await waiter.served.wait()
        except BaseException:  # never with a channel in hand: a task that was woken is not cancelled any more
            self._waiting.remove(waiter)
            raise
        if waiter.channel is None:
            raise ConnectionLost("the appliance went away")
        return waiter.channel

    @contextmanager
    def _returned(self, channel: Channel) -> Iterator[Channel]:
        try:
            yield channel
        finally:
            self._give_back(channel)

    def _give_back(self, channel: Channel) -> None:
        if channel.is_lost:
            self._alive.remove(channel)
        else:
            self._idle.insert(int(self._first in self._idle), channel)
        still_waiting = []
        for waiter in self._waiting:
            suiting = (idle for idle in self._idle if self._suits(idle, waiter))
            waiter.channel = next(suiting, None)
            if waiter.channel is not None:
                self._idle.remove(waiter.channel)
            if waiter.channel is not None or self._is_hopeless(waiter):
                waiter.served.set()
            else:
                still_waiting.append(waiter)
        self._waiting = still_waiting
