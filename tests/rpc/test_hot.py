"""The fast decoders give what the derived codecs give, and refuse what those refuse."""

import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpc import hot
from rpc.codec import Codec, codec_of, list_of
from rpc.errors import RemoteProtocolError
from rpc.types import DirectoryEntry, Dirent, FileContent, Statns, Xattr
from rpc.xdr import Reader, Writer
from tests.rpc.strategies import BRIEFLY, values_of
from tests.rpc.test_codec import decoded, encoded

LISTS = [(hot.STATNS_LIST, Statns), (hot.DIRENT_LIST, Dirent), (hot.XATTR_LIST, Xattr)]


def records(cls: type[Any], values: list[Any]) -> bytes:
    writer = Writer()
    for value in values:
        codec_of(cls).encode(writer, value)
    return writer.getvalue()


def as_record(data: bytes, raw: hot.RawEntry) -> DirectoryEntry:
    stat = Statns._make(hot.STATNS.unpack_from(data, raw.stat_offset))
    return DirectoryEntry(raw.name, stat, raw.target, raw.xattrs is not None, list(raw.xattrs or ()))


@pytest.mark.parametrize(("codec", "cls"), LISTS, ids=lambda value: getattr(value, "__name__", ""))
@BRIEFLY
@given(data=st.data())
def test_list_equals_the_derived_codec(codec: Codec[list[Any]], cls: type[Any], data: st.DataObject) -> None:
    values = data.draw(st.lists(values_of(cls), max_size=5))
    wire = encoded(list_of(codec_of(cls)), values)
    assert encoded(codec, values) == wire
    back = decoded(codec, wire)
    assert back == values
    assert all(type(item) is cls for item in back)


@pytest.mark.parametrize(("codec", "cls"), LISTS, ids=lambda value: getattr(value, "__name__", ""))
@BRIEFLY
@given(data=st.data())
def test_damaged_list_is_refused_like_by_the_derived_codec(
    codec: Codec[list[Any]], cls: type[Any], data: st.DataObject
) -> None:
    wire = bytearray(encoded(codec, data.draw(st.lists(values_of(cls), min_size=1, max_size=3))))
    position = data.draw(st.integers(0, len(wire) - 1))
    wire[position] ^= data.draw(st.integers(1, 255))
    wire = wire[: data.draw(st.integers(0, len(wire)))]

    def attempt(decode: Callable[[Reader], Any]) -> Any:
        try:
            return decode(Reader(bytes(wire)))
        except RemoteProtocolError:
            return RemoteProtocolError

    derived = attempt(list_of(codec_of(cls)).decode)
    if attempt(codec.decode) != derived:  # names are checked here only
        assert cls is Dirent
        assert any(not entry.name or b"/" in entry.name or b"\0" in entry.name for entry in derived)


@BRIEFLY
@given(st.lists(values_of(DirectoryEntry), max_size=4))
def test_directory_entries_equal_the_derived_codec(entries: list[DirectoryEntry]) -> None:
    entries = [entry if entry.xattrs_listed else entry._replace(xattrs=[]) for entry in entries]
    data = records(DirectoryEntry, entries)
    assert [as_record(data, raw) for raw in hot.decode_directory_entries(data)] == entries


@BRIEFLY
@given(st.lists(values_of(FileContent), max_size=4))
def test_file_contents_equal_the_derived_codec(contents: list[FileContent]) -> None:
    contents = [each if each.complete else each._replace(data=b"") for each in contents]
    expected = [each.data if each.complete else None for each in contents]
    assert list(hot.decode_file_contents(records(FileContent, contents))) == expected


@BRIEFLY
@given(st.lists(values_of(Dirent), max_size=4))
def test_dirents_equal_the_derived_codec(entries: list[Dirent]) -> None:
    assert list(hot.decode_dirents(records(Dirent, entries))) == entries


STREAMS: list[tuple[Callable[[bytes], Iterator[Any]], bytes]] = [
    (
        hot.decode_directory_entries,
        records(
            DirectoryEntry,
            [
                DirectoryEntry(b"ln", Statns(*range(22)), b"/target", True, [Xattr(b"user.a", b"1")]),  # type: ignore[arg-type]
                DirectoryEntry(b"f", Statns(*range(22)), b"", False, []),  # type: ignore[arg-type]
            ],
        ),
    ),
    (hot.decode_file_contents, records(FileContent, [FileContent(True, b"abcde"), FileContent(False, b"")])),
    (hot.decode_dirents, records(Dirent, [Dirent(5, "r", b"name"), Dirent(6, "d", b"directory")])),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("decode", "data"), STREAMS, ids=lambda value: getattr(value, "__name__", ""))
def test_stream_cut_inside_a_record_is_refused(decode: Callable[[bytes], Iterator[Any]], data: bytes) -> None:
    assert len(list(decode(data))) == 2
    whole = 0
    for end in range(len(data)):
        try:
            whole += len(list(decode(data[:end]))) == 1
        except RemoteProtocolError:
            continue
    assert whole == 1  # only the cut between the two records gives one record


@pytest.mark.parametrize("name", [b"", b"a/b", b"/", b"nul\0"])
def test_impossible_name_is_refused(name: bytes) -> None:
    data = struct.pack(">qII", 5, ord("r"), len(name)) + name + bytes(-len(name) & 3)
    with pytest.raises(RemoteProtocolError, match="not the name"):
        list(hot.decode_dirents(data))


@pytest.mark.parametrize(("listed", "count"), [(2, 0), (0, 1), (1, 1 << 30), (7, 7)])
def test_impossible_attribute_list_is_refused(listed: int, count: int) -> None:
    entry = DirectoryEntry(b"f", Statns(*range(22)), b"", True, [])  # type: ignore[arg-type]
    data = records(DirectoryEntry, [entry])[:-8] + struct.pack(">II", listed, count) + bytes(64)
    with pytest.raises(RemoteProtocolError, match="extended attributes"):
        list(hot.decode_directory_entries(data))


@pytest.mark.parametrize("words", [(2, 0), (0, 4)])
def test_impossible_content_is_refused(words: tuple[int, int]) -> None:
    with pytest.raises(RemoteProtocolError, match="complete"):
        list(hot.decode_file_contents(struct.pack(">II", *words) + b"abcd"[: words[1]]))
