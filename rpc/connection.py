"""One channel's conversation without its input and output: bytes in, events out; calls in, bytes out.

Each side goes through the phases of one call. ``_RECEIVES`` says which unit may come in which phase (guestfs-protocol
sections 2.6 and 3), ``_advance`` and the sending methods how a phase changes. Any error finishes the connection.
"""

from enum import Enum, auto
from typing import Any, Final

from rpc import constants, framing
from rpc.errno_names import errno_name
from rpc.errors import LocalProtocolError, RemoteProtocolError
from rpc.events import (
    NEED_DATA,
    CancelWord,
    Chunk,
    Event,
    EventOrNeed,
    Header,
    Launch,
    Message,
    Progress,
)
from rpc.procedures import Procedure, Transfer
from rpc.xdr import Writer


class Role(Enum):
    """Which end of the channel this is."""

    CLIENT = auto()
    DAEMON = auto()


class Phase(Enum):
    """Where the conversation stands."""

    STARTING = auto()
    """The launch word is still to come."""
    IDLE = auto()
    CALLED = auto()
    """A call is out and its reply is to come."""
    UPLOADING = auto()
    """FileIn chunks go from client to daemon."""
    DOWNLOADING = auto()
    """FileOut chunks go from daemon to client."""
    FINISHED = auto()
    """The peer or we broke the protocol."""


_L, _M, _C, _P, _X = Launch, Message, Chunk, Progress, CancelWord
_RECEIVES: Final[dict[Role, dict[Phase, frozenset[type[Event]]]]] = {
    Role.CLIENT: {
        Phase.STARTING: frozenset({_L, _P}),
        Phase.IDLE: frozenset({_P, _X}),
        Phase.CALLED: frozenset({_M, _P, _X}),
        Phase.UPLOADING: frozenset({_P, _X}),
        Phase.DOWNLOADING: frozenset({_C, _P}),
        Phase.FINISHED: frozenset(),
    },
    Role.DAEMON: {
        Phase.STARTING: frozenset(),
        Phase.IDLE: frozenset({_M, _X}),
        Phase.CALLED: frozenset({_X}),
        Phase.UPLOADING: frozenset({_C, _X}),
        Phase.DOWNLOADING: frozenset({_X}),
        Phase.FINISHED: frozenset(),
    },
}


