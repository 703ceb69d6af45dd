"""Channels whose calls and progress are told to whoever subscribed."""

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final, TypeVar

from guestmount_py.events import CallEnded, CallStarted, Events, Progress
from rpc import events as wire
from rpc import procedures
from rpc.client import Channel
from rpc.errors import ConnectionLost
from rpc.pool import ChannelPool
from rpc.procedure import Procedure

ArgsT = TypeVar("ArgsT")
RetT = TypeVar("RetT")

_KEPT_BY_EACH: Final = frozenset({"umask"})
SECRETS: Final = frozenset({"key", "newkey"})
"""Names of the arguments that libguestfs's list has as keys."""


class ObservedPool(ChannelPool):
    """Emit ``CallStarted``, ``CallEnded`` and ``Progress``."""

    def __init__(self, channels: Sequence[Channel], events: Events) -> None:
        super().__init__(channels)
        self._channels = tuple(channels)
        self._events = events
        for channel in channels:
            channel.on_progress = progress_sink(events)

    async def call(self, procedure: Procedure[ArgsT, RetT], args: ArgsT) -> RetT:
        """Make a call, traced; one that changes what each daemon process keeps for itself is made on all channels."""
        with self._traced(procedure, args):
            if procedure.name not in _KEPT_BY_EACH:
                return await super().call(procedure, args)
            return await self._call_all(procedure, args)

    async def call_first(self, procedure: Procedure[ArgsT, RetT], args: ArgsT) -> RetT:
        """Make a call on the first channel, traced."""
        with self._traced(procedure, args):
            return await super().call_first(procedure, args)

    async def _call_all(self, procedure: Procedure[ArgsT, RetT], args: ArgsT) -> RetT:
        """Make a call on every channel that is there; one that is lost meanwhile does not keep it from the others."""
        results = []
        for channel in self._channels:
            with suppress(ConnectionLost):
                results.append(await channel.call(procedure, args))
        if not results:
            raise ConnectionLost("the appliance went away")
        return results[0]

    @asynccontextmanager
    async def download(self, procedure: Procedure[ArgsT, None], args: ArgsT) -> AsyncIterator[AsyncIterator[bytes]]:
        """Make a FileOut call, traced."""
        with self._traced(procedure, args):
            async with super().download(procedure, args) as pieces:
                yield pieces

    async def upload(
        self, procedure: Procedure[ArgsT, RetT], args: ArgsT, source: AsyncIterator[bytes], size_hint_bytes: int = 0
    ) -> RetT:
        """Make a FileIn call, traced."""
        with self._traced(procedure, args):
            return await super().upload(procedure, args, source, size_hint_bytes)

    @contextmanager
    def _traced(self, procedure: Procedure[Any, Any], args: Any) -> Iterator[None]:
        if self._events.wanted(CallStarted):
            self._events.emit(CallStarted(procedure.name, _shown(args)))
        start_s = time.perf_counter()
        try:
            yield
        except BaseException as exc:
            self._events.emit(CallEnded(procedure.name, exc, time.perf_counter() - start_s))
            raise
        self._events.emit(CallEnded(procedure.name, None, time.perf_counter() - start_s))


def _shown(args: Any) -> Any:
    """Return arguments for everybody's eyes."""
    return args._replace(**dict.fromkeys(SECRETS.intersection(args._fields), "***"))


def progress_sink(events: Events) -> Callable[[wire.Progress], None]:
    """Return what takes one channel's progress. Once a callback has failed a call, it hears no more of that call."""
    failed_serial = -1

    def sink(progress: wire.Progress) -> None:
        nonlocal failed_serial
        if progress.serial == failed_serial or not events.wanted(Progress):
            return
        row = procedures.BY_NUMBER.get(progress.proc)
        try:
            events.emit(Progress(row.name if row else f"procedure {progress.proc}", progress.position, progress.total))
        except BaseException:
            failed_serial = progress.serial
            raise

    return sink
