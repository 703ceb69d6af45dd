"""Units are found whatever the pieces they come in, and nothing impossible is kept."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpc import constants, framing
from rpc.errors import LocalProtocolError, RemoteProtocolError
from rpc.events import Chunk, Header, Progress

PROGRESS = framing.encode_progress(Progress(207, 5, 1 << 40, (1 << 64) - 1))
MESSAGE = framing.encode_message(Header.call(422, 0x123400), [b"abcd", b"", memoryview(b"efgh")])
UNITS = [framing.LAUNCH_WORD, MESSAGE, PROGRESS, framing.encode_chunk(b"12345"), framing.CANCEL_WORD, framing.END_CHUNK]


def units_of(buffer: framing.FrameBuffer) -> list[bytes]:
    found = []
    while (unit := buffer.next_unit()) is not None:
        word, data = unit
        found.append(word.to_bytes(4, "big") + data)
    return found


def test_units_fed_whole() -> None:
    buffer = framing.FrameBuffer()
    buffer.feed(b"".join(UNITS))
    assert units_of(buffer) == UNITS
    assert buffer.buffered_bytes == 0


def test_units_fed_byte_by_byte() -> None:
    buffer = framing.FrameBuffer()
    found = []
    for byte in b"".join(UNITS):
        buffer.feed(bytes((byte,)))
        found += units_of(buffer)
    assert found == UNITS


@given(st.lists(st.sampled_from(UNITS), max_size=6), st.lists(st.integers(1, 70), min_size=1, max_size=40))
def test_units_fed_in_any_pieces(units: list[bytes], sizes: list[int]) -> None:
    buffer = framing.FrameBuffer()
    data = b"".join(units)
    found: list[tuple[int, memoryview]] = []
    while data:
        buffer.feed(data[: sizes[0]])
        data = data[sizes[0] :]
        sizes = [*sizes[1:], sizes[0]]
        while (unit := buffer.next_unit()) is not None:
            found.append(unit)
    # all are looked at last of all: what was handed out must not change when more is fed
    assert [word.to_bytes(4, "big") + bytes(view) for word, view in found] == units


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit[:4].hex())
def test_unit_with_a_tail_leaves_the_tail(unit: bytes) -> None:
    buffer = framing.FrameBuffer()
    buffer.feed(unit + b"\0\0\0")
    assert units_of(buffer) == [unit]
    assert buffer.buffered_bytes == 3


def test_longest_message_is_taken_and_one_byte_more_is_not() -> None:
    room = constants.MESSAGE_MAX_BYTES - constants.HEADER_BYTES
    longest = framing.encode_message(Header.call(1, 1), [bytes(room)])
    assert len(longest) == constants.MESSAGE_MAX_BYTES + 4
    buffer = framing.FrameBuffer()
    buffer.feed(longest)
    assert buffer.next_unit() is not None
    with pytest.raises(LocalProtocolError):
        framing.encode_message(Header.call(1, 1), [bytes(room), b"x"])
    buffer.feed((constants.MESSAGE_MAX_BYTES + 1).to_bytes(4, "big"))
    with pytest.raises(RemoteProtocolError, match="neither a flag"):
        buffer.next_unit()


@pytest.mark.parametrize("size", range(constants.HEADER_BYTES))
def test_message_shorter_than_a_header_is_refused(size: int) -> None:
    with pytest.raises(RemoteProtocolError, match="too short for a header"):
        framing.decode_message(memoryview(bytes(size)))


def test_header_layout_is_that_of_the_reference() -> None:
    header = Header(1, 2, -3, 4, 5, 6, 7, 8)
    data = framing.encode_message(header, [])
    assert data == struct.pack(">IIIiiIQQi", 40, *header)
    assert framing.decode_message(memoryview(data)[4:]).header == header


@pytest.mark.parametrize("size", [1, 2, 3, 4, 8191, 8192])
def test_chunk_round_trips(size: int) -> None:
    data = bytes(index % 251 for index in range(size))
    frame = framing.encode_chunk(memoryview(data))
    assert len(frame) % 4 == 0
    assert framing.decode_chunk(memoryview(frame)[4:], 8192) == Chunk(data)


def test_end_and_cancel_chunks() -> None:
    assert framing.decode_chunk(memoryview(framing.END_CHUNK)[4:], 8192) == Chunk(b"")
    assert framing.decode_chunk(memoryview(framing.CANCEL_CHUNK)[4:], 8192) == Chunk(b"", cancelled=True)
    assert Chunk(b"").is_last
    assert Chunk(b"", cancelled=True).is_last
    assert not Chunk(b"x").is_last


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        bytes(7),
        struct.pack(">iI", 2, 0),
        struct.pack(">iI", -1, 0),
        struct.pack(">iI", 1, 4) + b"abcd",
        struct.pack(">iI", 0, 4) + b"abc",
        struct.pack(">iI", 0, 4) + b"abcd" + bytes(4),
        struct.pack(">iI", 0, 3) + b"abc\1",
        struct.pack(">iI", 0, 3) + b"abc",
        struct.pack(">iI", 0, 8193) + bytes(8196),
        struct.pack(">iI", 0, 0xFFFFFFFF),
    ],
)
def test_wrong_chunk_is_refused(frame: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        framing.decode_chunk(memoryview(frame), 8192)


def test_progress_round_trips() -> None:
    assert framing.decode_progress(memoryview(PROGRESS)[4:]) == Progress(207, 5, 1 << 40, (1 << 64) - 1)


def test_error_text_is_cut_and_limits_are_held_exactly() -> None:
    body = b"".join(framing.encode_error("ENOENT", "x" * 70_000))
    name, text = framing.decode_error(body)
    assert (name, len(text)) == ("ENOENT", constants.ERROR_MESSAGE_MAX_BYTES)
    longest = b"".join(framing.encode_error("E" * 32, "y" * constants.ERROR_MESSAGE_MAX_BYTES))
    assert framing.decode_error(longest)[0] == "E" * 32
    with pytest.raises(RemoteProtocolError, match="32 are allowed"):
        framing.decode_error(b"".join(framing.encode_error("E" * 33, "")))
    too_long = b"\0\0\0\0" + (65537).to_bytes(4, "big") + bytes(65540)
    with pytest.raises(RemoteProtocolError, match="65536 are allowed"):
        framing.decode_error(too_long)
