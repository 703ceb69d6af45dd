"""Serve one channel: read calls, check them in the protocol's order, run their handlers, answer."""

import os
import sys
import time
from collections.abc import Iterator
from errno import EINVAL
from itertools import islice
from typing import Final

from daemon.channel import WRITE_MAX_BYTES, Channel, ChannelClosed
from daemon.handlers import handler_of
from daemon.progress import ProgressClock
from daemon.registry import HANDLERS
from daemon.replies import error_reply
from daemon.session import CallError, FileRange, Pieces, Session
from daemon.validate import Validator
from rpc import constants
from rpc.connection import Connection, Phase, Role
from rpc.errors import RemoteProtocolError
from rpc.events import CancelWord, Chunk, Event, EventOrNeed, Header, Message, NeedData, Progress
from rpc.framing import encode_progress
from rpc.procedure import Transfer

_UPLOADS: Final = frozenset((66, 69, 71, 229, 241, 242, 273, 309, 397, 413, 472))
"""Calls with a FileIn parameter, known to us or not (section 5.7): chunks follow them."""

_VALIDATORS: Final[dict[int, Validator]] = {}
_PATIENCE: Final = 4
"""Pieces of nothing that are waited for before the reply to a FileOut call: after it there are no error texts."""


class Server:
    """One channel and its calls, one at a time.

    Args:
        session: what the calls share.
        channel: where they come from.
        verbose: write a line about each call to standard error.
    """

    def __init__(self, session: Session, channel: Channel, *, verbose: bool = False) -> None:
        self._session = session
        self._channel = channel
        self._verbose = verbose
        self._connection = Connection(Role.DAEMON)
        self._answered = (0, 0)
        self._progress = ProgressClock(self._send_progress)
        session.progress = self._progress.report

    def serve(self) -> None:
        """Send the launch word, then answer calls until the channel is closed or its protocol broken."""
        try:
            self._channel.greet(self._connection.send_launch())
            while True:
                event = self._next_event()
                if isinstance(event, Message):
                    self._answer(event)
        except ChannelClosed:
            return

    def _answer(self, call: Message) -> None:
        header = call.header
        if header[:2] != (constants.PROGRAM, constants.VERSION) or (header.direction, header.status) != (0, 0):
            self._send_error(*self._answered, CallError("the header is not that of a call of this protocol"))
            return
        self._answered = (header.proc, header.serial)
        self._progress.start()
        start_s = time.monotonic()
        outcome = "ok"
        if header.proc in _UPLOADS:
            self._connection.begin_upload()
        try:
            self._run(call)
        except ChannelClosed:
            raise
        except Exception as exc:
            outcome = repr(exc)
            self._refuse(header, exc)
        if self._verbose:
            name = HANDLERS[header.proc].procedure.name if header.proc in HANDLERS else header.proc
            sys.stderr.write(f"guestfsd: {name} {(time.monotonic() - start_s) * 1000:.2f} ms {outcome}\n")

    def _run(self, call: Message) -> None:
        header = call.header
        handler = handler_of(header.proc)
        if handler is None:
            raise CallError(f"procedure {header.proc} is not known to this daemon")
        procedure, function = handler
        validator = _VALIDATORS.get(header.proc)
        if validator is None:
            validator = _VALIDATORS[header.proc] = Validator(procedure)
        args = validator(self._session, call)
        if procedure.transfer is Transfer.FILE_OUT:
            self._stream(header, function(self._session, args))
            return
        if procedure.transfer is Transfer.FILE_IN:
            chunks = self._chunks(header)
            result = function(self._session, args, chunks)
            for _ in chunks:
                pass  # whatever stands behind the end of an archive
        else:
            result = function(self._session, args)
        reply = self._connection.send_result(header, procedure, result)
        self._progress.finish()
        self._channel.send(reply)
        self._connection.chunk_max_bytes = self._session.chunk_max_bytes

    def _chunks(self, header: Header) -> Iterator[bytes]:
        """Yield the pieces of an upload to its end; CallError if the sender gives up (section 3.1)."""
        position = 0
        while self._connection.phase is Phase.UPLOADING:
            event = self._next_event()
            if not isinstance(event, Chunk):
                continue
            if event.cancelled:
                raise CallError("the sender cancelled the transfer")
            if event.data:
                yield event.data
                position += len(event.data)
                if header.progress_hint:
                    self._progress.report(position, header.progress_hint)

    def _stream(self, header: Header, pieces: Pieces) -> None:
        """Send the reply when the first piece is there, then the pieces; exactly one chunk ends them."""
        first = next((piece for piece in islice(pieces, _PATIENCE) if piece), b"")
        self._channel.hold(self._connection.send_reply(header, b"", streams=True))
        try:
            complete = self._send_piece(first) and all(self._send_piece(piece) for piece in pieces)
        except ChannelClosed:
            raise
        except Exception as exc:
            complete = False
            sys.stderr.write(f"guestfsd: a transfer is given up: {error_reply(exc)[1]}\n")
        finally:
            pieces.close()
        if complete:
            self._progress.finish()
        self._channel.send(self._connection.send_end(cancelled=not complete))

    def _send_piece(self, piece: bytes | FileRange) -> bool:
        """Send a piece in chunks; False if the cancel word came."""
        if isinstance(piece, FileRange):
            return self._send_file(piece)
        if not piece:
            self._progress.report(0, 1)
            return not self._cancelled()
        limit = self._session.chunk_max_bytes
        for start in range(0, len(piece), limit):
            if self._cancelled():
                return False
            self._channel.hold(self._connection.send_chunk(piece[start : start + limit]))
        return True

    def _send_file(self, piece: FileRange) -> bool:
        """Send part of a file in chunks; False if the cancel word came."""
        file, offset, size_bytes = piece
        position = 0
        while position < size_bytes:
            if self._cancelled():
                return False
            limit = min(self._session.chunk_max_bytes, size_bytes - position)
            sent_bytes = self._send_chunk_of_file(file, offset + position, limit)
            if not sent_bytes:
                break
            position += sent_bytes
            self._progress.report(position, size_bytes)
        return True

    def _send_chunk_of_file(self, file: int, offset: int, max_bytes: int) -> int:
        """Send one chunk; return its length in bytes, 0 at the end of the file."""
        if max_bytes > WRITE_MAX_BYTES:
            try:
                return self._channel.send_chunk_of_file(file, offset, max_bytes)
            except OSError as exc:
                if exc.errno != EINVAL:
                    raise
        data = os.pread(file, max_bytes, offset)
        if data:
            self._channel.hold(self._connection.send_chunk(data))
        return len(data)

    def _cancelled(self) -> bool:
        """Look, without waiting, for a cancel word."""
        while self._channel.is_readable():
            self._connection.receive_data(self._channel.receive())
            if isinstance(self._ready_event(), CancelWord):
                return True
        return False

    def _refuse(self, header: Header, exc: Exception) -> None:
        """Answer with an error; the chunks of an upload are cancelled and drained first (section 3.2)."""
        if self._connection.phase is Phase.UPLOADING:
            self._channel.send(self._connection.send_cancel_word())
            while self._connection.phase is Phase.UPLOADING:
                self._next_event()
        self._send_error(header.proc, header.serial, exc)

    def _send_error(self, proc: int, serial: int, exc: Exception) -> None:
        self._channel.send(self._connection.send_error(proc, serial, *error_reply(exc)))

    def _send_progress(self, position: int, total: int) -> None:
        self._channel.send(encode_progress(Progress(*self._answered, position, total)))

    def _next_event(self) -> Event:
        while isinstance(event := self._ready_event(), NeedData):
            self._connection.receive_data(self._channel.receive())
        return event

    def _ready_event(self) -> EventOrNeed:
        """Return the next event that has arrived; after a breach of the protocol the channel counts as closed."""
        try:
            return self._connection.next_event()
        except RemoteProtocolError as exc:
            sys.stderr.write(f"guestfsd: the host broke the protocol: {exc}\n")
            raise ChannelClosed from exc
