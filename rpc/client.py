"""One channel to the daemon: the trio shell round a client connection."""

import errno
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, NoReturn, TypeVar

import trio

from rpc import constants, framing, procedures
from rpc.connection import Connection, Phase, Role
from rpc.errno_names import errno_number
from rpc.errors import ConnectionLost, ProcedureError, RemoteProtocolError
from rpc.events import CancelWord, Chunk, Event, Launch, Message, NeedData, Progress
from rpc.procedure import Procedure
from rpc.procedures.extensions import HelloArgs
from rpc.types import Hello
from rpc.xdr import Reader

ArgsT = TypeVar("ArgsT")
RetT = TypeVar("RetT")

RECEIVE_BYTES: Final = 128 * 1024
RESYNCHRONISE_S: Final = 60.0
"""How long a cancelled exchange may take to come to its end before the channel is given up."""
_GONE: Final = "the appliance went away"


@asynccontextmanager
async def open_channel(stream: trio.SocketStream) -> AsyncIterator["Channel"]:
    """Own a stream and the channel on it; the stream is closed at the end."""
    async with stream:
        yield Channel(stream)


class Channel:
    """One conversation with the daemon, one call at a time, first come first served.

    Cancellation: an exchange that is cancelled, or broken off by an exception, is read to its end (a transfer is
    cancelled at the daemon) within ``RESYNCHRONISE_S``, so that the channel stays usable; if that fails it is lost.

    Attributes:
        on_progress: called with every progress message.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self.on_progress: Callable[[Progress], None] = lambda _progress: None
        self._socket = stream.socket
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
        """Agree on our extensions and on longer chunks; None if the daemon has none.

        Args:
            chunk_max_bytes: longest chunk wanted, ``CHUNK_MAX_BYTES`` at least.
        """
        args = HelloArgs(constants.EXTENSION_VERSION, chunk_max_bytes)
        try:
            answer = await self.call(procedures.HELLO, args)
        except ProcedureError:
            return None
        if not constants.CHUNK_MAX_BYTES <= answer.chunk_max_bytes <= chunk_max_bytes:
            self._give_up(RemoteProtocolError(f"the daemon wants chunks of {answer.chunk_max_bytes} bytes"))
        self._connection.chunk_max_bytes = answer.chunk_max_bytes
        return answer

    async def call(self, procedure: Procedure[ArgsT, RetT], args: ArgsT) -> RetT:
        """Make a call without file transfer and return its result.

        Raises:
            LocalProtocolError: the arguments do not fit; nothing was sent.
            ProcedureError: the daemon answered with an error.
            ConnectionLost: the appliance went away.
            RemoteProtocolError: the answer is wrong; the channel is lost.
        """
        async with self._turn:
            try:
                await self._begin(procedure, args)
                reply = await self._reply()
            except BaseException:
                await self._resynchronise()
                raise
            return self._result(procedure, reply)

    @asynccontextmanager
    async def download(self, procedure: Procedure[ArgsT, None], args: ArgsT) -> AsyncIterator[AsyncIterator[bytes]]:
        """Make a FileOut call; yields an iterator of the file's pieces, which is of no use outside the context.

        Leaving early cancels the transfer. Raises what ``call`` raises; the iterator raises ProcedureError with EIO if
        the daemon gives the transfer up.
        """
        async with self._turn:
            pieces = _Pieces(procedure, self._next_event)
            try:
                await self._begin(procedure, args)
                self._result(procedure, await self._reply())
                yield pieces
            finally:
                pieces.ended = True
                await self._resynchronise()

    async def upload(
        self, procedure: Procedure[ArgsT, RetT], args: ArgsT, source: AsyncIterator[bytes], size_hint_bytes: int = 0
    ) -> RetT:
        """Make a FileIn call with what ``source`` yields; raises what ``call`` raises.

        If ``source`` raises, the upload is cancelled at the daemon and the error passes on. If the daemon gives up,
        ``source`` is not read to its end; closing it is the caller's business.

        Args:
            procedure: a call with a FileIn parameter.
            args: its arguments.
            source: the file's bytes, in pieces of any size.
            size_hint_bytes: size of the file if it is known, for the daemon's progress messages.
        """
        async with self._turn:
            try:
                await self._begin(procedure, args, size_hint_bytes)
                cancelled = await self._send_chunks(source)
                await self._send(self._connection.send_end(cancelled=cancelled))
                reply = await self._reply()
            except BaseException:
                await self._resynchronise()
                raise
            return self._result(procedure, reply)

    async def _begin(self, procedure: Procedure[ArgsT, Any], args: ArgsT, size_hint_bytes: int = 0) -> None:
        if self._lost is not None:
            raise ConnectionLost(self._lost)
        await self._send(self._connection.send_call(procedure, args, size_hint_bytes))

    async def _send_chunks(self, source: AsyncIterator[bytes]) -> bool:
        """Send a file; True if the daemon's cancel word came meanwhile (section 3.2: look before every chunk)."""
        size_bytes = self._connection.chunk_max_bytes
        async for data in source:
            view = memoryview(data)
            for start in range(0, len(view), size_bytes):
                if self._cancel_word_came():
                    return True
                await self._send(self._connection.send_chunk(view[start : start + size_bytes]))
            await trio.lowlevel.checkpoint()  # a fast daemon must not keep other tasks from running
        return self._cancel_word_came()

    def _cancel_word_came(self) -> bool:
        """Look at what one read brings: a daemon that sends without end is not heard to the end."""
        self._receive_ready()
        while (event := self._ready_event()) is not None:
            if isinstance(event, CancelWord):
                return True
        return False

    async def _reply(self) -> Message:
        while True:
            event = await self._next_event()
            if isinstance(event, Message):
                return event

    def _result(self, procedure: Procedure[Any, RetT], reply: Message) -> RetT:
        try:
            if reply.header.status != constants.STATUS_ERROR:
                return procedure.result.decode(Reader(reply.body))
            name, text = framing.decode_error(reply.body)
        except RemoteProtocolError as exc:
            self._give_up(RemoteProtocolError(f"the reply to {procedure.name}: {exc}"))
        raise ProcedureError(procedure.name, errno_number(name), name, text)

    async def _resynchronise(self) -> None:
        """Bring a broken-off exchange to its end, so that the next call finds the channel idle."""
        connection = self._connection
        try:
            with trio.move_on_after(RESYNCHRONISE_S, shield=True), suppress(ConnectionLost, RemoteProtocolError):
                if connection.phase is Phase.UPLOADING:
                    await self._send(connection.send_end(cancelled=True))
                while connection.phase is Phase.CALLED:
                    await self._next_event()
                if connection.phase is Phase.DOWNLOADING:
                    await self._send(connection.send_cancel_word())
                while connection.phase is Phase.DOWNLOADING:
                    await self._next_event()
        finally:
            if connection.phase is not Phase.IDLE:
                self._lost = self._lost or "the appliance did not end a cancelled call"

    async def _send(self, data: bytes) -> None:
        """Send all. Half a frame cannot be taken back: a send that is cancelled while it waits is finished first."""
        rest = memoryview(data)
        try:
            try:
                while rest := self._send_ready(rest):
                    await trio.lowlevel.wait_writable(self._socket.fileno())
            except trio.Cancelled:
                with trio.move_on_after(RESYNCHRONISE_S, shield=True) as limit:
                    while rest := self._send_ready(rest):
                        await trio.lowlevel.wait_writable(self._socket.fileno())
                if limit.cancelled_caught:
                    self._lost = "the appliance did not take a cancelled call"
                raise
        except (OSError, trio.ClosedResourceError) as exc:
            self._give_up(ConnectionLost(_GONE), exc)

    def _send_ready(self, data: memoryview) -> memoryview:
        """Send what the socket takes without waiting; return the rest."""
        try:
            while data:
                data = data[os.write(self._socket.fileno(), data) :]
        except BlockingIOError:
            pass
        return data

    async def _next_event(self) -> Event:
        while (event := self._ready_event()) is None:
            if self._receive_ready():
                await trio.lowlevel.checkpoint()  # a fast daemon must not keep other tasks from running
            else:
                try:
                    await trio.lowlevel.wait_readable(self._socket.fileno())
                except (OSError, trio.ClosedResourceError) as exc:
                    self._give_up(ConnectionLost(_GONE), exc)
        return event

    def _receive_ready(self) -> bool:
        """Receive what is there without waiting; False if nothing is."""
        if self._lost is not None:
            raise ConnectionLost(self._lost)
        try:
            data = os.read(self._socket.fileno(), RECEIVE_BYTES)
        except BlockingIOError:
            return False
        except OSError as exc:
            self._give_up(ConnectionLost(_GONE), exc)
        if not data:
            self._give_up(ConnectionLost(_GONE))
        self._connection.receive_data(data)
        return True

    def _ready_event(self) -> Event | None:
        """Return the next event that is already here; progress is passed on, and is still returned."""
        try:
            event = self._connection.next_event()
        except RemoteProtocolError as exc:
            self._give_up(exc)
        if isinstance(event, NeedData):
            return None
        if isinstance(event, Progress):
            self.on_progress(event)
        return event

    def _give_up(self, error: ConnectionLost | RemoteProtocolError, cause: BaseException | None = None) -> NoReturn:
        self._lost = self._lost or str(error)
        raise error from cause


class _Pieces:
    """The data of one FileOut transfer."""

    def __init__(self, procedure: Procedure[Any, None], next_event: Callable[[], Any]) -> None:
        self._procedure = procedure
        self._next_event = next_event
        self.ended = False

    def __aiter__(self) -> "_Pieces":
        return self

    async def __anext__(self) -> bytes:
        if self.ended:
            raise StopAsyncIteration
        while not isinstance(event := await self._next_event(), Chunk):
            pass
        if event.is_last:
            self.ended = True
            if event.cancelled:
                raise ProcedureError(self._procedure.name, errno.EIO, "EIO", "the daemon gave the transfer up")
            raise StopAsyncIteration
        return event.data