class Connection:
    """One side of a conversation.

    Sending methods return the bytes to send and advance the phase. The daemon's side hands calls out undecoded, because
    the order of the checks on them (section 3.6) is the daemon's business; the client's side checks header and serial.
    """

    def __init__(self, role: Role) -> None:
        self.role: Final = role
        self.phase = Phase.STARTING
        self.chunk_max_bytes = constants.CHUNK_MAX_BYTES
        self._buffer = framing.FrameBuffer()
        self._serial = constants.FIRST_SERIAL - 1
        self._procedure: Procedure[Any, Any] | None = None

    def receive_data(self, data: bytes) -> None:
        """Take what arrived on the stream."""
        self._buffer.feed(data)

    def next_event(self) -> EventOrNeed:
        """Return the next event, or NEED_DATA.

        Raises:
            RemoteProtocolError: the bytes are wrong; the connection is finished.
        """
        try:
            unit = self._buffer.next_unit()
            if unit is None:
                return NEED_DATA
            event = self._event(*unit)
            if type(event) not in _RECEIVES[self.role][self.phase]:
                raise RemoteProtocolError(f"{type(event).__name__} came in phase {self.phase.name}")
            self._advance(event)
        except RemoteProtocolError:
            self.phase = Phase.FINISHED
            raise
        return event

    def _event(self, word: int, frame: bytes) -> Event:
        if word == constants.LAUNCH:
            return Launch()
        if word == constants.CANCEL:
            return CancelWord()
        if word == constants.PROGRESS:
            return framing.decode_progress(frame)
        carries_chunks = Phase.DOWNLOADING if self.role is Role.CLIENT else Phase.UPLOADING
        if self.phase is carries_chunks:
            return framing.decode_chunk(frame, self.chunk_max_bytes)
        return framing.decode_message(frame)

    def _advance(self, event: Event) -> None:
        if isinstance(event, Launch):
            self.phase = Phase.IDLE
        elif isinstance(event, Message):
            self.phase = self._after_reply(event.header) if self.role is Role.CLIENT else Phase.CALLED
        elif isinstance(event, Chunk) and event.is_last:
            self.phase = Phase.IDLE if self.role is Role.CLIENT else Phase.CALLED

    def _after_reply(self, header: Header) -> Phase:
        procedure = self._procedure
        if procedure is None:
            raise RemoteProtocolError("a reply came without a call")
        expected = Header.reply(procedure.number, self._serial, header.status)
        if (header.prog, header.vers, header.proc, header.direction, header.serial) != expected[:5]:
            raise RemoteProtocolError(f"the reply to {procedure.name} has the wrong header {header}")
        streams = procedure.transfer is Transfer.FILE_OUT and header.status == constants.STATUS_OK
        return Phase.DOWNLOADING if streams else Phase.IDLE

    def send_launch(self) -> bytes:
        """Say that the daemon is ready."""
        self._require(Role.DAEMON, Phase.STARTING)
        self.phase = Phase.IDLE
        return framing.LAUNCH_WORD

    def send_call(self, procedure: Procedure[Any, Any], args: Any, size_hint_bytes: int = 0) -> bytes:
        """Start a call."""
        self._require(Role.CLIENT, Phase.IDLE)
        writer = Writer()
        procedure.args_codec.encode(writer, args)
        bitmask = 0
        for bit, name in enumerate(procedure.optargs):
            if getattr(args, name) is not None:
                bitmask |= 1 << bit
        serial = (self._serial + 1) & 0xFFFFFFFF
        header = Header.call(procedure.number, serial, size_hint_bytes, bitmask)
        message = framing.encode_message(header, writer.getvalue())
        self._serial, self._procedure = serial, procedure
        self.phase = Phase.UPLOADING if procedure.transfer is Transfer.FILE_IN else Phase.CALLED
        return message

    def begin_upload(self) -> None:
        """Expect FileIn chunks: the call just received announces them."""
        self._require(Role.DAEMON, Phase.CALLED)
        self.phase = Phase.UPLOADING

    def send_chunk(self, data: bytes | memoryview) -> bytes:
        """Send a piece of a file."""
        self._require_sending_chunks()
        if not 0 < len(data) <= self.chunk_max_bytes:
            raise LocalProtocolError(f"a chunk of {len(data)} bytes; 1 to {self.chunk_max_bytes} are allowed")
        return framing.encode_chunk(data)

    def send_end(self, *, cancelled: bool = False) -> bytes:
        """End the chunks: the file is complete, or the transfer is given up."""
        self._require_sending_chunks()
        self.phase = Phase.CALLED if self.role is Role.CLIENT else Phase.IDLE
        return framing.CANCEL_CHUNK if cancelled else framing.END_CHUNK

    def send_cancel_word(self) -> bytes:
        """Ask the peer to stop its chunks."""
        receiving = Phase.DOWNLOADING if self.role is Role.CLIENT else Phase.UPLOADING
        self._require(self.role, receiving)
        return framing.CANCEL_WORD

    def send_reply(self, header: Header, body: bytes, *, streams: bool = False) -> bytes:
        """Answer a call; ``streams`` if FileOut chunks follow. A body that is too long raises LocalProtocolError."""
        self._require(Role.DAEMON, Phase.CALLED)
        message = framing.encode_message(Header.reply(header.proc, header.serial, constants.STATUS_OK), body)
        self.phase = Phase.DOWNLOADING if streams else Phase.IDLE
        return message

    def send_error(self, proc: int, serial: int, errno: int, text: str) -> bytes:
        """Answer a call with an error; text beyond the protocol's limit is cut."""
        self._require(Role.DAEMON, Phase.CALLED)
        writer = Writer()
        writer.string(errno_name(errno))
        writer.opaque(text.encode("utf-8", "surrogateescape")[: constants.ERROR_MESSAGE_MAX_BYTES])
        self.phase = Phase.IDLE
        return framing.encode_message(Header.reply(proc, serial, constants.STATUS_ERROR), writer.getvalue())

    def _require(self, role: Role, phase: Phase) -> None:
        if self.role is not role or self.phase is not phase:
            raise LocalProtocolError(f"{self.role.name} cannot do this in phase {self.phase.name}")

    def _require_sending_chunks(self) -> None:
        self._require(self.role, Phase.UPLOADING if self.role is Role.CLIENT else Phase.DOWNLOADING)
