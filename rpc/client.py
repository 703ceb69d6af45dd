"""One channel to the daemon: the trio shell round a client connection."""

import select
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import trio

from rpc import constants, procedures
from rpc.arguments import HelloArgs
from rpc.connection import Connection, Phase, Role
from rpc.errno_names import errno_number
from rpc.errors import ConnectionLost, ProcedureError, RemoteProtocolError
from rpc.events import NEED_DATA, CancelWord, Chunk, Event, Launch, Message, Progress
from rpc.procedures import Procedure
from rpc.types import Hello
from rpc.xdr import Reader

ArgsT = TypeVar("ArgsT")
RetT = TypeVar("RetT")

RECEIVE_BYTES: Final = 256 * 1024
RESYNCHRONISE_S: Final = 10.0
"""How long a cancelled exchange may take to come to its end before the channel is given up."""


@asynccontextmanager
async def open_channel(stream: trio.SocketStream) -> AsyncIterator["Channel"]:
    """Own a stream and the channel on it; the stream is closed at the end."""
    async with stream:
        yield Channel(stream)


class Channel:
    """One conversation with the daemon, one call at a time, first come first served.

    Cancellation: an exchange that is cancelled is read to its end (a transfer is cancelled at the daemon) within
    ``RESYNCHRONISE_S``, so that the channel stays usable; if that fails the channel is lost.

    Attributes:
        on_progress: called with every progress message.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self.on_progress: Callable[[Progress], None] = lambda _progress: None
        self._stream = stream
        self._connection = Connection(Role.CLIENT)
        self._turn = trio.Lock()
        self._lost: str | None = None

    @property
    def is_lost(self) -> bool:
        """Tell whether every further call will raise ConnectionLost."""
        return self._lost is not None

    async def wait_launch(self) -> None:
        """Wait for the daemon's launch word.

        Raises:
            ConnectionLost: the stream ended first.
            RemoteProtocolError: something else came.
        """
        while not isinstance(await self._next_event(), Launch):
            pass

    async def hello(self, chunk_max_bytes: int = constants.EXTENDED_CHUNK_MAX_BYTES) -> Hello | None:
        """Agree on our extensions; None if the daemon has none."""
        args = HelloArgs(constants.EXTENSION_VERSION, chunk_max_bytes)
        try:
            answer = await self.call(procedures.HELLO, args)
        except ProcedureError:
            return None
        if not constants.CHUNK_MAX_BYTES <= answer.chunk_max_bytes <= chunk_max_bytes:
            raise self._give_up(RemoteProtocolError(f"the daemon wants chunks of {answer.chunk_max_bytes} bytes"))
        self._connection.chunk_max_bytes = answer.chunk_max_bytes
        return answer

    async def call(self, procedure: Procedure[ArgsT, RetT], args: ArgsT) -> RetT:
        """Make a call without file transfer and return its result.

        Raises:
            ProcedureError: the daemon answered with an error.
            ConnectionLost: the appliance went away.
            RemoteProtocolError: the answer is wrong; the channel is lost.
        """
        async with self._turn:
            await self._send(self._connection.send_call(procedure, args))
            try:
                reply = await self._reply()
            except trio.Cancelled:
                await self._resynchronise()
                raise
            return self._result(procedure, reply)

    @asynccontextmanager
    async def download(self, procedure: Procedure[ArgsT, None], args: ArgsT) -> AsyncIterator[AsyncIterator[bytes]]:
        """Make a FileOut call; yields an iterator of the file's pieces.

        Leaving early cancels the transfer. Raises what ``call`` raises; RemoteProtocolError from the iterator, with the
        channel intact, if the daemon gives the transfer up.
        """
        async with self._turn:
            await self._send(self._connection.send_call(procedure, args))
            try:
                self._result(procedure, await self._reply())
                yield self._pieces(procedure)
            finally:
                if self._connection.phase is not Phase.IDLE and not self.is_lost:
                    await self._resynchronise()

    async def upload(
        self, procedure: Procedure[ArgsT, RetT], args: ArgsT, source: AsyncIterator[bytes], size_hint_bytes: int = 0
    ) -> RetT:
        """Make a FileIn call with what ``source`` yields; raises what ``call`` raises.

        If ``source`` raises, the upload is cancelled at the daemon and the error passes on.
        """
        async with self._turn:
            await self._send(self._connection.send_call(procedure, args, size_hint_bytes))
            try:
                reply = await self._upload(source)
            except BaseException:
                if not self.is_lost:
                    await self._resynchronise()
                raise
            return self._result(procedure, reply)

    async def _upload(self, source: AsyncIterator[bytes]) -> Message:
        connection = self._connection
        async for data in source:
            view = memoryview(data)
            for start in range(0, len(view), connection.chunk_max_bytes):
                if await self._rejected():
                    await self._send(connection.send_end(cancelled=True))
                    return await self._reply()
                await self._send(connection.send_chunk(view[start : start + connection.chunk_max_bytes]))
        await self._send(connection.send_end(cancelled=await self._rejected()))
        return await self._reply()

    async def _rejected(self) -> bool:
        """Look, without waiting, for the daemon's cancel word (section 3.2)."""
        poll = select.poll()
        poll.register(self._stream.socket.fileno(), select.POLLIN)
        while poll.poll(0):
            await self._receive()
        while (event := self._checked_event()) is not None:
            if isinstance(event, CancelWord):
                return True
        return False

    async def _pieces(self, procedure: Procedure[Any, Any]) -> AsyncIterator[bytes]:
        while True:
            event = await self._next_event()
            if isinstance(event, Chunk):
                if event.cancelled:
                    raise RemoteProtocolError(f"{procedure.name}: the daemon gave the transfer up")
                if event.is_last:
                    return
                yield event.data

    async def _reply(self) -> Message:
        while True:
            event = await self._next_event()
            if isinstance(event, Message):
                return event

    async def _resynchronise(self) -> None:
        """Bring a broken-off exchange to its end, so that the next call finds the channel idle."""
        with trio.move_on_after(RESYNCHRONISE_S, shield=True):
            connection = self._connection
            if connection.phase is Phase.UPLOADING:
                await self._send(connection.send_end(cancelled=True))
            elif connection.phase is Phase.DOWNLOADING:
                await self._send(connection.send_cancel_word())
            while connection.phase is not Phase.IDLE:
                await self._next_event()
                if connection.phase is Phase.DOWNLOADING:  # the call was cancelled before its reply was here
                    await self._send(connection.send_cancel_word())
            return
        self._lost = "the appliance did not end a cancelled transfer"

    def _result(self, procedure: Procedure[Any, RetT], reply: Message) -> RetT:
        reader = Reader(reply.body)
        try:
            if reply.header.status != constants.STATUS_ERROR:
                return procedure.result.decode(reader)
            name, text = reader.string(), reader.string()
        except RemoteProtocolError as exc:
            raise self._give_up(exc) from exc
        raise ProcedureError(procedure.name, errno_number(name), name, text[: constants.ERROR_MESSAGE_MAX_BYTES])

    async def _send(self, data: bytes) -> None:
        """Send all or lose the channel: half a frame can not be taken back."""
        if self._lost is not None:
            raise ConnectionLost(self._lost)
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise self._give_up(ConnectionLost("the appliance went away")) from exc
        except trio.Cancelled:
            self._lost = "a call was cancelled while it was being sent"
            raise

    async def _next_event(self) -> Event:
        while (event := self._checked_event()) is None:
            await self._receive()
        return event

    async def _receive(self) -> None:
        if self._lost is not None:
            raise ConnectionLost(self._lost)
        try:
            data = await self._stream.receive_some(RECEIVE_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise self._give_up(ConnectionLost("the appliance went away")) from exc
        if not data:
            raise self._give_up(ConnectionLost("the appliance went away"))
        self._connection.receive_data(bytes(data))

    def _checked_event(self) -> Event | None:
        """Return the next event that is already here; progress is passed on, and is still returned."""
        try:
            event = self._connection.next_event()
        except RemoteProtocolError as exc:
            raise self._give_up(exc) from exc
        if event is NEED_DATA:
            return None
        if isinstance(event, Progress):
            self.on_progress(event)
        return event  # type: ignore[return-value]

    def _give_up(self, error: ConnectionLost | RemoteProtocolError) -> ConnectionLost | RemoteProtocolError:
        self._lost = str(error)
        return error
