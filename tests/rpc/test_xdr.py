"""The gaps of xdrlib3 are closed: ranges, booleans, padding, lengths, leftovers."""

import struct
from collections.abc import Callable
from typing import Any

import pytest

from rpc import constants
from rpc.errors import LocalProtocolError, RemoteProtocolError
from rpc.xdr import Reader, Writer

ITEMS: list[tuple[Callable[[Writer, Any], None], Callable[[Reader], Any], Any]] = [
    (Writer.int32, Reader.int32, -5),
    (Writer.uint32, Reader.uint32, 0xFFFFFFFE),
    (Writer.int64, Reader.int64, -(1 << 63)),
    (Writer.uint64, Reader.uint64, (1 << 64) - 1),
    (Writer.float32, Reader.float32, 0.5),
    (Writer.boolean, Reader.boolean, True),
    (Writer.opaque, Reader.opaque, b"12345"),
    (Writer.opaque, Reader.opaque, bytes(range(256)) * 33 + b"end"),
    (Writer.string, Reader.string, "na\xefve \udcff"),
]
IDS = [f"{write.__name__}{index}" for index, (write, _, _) in enumerate(ITEMS)]


@pytest.mark.parametrize(("write", "read", "value"), ITEMS, ids=IDS)
class TestItem:
    def test_comes_back_and_leaves_nothing(self, write: Any, read: Any, value: Any) -> None:
        writer = Writer()
        write(writer, value)
        reader = Reader(writer.getvalue())
        assert read(reader) == value
        reader.done()

    def test_comes_back_with_a_tail(self, write: Any, read: Any, value: Any) -> None:
        writer = Writer()
        write(writer, value)
        writer.uint32(7)
        reader = Reader(memoryview(writer.getvalue()))
        assert read(reader) == value
        assert reader.remaining == 4
        assert reader.uint32() == 7

    def test_cut_anywhere_is_refused(self, write: Any, read: Any, value: Any) -> None:
        writer = Writer()
        write(writer, value)
        data = writer.getvalue()
        for end in [*range(min(len(data), 64)), len(data) - 1]:
            with pytest.raises(RemoteProtocolError):
                read(Reader(data[:end]))


def test_numbers_beyond_xdrlib3_are_right() -> None:
    assert Reader(b"\x80" + bytes(7)).uint64() == 1 << 63
    assert Reader(b"\x80" + bytes(7)).int64() == -(1 << 63)
    with pytest.raises(LocalProtocolError):
        Writer().uint64((1 << 64) + 5)


@pytest.mark.parametrize("word", [2, 7, 0xFFFFFFFF])
def test_boolean_other_than_0_and_1_is_refused(word: int) -> None:
    with pytest.raises(RemoteProtocolError, match="boolean"):
        Reader(word.to_bytes(4, "big")).boolean()


@pytest.mark.parametrize("length", [1, 2, 3])
def test_padding_must_be_zero(length: int) -> None:
    good = length.to_bytes(4, "big") + b"abc"[:length] + bytes(4 - length)
    assert Reader(good).opaque() == b"abc"[:length]
    with pytest.raises(RemoteProtocolError, match="padding"):
        Reader(good[:-1] + b"\1").opaque()


def test_length_limit_holds_exactly() -> None:
    data = b"\0\0\0\4abcd"
    assert Reader(data).opaque(4) == b"abcd"
    assert Reader(data).string(4) == "abcd"
    with pytest.raises(RemoteProtocolError, match="3 are allowed"):
        Reader(data).opaque(3)


def test_length_beyond_the_data_is_refused_without_allocating() -> None:
    with pytest.raises(RemoteProtocolError):
        Reader(b"\xff\xff\xff\xfcabcd").opaque()


def test_opaque_longer_than_a_message_is_a_local_error() -> None:
    writer = Writer()
    writer.opaque(bytes(constants.MESSAGE_MAX_BYTES))
    with pytest.raises(LocalProtocolError, match="more than a message"):
        writer.opaque(bytes(constants.MESSAGE_MAX_BYTES + 1))


def test_leftovers_are_refused_by_done() -> None:
    reader = Reader(bytes(5))
    reader.uint32()
    with pytest.raises(RemoteProtocolError, match="1 bytes too many"):
        reader.done()


def test_fixed_opaque_has_no_length_but_padding() -> None:
    writer = Writer()
    writer.fixed_opaque(b"abcde", 5)
    assert writer.getvalue() == b"abcde\0\0\0"
    reader = Reader(writer.getvalue())
    assert reader.fixed_opaque(5) == b"abcde"
    reader.done()
    with pytest.raises(LocalProtocolError):
        writer.fixed_opaque(b"abcd", 5)


def test_packed_layout_is_checked_at_both_ends() -> None:
    layout = struct.Struct(">iQ")
    writer = Writer()
    writer.packed(layout, (-1, 2))
    assert Reader(writer.getvalue()).packed(layout) == (-1, 2)
    with pytest.raises(RemoteProtocolError):
        Reader(writer.getvalue()[:-1]).packed(layout)
    with pytest.raises(LocalProtocolError):
        writer.packed(layout, (1 << 31, 0))


def test_long_opaque_is_not_copied_until_joined() -> None:
    data = bytes(10_000)
    writer = Writer()
    writer.uint32(1)
    writer.opaque(data)
    writer.uint32(2)
    assert any(part is data for part in writer.parts())
    assert writer.getvalue() == b"\0\0\0\1" + (10_000).to_bytes(4, "big") + data + b"\0\0\0\2"


def test_text_that_cannot_be_sent_is_not_shown_for_it_may_be_a_key() -> None:
    with pytest.raises(LocalProtocolError, match="a text is neither Unicode nor escaped bytes") as caught:
        Writer().string("secret\ud800")
    assert caught.value.__suppress_context__
