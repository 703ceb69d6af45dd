"""Units on the byte stream (guestfs-protocol section 2.1): flag words, messages, chunks; bytes in, units out.

Whether ``n`` bytes behind a length word are a message or a chunk is not marked; only the state of the call tells.
"""

import struct
from collections.abc import Sequence
from typing import Final

from rpc import constants
from rpc.errors import LocalProtocolError, RemoteProtocolError
from rpc.events import Chunk, Header, Message, Progress
from rpc.xdr import PADDING, Reader, Writer

_WORD: Final = struct.Struct(">I")
_HEADER: Final = struct.Struct(">IIiiIQQi")
_PROGRESS: Final = struct.Struct(">iIQQ")
_CHUNK_HEAD: Final = struct.Struct(">iI")
_LENGTH_AND_CHUNK_HEAD: Final = struct.Struct(">IiI")

LAUNCH_WORD: Final = _WORD.pack(constants.LAUNCH)
CANCEL_WORD: Final = _WORD.pack(constants.CANCEL)
END_CHUNK: Final = _LENGTH_AND_CHUNK_HEAD.pack(_CHUNK_HEAD.size, 0, 0)
CANCEL_CHUNK: Final = _LENGTH_AND_CHUNK_HEAD.pack(_CHUNK_HEAD.size, 1, 0)
_BYTES_BEHIND_FLAG: Final = {
    constants.LAUNCH: 0,
    constants.CANCEL: 0,
    constants.PROGRESS: constants.PROGRESS_BYTES,
}


def encode_message(header: Header, parts: Sequence[bytes | bytearray | memoryview]) -> bytes:
    """Return a message with its length word; a message over 4 MiB raises LocalProtocolError.

    Everything is joined once: a virtio-serial port takes each element of a writev as a write of its own.
    """
    size_bytes = constants.HEADER_BYTES + sum(map(len, parts))
    if size_bytes > constants.MESSAGE_MAX_BYTES:
        limit = constants.MESSAGE_MAX_BYTES
        raise LocalProtocolError(f"a message of {size_bytes} bytes is longer than the protocol allows, {limit} bytes")
    return b"".join((_WORD.pack(size_bytes), _HEADER.pack(*header), *parts))


def decode_message(frame: memoryview) -> Message:
    """Return the message that a frame holds; RemoteProtocolError if it is too short for a header."""
    if len(frame) < constants.HEADER_BYTES:
        raise RemoteProtocolError(f"a message of {len(frame)} bytes is too short for a header")
    return Message(Header._make(_HEADER.unpack_from(frame)), frame[constants.HEADER_BYTES :])


def encode_error(errno_name: str, text: str) -> list[bytes | bytearray | memoryview]:
    """Return the body of an error reply; text beyond the protocol's limit is cut (section 2.3)."""
    writer = Writer()
    writer.string(errno_name)
    writer.opaque(text.encode("utf-8", "surrogateescape")[: constants.ERROR_MESSAGE_MAX_BYTES])
    return writer.parts()


def decode_error(body: bytes | memoryview) -> tuple[str, str]:
    """Return the errno name, possibly empty, and the text of an error reply."""
    reader = Reader(body)
    return reader.string(constants.ERRNO_NAME_MAX_BYTES), reader.string(constants.ERROR_MESSAGE_MAX_BYTES)


def encode_chunk(data: bytes | memoryview) -> bytes:
    """Return a data chunk with its length word."""
    padding = PADDING[len(data) & 3]
    head = _LENGTH_AND_CHUNK_HEAD.pack(_CHUNK_HEAD.size + len(data) + len(padding), 0, len(data))
    return b"".join((head, data, padding))


def decode_chunk(frame: memoryview, chunk_max_bytes: int) -> Chunk:
    """Return the chunk that a frame holds; RemoteProtocolError if any of it is wrong."""
    if len(frame) < _CHUNK_HEAD.size:
        raise RemoteProtocolError(f"{len(frame)} bytes are too short for a file chunk")
    cancel, data_bytes = _CHUNK_HEAD.unpack_from(frame)
    end = _CHUNK_HEAD.size + data_bytes
    padding = PADDING[data_bytes & 3]
    if cancel not in (0, 1) or (cancel and data_bytes):
        raise RemoteProtocolError(f"a file chunk says cancel {cancel} with {data_bytes} bytes")
    if data_bytes > chunk_max_bytes:
        raise RemoteProtocolError(f"a file chunk of {data_bytes} bytes is longer than the {chunk_max_bytes} agreed on")
    if end + len(padding) != len(frame) or frame[end:] != padding:
        raise RemoteProtocolError("a file chunk's length does not fit its frame, or its padding is not zero")
    return Chunk(bytes(frame[_CHUNK_HEAD.size : end]), cancel == 1)


def encode_progress(progress: Progress) -> bytes:
    """Return a progress message."""
    return _WORD.pack(constants.PROGRESS) + _PROGRESS.pack(*progress)


def decode_progress(body: memoryview) -> Progress:
    """Return the progress that 24 bytes hold."""
    return Progress._make(_PROGRESS.unpack(body))


class FrameBuffer:
    """Cut a byte stream into units.

    A unit is a view of what was received, so that the only copy of a large one is the one its receiver keeps.

    Invariant: holds at most one incomplete unit and what was fed with its last bytes; a length word that no unit can
    have is refused before anything behind it is kept. ``_growing`` is the only buffer ever appended to, and no view
    of it has been handed out.
    """

    def __init__(self) -> None:
        self._data: bytes | bytearray = b""
        self._start = 0
        self._growing: bytearray | None = None

    def feed(self, data: bytes) -> None:
        """Append received bytes."""
        if self._growing is not None:
            self._growing += data
        elif self._start == len(self._data):
            self._data, self._start = data, 0
        else:
            self._growing = bytearray(memoryview(self._data)[self._start :])
            self._growing += data
            self._data, self._start = self._growing, 0

    @property
    def buffered_bytes(self) -> int:
        """Number of bytes not yet handed out."""
        return len(self._data) - self._start

    def next_unit(self) -> tuple[int, memoryview] | None:
        """Return the next unit as its first word and the bytes behind that, or None if it is not complete.

        A first word that is no flag is the length of the frame it comes with.
        """
        available = len(self._data) - self._start - constants.WORD_BYTES
        if available < 0:
            return None
        (word,) = _WORD.unpack_from(self._data, self._start)
        size_bytes = word if word <= constants.MESSAGE_MAX_BYTES else _BYTES_BEHIND_FLAG.get(word)
        if size_bytes is None:
            raise RemoteProtocolError(f"0x{word:08x} is neither a flag nor a possible length")
        if available < size_bytes:
            return None
        begin = self._start + constants.WORD_BYTES
        self._start = begin + size_bytes
        self._growing = None
        return word, memoryview(self._data)[begin : self._start]
