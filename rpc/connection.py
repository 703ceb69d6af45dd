"""One channel's conversation without its input and output: bytes in, events out; calls in, bytes out.

Each end goes through the phases of one call. ``_TRANSITIONS``, the same for both ends, says which signal either end may
send in which phase, and the phase after it (guestfs-protocol sections 2.6, 3.1 to 3.5). What we send against it is a
LocalProtocolError; what the peer sends against it is a RemoteProtocolError and finishes the connection.
"""

from enum import Enum, auto
from typing import Any, Final

from rpc import constants, framing
from rpc.errno_names import errno_name
from rpc.errors import LocalProtocolError, RemoteProtocolError
from rpc.events import NEED_DATA, CancelWord, Event, EventOrNeed, Header, Launch
from rpc.procedure import Procedure, Transfer
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
    """A call is out, its file if any is complete, and its reply is to come."""
    UPLOADING = auto()
    """FileIn chunks go from client to daemon."""
    DOWNLOADING = auto()
    """FileOut chunks go from daemon to client."""
    FINISHED = auto()
    """The peer broke the protocol."""


class Signal(Enum):
    """What an end sends, as far as it matters to the phase."""

    LAUNCH = auto()
    CALL = auto()
    UPLOAD_CALL = auto()
    """A FileIn call. The daemon takes it for CALL until it has looked at the procedure, see ``begin_upload``."""
    REPLY = auto()
    STREAM_REPLY = auto()
    """The ok reply to a FileOut call."""
    CHUNK = auto()
    END = auto()
    """An end chunk or a cancel chunk."""
    CANCEL = auto()
    PROGRESS = auto()


_C, _D = Role.CLIENT, Role.DAEMON
_TRANSITIONS: Final[dict[Phase, dict[tuple[Role, Signal], Phase]]] = {
    Phase.STARTING: {
        (_D, Signal.PROGRESS): Phase.STARTING,
        (_D, Signal.LAUNCH): Phase.IDLE,
    },
    Phase.IDLE: {
        (_C, Signal.CALL): Phase.CALLED,
        (_C, Signal.UPLOAD_CALL): Phase.UPLOADING,
        (_C, Signal.CANCEL): Phase.IDLE,  # crossed with the end chunk
        (_D, Signal.CANCEL): Phase.IDLE,
        (_D, Signal.PROGRESS): Phase.IDLE,
    },
    Phase.CALLED: {
        (_D, Signal.REPLY): Phase.IDLE,
        (_D, Signal.STREAM_REPLY): Phase.DOWNLOADING,
        (_D, Signal.PROGRESS): Phase.CALLED,
        (_D, Signal.CANCEL): Phase.CALLED,  # crossed with the end chunk
        (_C, Signal.CANCEL): Phase.CALLED,
    },
    Phase.UPLOADING: {
        (_C, Signal.CHUNK): Phase.UPLOADING,
        (_C, Signal.END): Phase.CALLED,
        (_C, Signal.CANCEL): Phase.UPLOADING,  # skipped, see capture 051
        (_D, Signal.CANCEL): Phase.UPLOADING,
        (_D, Signal.PROGRESS): Phase.UPLOADING,
    },
    Phase.DOWNLOADING: {
        (_D, Signal.CHUNK): Phase.DOWNLOADING,
        (_D, Signal.END): Phase.IDLE,
        (_D, Signal.PROGRESS): Phase.DOWNLOADING,
        (_C, Signal.CANCEL): Phase.DOWNLOADING,
    },
    Phase.FINISHED: {},
}
_CHUNKS_COME: Final = {Role.CLIENT: Phase.DOWNLOADING, Role.DAEMON: Phase.UPLOADING}


