"""Serve one channel: read calls, check them in the protocol's order, run their handlers, answer."""

import os
import select
import time
from functools import cache
from typing import Any, Final

from daemon.registry import HANDLERS, Handler
from daemon.session import CallError, FileRange, Piece, Pieces, Session
from daemon.splice import Splicer
from daemon.validate import Validator
from rpc import constants
from rpc.connection import Connection, Phase, Role
from rpc.errors import LocalProtocolError, RemoteProtocolError
from rpc.events import NEED_DATA, CancelWord, Chunk, Event, Header, Message, Progress
from rpc.framing import encode_progress
from rpc.procedures import BY_NUMBER, Transfer
from rpc.xdr import Reader, Writer

_RECEIVE_BYTES: Final = 256 * 1024
_PROGRESS_DELAY_S: Final = 2.0
_PROGRESS_INTERVAL_S: Final = 0.333


class ChannelClosed(Exception):
    """The other end is gone."""


class Server:
    """One channel and its calls, one at a time."""

    def __init__(self, session: Session, receive_fd: int, send_fd: int) -> None:
        self._session = session
        self._receive_fd = receive_fd
        self._send_fd = send_fd
        self._connection = Connection(Role.DAEMON)
        self._poll = select.poll()
        self._poll.register(receive_fd, select.POLLIN)
        self._answered = (0, 0)
        self._progress = ProgressClock()
        self._splicer = Splicer(send_fd)
        session.progress = self._report

    def serve(self) -> None:
        """Send the launch word, then answer calls until the channel is closed or its protocol broken."""
        try:
            self._send(self._connection.send_launch())
            while True:
                event = self._next_event()
                if isinstance(event, Message):
                    self._answer(event)
        except (ChannelClosed, RemoteProtocolError):
            return

    def _answer(self, call: Message) -> None:
        header = call.header
        if header[:2] != (constants.PROGRAM, constants.VERSION) or (header.direction, header.status) != (0, 0):
            self._send_error(*self._answered, CallError("the header is not that of a call of this protocol"))
            return
        self._answered = (header.proc, header.serial)
        self._progress.start()
        row = BY_NUMBER.get(header.proc)
        if row is not None and row.transfer is Transfer.FILE_IN:
            self._connection.begin_upload()
        try:
            handler = HANDLERS.get(header.proc)
            if handler is None:
                raise CallError(f"procedure {header.proc} is not known to this daemon")
            self._run(handler, call)
        except (CallError, OSError, RemoteProtocolError, LocalProtocolError) as exc:
            self._refuse(header, exc)
        except MemoryError:
            self._refuse(header, CallError("the appliance has not enough memory for this call"))

    def _run(self, handler: Handler, call: Message) -> None:
        procedure, function = handler
        header = call.header
        if header.optargs_bitmask >> len(procedure.optargs):
            raise CallError(f"{procedure.name}: unknown optional arguments 0x{header.optargs_bitmask:x}")
        args = procedure.args_codec.decode(Reader(call.body))
        if procedure.optargs:
            args = _without_fillers(args, procedure.optargs, header.optargs_bitmask)
        args = _validator(procedure.number)(self._session, args)
        if procedure.transfer is Transfer.FILE_OUT:
            self._stream(header, function(self._session, args))
            return
        result = function(self._session, args)
        writer = Writer()
        procedure.result.encode(writer, result)
        self._progress.finish(self._report)
        self._send(self._connection.send_reply(header, writer.getvalue()))
        self._connection.chunk_max_bytes = self._session.chunk_max_bytes

    def _stream(self, header: Header, pieces: Pieces) -> None:
        """Send the reply when the first piece is there, then the pieces, looking for a cancel word before each."""
        first = next(pieces, None)
        self._send(self._connection.send_reply(header, b"", streams=True))
        try:
            if first is not None:
                self._send_pieces(first, pieces)
        except (OSError, CallError):
            self._send(self._connection.send_end(cancelled=True))
        else:
            if self._connection.phase is Phase.DOWNLOADING:
                self._progress.finish(self._report)
                self._send(self._connection.send_end())

    def _send_pieces(self, first: Piece, pieces: Pieces) -> None:
        limit = self._connection.chunk_max_bytes
        piece: Piece | None = first
        while piece is not None:
            if isinstance(piece, FileRange):
                goes_on = self._send_range(piece, limit)
            else:
                view = memoryview(piece)
                cut = (view[start : start + limit] for start in range(0, len(view), limit))
                goes_on = all(self._send_unless_cancelled(part) for part in cut)
            if not goes_on:
                self._send(self._connection.send_end(cancelled=True))
                return
            piece = next(pieces, None)

    def _send_unless_cancelled(self, data: memoryview) -> bool:
        if self._cancelled():
            return False
        self._send(self._connection.send_chunk(data))
        return True

    def _send_range(self, part: FileRange, limit: int) -> bool:
        """Send part of a file in chunks, less if it ends earlier; return whether nobody cancelled."""
        descriptor, offset, left = part
        while left:
            if self._cancelled():
                return False
            loaded = self._splicer.load(descriptor, offset, min(left, limit))
            if not loaded:
                break
            self._splicer.send_chunk(loaded)
            offset += loaded
            left -= loaded
        return True

    def _cancelled(self) -> bool:
        """Look, without waiting, for a cancel word."""
        while self._poll.poll(0):
            self._receive()
            if isinstance(self._connection.next_event(), CancelWord):
                return True
        return False

    def _refuse(self, header: Header, exc: Exception) -> None:
        """Answer with an error; the chunks of an upload are cancelled and drained first (section 3.2)."""
        if self._connection.phase is Phase.UPLOADING:
            self._send(self._connection.send_cancel_word())
            while self._connection.phase is Phase.UPLOADING:
                self._next_event()
        self._send_error(header.proc, header.serial, exc)

    def _send_error(self, proc: int, serial: int, exc: Exception) -> None:
        number = (exc.errno or 0) if isinstance(exc, OSError) else 0
        self._send(self._connection.send_error(proc, serial, number, _text(exc)))

    def _report(self, position: int, total: int) -> None:
        if self._progress.is_due():
            self._send(encode_progress(Progress(*self._answered, position, total)))

    def _next_event(self) -> Event | Chunk:
        while (event := self._connection.next_event()) is NEED_DATA:
            self._receive()
        return event  # type: ignore[return-value]

    def _receive(self) -> None:
        data = os.read(self._receive_fd, _RECEIVE_BYTES)
        if not data:
            raise ChannelClosed
        self._connection.receive_data(data)

    def _send(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._send_fd, view) :]
        except OSError as exc:
            raise ChannelClosed from exc


