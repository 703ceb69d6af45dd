"""Units on the byte stream (guestfs-protocol section 2.1): flag words, messages, chunks; bytes in, units out.

Whether ``n`` bytes behind a length word are a message or a chunk is not marked; only the state of the call tells.
"""

import struct
from typing import Final

from rpc import constants
from rpc.errors import LocalProtocolError, RemoteProtocolError
from rpc.events import Chunk, Header, Message, Progress

_WORD: Final = struct.Struct(">I")
_HEADER: Final = struct.Struct(">IIiiIQQi")
_PROGRESS: Final = struct.Struct(">iIQQ")
_CHUNK_HEAD: Final = struct.Struct(">iI")
_LENGTH_AND_CHUNK_HEAD: Final = struct.Struct(">IiI")

LAUNCH_WORD: Final = _WORD.pack(constants.LAUNCH)
CANCEL_WORD: Final = _WORD.pack(constants.CANCEL)
END_CHUNK: Final = _LENGTH_AND_CHUNK_HEAD.pack(_CHUNK_HEAD.size, 0, 0)
CANCEL_CHUNK: Final = _LENGTH_AND_CHUNK_HEAD.pack(_CHUNK_HEAD.size, 1, 0)
_FLAGS: Final = (constants.LAUNCH, constants.CANCEL)
_PADDING: Final = (b"", b"\0\0\0", b"\0\0", b"\0")


def encode_message(header: Header, body: bytes) -> bytes:
    """Return a message with its length word; a message over 4 MiB raises LocalProtocolError."""
    size_bytes = constants.HEADER_BYTES + len(body)
    if size_bytes > constants.MESSAGE_MAX_BYTES:
        raise LocalProtocolError(f"a message of {size_bytes} bytes is longer than the protocol allows")
    return b"".join((_WORD.pack(size_bytes), _HEADER.pack(*header), body))


def decode_message(frame: bytes) -> Message:
    """Return the message that a frame holds; RemoteProtocolError if it is too short for a header."""
    if len(frame) < constants.HEADER_BYTES:
        raise RemoteProtocolError(f"a message of {len(frame)} bytes is too short for a header")
    return Message(Header(*_HEADER.unpack_from(frame)), frame[constants.HEADER_BYTES :])


def chunk_head(data_bytes: int) -> bytes:
    """Return what goes in front of a data chunk's bytes: length word, cancel flag, data length."""
    padded_bytes = data_bytes + len(_PADDING[data_bytes & 3])
    return _LENGTH_AND_CHUNK_HEAD.pack(_CHUNK_HEAD.size + padded_bytes, 0, data_bytes)


def chunk_padding(data_bytes: int) -> bytes:
    """Return what goes behind a data chunk's bytes."""
    return _PADDING[data_bytes & 3]


def encode_chunk(data: bytes | memoryview) -> bytes:
    """Return a data chunk with its length word."""
    return b"".join((chunk_head(len(data)), data, chunk_padding(len(data))))


def decode_chunk(frame: bytes, chunk_max_bytes: int) -> Chunk:
    """Return the chunk that a frame holds; RemoteProtocolError if any of it is wrong."""
    if len(frame) < _CHUNK_HEAD.size:
        raise RemoteProtocolError(f"{len(frame)} bytes are too short for a file chunk")
    cancel, data_bytes = _CHUNK_HEAD.unpack_from(frame)
    end = _CHUNK_HEAD.size + data_bytes
    if cancel not in (0, 1) or (cancel and data_bytes):
        raise RemoteProtocolError(f"a file chunk says cancel {cancel} with {data_bytes} bytes")
    if data_bytes > chunk_max_bytes:
        raise RemoteProtocolError(f"a file chunk of {data_bytes} bytes is longer than the {chunk_max_bytes} agreed on")
    if end + len(_PADDING[data_bytes & 3]) != len(frame) or frame[end:] != _PADDING[data_bytes & 3]:
        raise RemoteProtocolError("a file chunk's length does not fit its frame, or its padding is not zero")
    return Chunk(frame[_CHUNK_HEAD.size : end], cancel == 1)


def encode_progress(progress: Progress) -> bytes:
    """Return a progress message."""
    body = _PROGRESS.pack(progress.proc, progress.serial, progress.position, progress.total)
    return _WORD.pack(constants.PROGRESS) + body


def decode_progress(body: bytes) -> Progress:
    """Return the progress that 24 bytes hold."""
    return Progress(*_PROGRESS.unpack(body))


class FrameBuffer:
    """Cut a byte stream into units.

    Invariant: holds at most one incomplete unit and what was fed with its last bytes; a length word that no unit can
    have is refused before anything behind it is kept.
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self._start = 0

    def feed(self, data: bytes) -> None:
        """Append received bytes."""
        if self._start:
            del self._data[: self._start]
            self._start = 0
        self._data += data

    @property
    def buffered_bytes(self) -> int:
        """Number of bytes not yet handed out."""
        return len(self._data) - self._start

    def next_unit(self) -> tuple[int, bytes] | None:
        """Return the next unit as its first word and the bytes behind that, or None if it is not complete.

        A first word that is no flag is the length of the frame it comes with.
        """
        available = self.buffered_bytes - constants.WORD_BYTES
        if available < 0:
            return None
        (word,) = _WORD.unpack_from(self._data, self._start)
        if word in _FLAGS:
            size_bytes = 0
        elif word == constants.PROGRESS:
            size_bytes = constants.PROGRESS_BYTES
        elif word <= constants.MESSAGE_MAX_BYTES:
            size_bytes = word
        else:
            raise RemoteProtocolError(f"0x{word:08x} is neither a flag nor a possible length")
        if available < size_bytes:
            return None
        begin = self._start + constants.WORD_BYTES
        self._start = begin + size_bytes
        with memoryview(self._data) as view:
            return word, bytes(view[begin : self._start])