class Connection:
    """One end of a conversation.

    Sending methods return the bytes to send and advance the phase. The daemon's end hands calls out undecoded, because
    the order of the checks on them (section 3.6) is the daemon's business; the client's end checks header and serial
    of replies, and is stricter than libguestfs: a reply to another call finishes the connection.

    Attributes:
        chunk_max_bytes: longest chunk that either end may send; ``hello`` can raise it.
    """

    def __init__(self, role: Role) -> None:
        self.role: Final = role
        self.phase = Phase.STARTING
        self.chunk_max_bytes = constants.CHUNK_MAX_BYTES
        self._peer: Final = Role.DAEMON if role is Role.CLIENT else Role.CLIENT
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
        if self.phase is Phase.FINISHED:
            raise RemoteProtocolError("the connection is finished")
        try:
            unit = self._buffer.next_unit()
            if unit is None:
                return NEED_DATA
            event, signal = self._event(*unit)
            phase = _TRANSITIONS[self.phase].get((self._peer, signal))
            if phase is None:
                raise RemoteProtocolError(f"the {self._peer.name.lower()} sent {signal.name} in {self.phase.name}")
        except RemoteProtocolError:
            self.phase = Phase.FINISHED
            raise
        self.phase = phase
        return event

    def _event(self, word: int, frame: memoryview) -> tuple[Event, Signal]:
        if word == constants.LAUNCH:
            return Launch(), Signal.LAUNCH
        if word == constants.CANCEL:
            return CancelWord(), Signal.CANCEL
        if word == constants.PROGRESS:
            return framing.decode_progress(frame), Signal.PROGRESS
        if self.phase is _CHUNKS_COME[self.role]:
            chunk = framing.decode_chunk(frame, self.chunk_max_bytes)
            return chunk, Signal.END if chunk.is_last else Signal.CHUNK
        message = framing.decode_message(frame)
        return message, Signal.CALL if self.role is Role.DAEMON else self._reply_signal(message.header)

    def _reply_signal(self, header: Header) -> Signal:
        procedure = self._procedure
        if procedure is None:
            raise RemoteProtocolError("a reply came without a call")
        expected = Header.reply(procedure.number, self._serial, header.status)
        if header[:5] != expected[:5]:
            raise RemoteProtocolError(f"the reply to {procedure.name} has the wrong header {header}")
        streams = procedure.transfer is Transfer.FILE_OUT and header.status != constants.STATUS_ERROR
        return Signal.STREAM_REPLY if streams else Signal.REPLY

    def send_launch(self) -> bytes:
        """Say that the daemon is ready."""
        self._advance(Signal.LAUNCH)
        return framing.LAUNCH_WORD

    def send_call(self, procedure: Procedure[Any, Any], args: Any, size_hint_bytes: int = 0) -> bytes:
        """Start a call. Arguments that do not fit raise LocalProtocolError and leave the connection as it was."""
        writer = Writer()
        procedure.args_codec.encode(writer, args)
        bitmask = sum(1 << bit for bit, name in enumerate(procedure.optargs) if getattr(args, name) is not None)
        serial = (self._serial + 1) & 0xFFFFFFFF
        header = Header.call(procedure.number, serial, size_hint_bytes, bitmask)
        message = framing.encode_message(header, writer.parts())
        self._advance(Signal.UPLOAD_CALL if procedure.transfer is Transfer.FILE_IN else Signal.CALL)
        self._serial, self._procedure = serial, procedure
        return message

    def begin_upload(self) -> None:
        """Expect FileIn chunks: the call just received announces them."""
        if self.role is not Role.DAEMON or self.phase is not Phase.CALLED:
            raise LocalProtocolError(f"no upload can begin in phase {self.phase.name}")
        self.phase = Phase.UPLOADING

    def send_chunk(self, data: bytes | memoryview) -> bytes:
        """Send a piece of a file."""
        if not 0 < len(data) <= self.chunk_max_bytes:
            raise LocalProtocolError(f"a chunk of {len(data)} bytes; 1 to {self.chunk_max_bytes} are allowed")
        self._advance(Signal.CHUNK)
        return framing.encode_chunk(data)

    def send_end(self, *, cancelled: bool = False) -> bytes:
        """End the chunks: the file is complete, or the transfer is given up."""
        self._advance(Signal.END)
        return framing.CANCEL_CHUNK if cancelled else framing.END_CHUNK

    def send_cancel_word(self) -> bytes:
        """Ask the peer to stop its chunks."""
        if self.phase is not _CHUNKS_COME[self.role]:
            raise LocalProtocolError(f"there is nothing to cancel in phase {self.phase.name}")
        self._advance(Signal.CANCEL)
        return framing.CANCEL_WORD

    def send_reply(self, header: Header, body: bytes, *, streams: bool = False) -> bytes:
        """Answer a call; ``streams`` if FileOut chunks follow. A body that is too long raises LocalProtocolError."""
        return self._reply(header, [body], Signal.STREAM_REPLY if streams else Signal.REPLY)

    def send_result(self, header: Header, procedure: Procedure[Any, Any], result: Any) -> bytes:
        """Answer a call with its result. One that does not fit raises LocalProtocolError; then an error can be sent."""
        writer = Writer()
        procedure.result.encode(writer, result)
        return self._reply(header, writer.parts(), Signal.REPLY)

    def send_error(self, proc: int, serial: int, errno: int, text: str) -> bytes:
        """Answer a call with an error; text beyond the protocol's limit is cut."""
        self._advance(Signal.REPLY)
        header = Header.reply(proc, serial, constants.STATUS_ERROR)
        return framing.encode_message(header, framing.encode_error(errno_name(errno), text))

    def _reply(self, call: Header, parts: list[bytes | bytearray | memoryview], signal: Signal) -> bytes:
        message = framing.encode_message(Header.reply(call.proc, call.serial, constants.STATUS_OK), parts)
        self._advance(signal)
        return message

    def _advance(self, signal: Signal) -> None:
        """Go on to the phase after a signal of ours."""
        phase = _TRANSITIONS[self.phase].get((self.role, signal))
        if phase is None:
            raise LocalProtocolError(f"the {self.role.name.lower()} cannot send {signal.name} in {self.phase.name}")
        self.phase = phase