class ProgressClock:
    """When a progress message is due: not in a call's first seconds, then at most so often (section 2.5)."""

    def __init__(self) -> None:
        self._next_s = 0.0
        self._sent = False

    def start(self) -> None:
        """Begin a call."""
        self._next_s = time.monotonic() + _PROGRESS_DELAY_S
        self._sent = False

    def is_due(self) -> bool:
        """Tell whether a message may go out now; if so, it counts as sent."""
        now_s = time.monotonic()
        if now_s < self._next_s:
            return False
        self._next_s = now_s + _PROGRESS_INTERVAL_S
        self._sent = True
        return True

    def finish(self, report: Any) -> None:
        """Report the whole, if anything was reported before."""
        if self._sent:
            self._next_s = 0.0
            report(1, 1)


@cache
def _validator(number: int) -> Validator:
    return Validator(BY_NUMBER[number])


def _without_fillers(args: Any, names: tuple[str, ...], bitmask: int) -> Any:
    """Return the arguments with None for every optional one whose bit is clear."""
    return args._replace(**{name: None for bit, name in enumerate(names) if not bitmask >> bit & 1})


def _text(exc: Exception) -> str:
    if isinstance(exc, OSError) and exc.strerror:
        where = os.fsdecode(exc.filename) if isinstance(exc.filename, str | bytes) else ""
        return f"{where}: {exc.strerror}" if where else exc.strerror
    return str(exc)
