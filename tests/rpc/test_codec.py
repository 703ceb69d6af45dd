"""Every type that calls carry comes back as it went, and its wire form is what xdrlib3 makes of it."""

from types import NoneType
from typing import Any, get_args, get_origin

import pytest
import xdrlib3
from hypothesis import given
from hypothesis import strategies as st

from rpc.codec import (
    PAIRS,
    VOID,
    Char,
    Codec,
    Int32,
    Int64,
    LvmUuid,
    Pairs,
    UInt32,
    UInt64,
    codec_of,
    field_kinds,
    list_of,
)
from rpc.errors import LocalProtocolError, RemoteProtocolError
from rpc.procedures.lvm import LvmLv
from rpc.procedures.partitions import Partition
from rpc.types import DirectoryEntry, Dirent, Statns, Xattr
from rpc.xdr import Reader, Writer
from tests.rpc.strategies import ARGUMENTS, BRIEFLY, SCALARS, STRUCTURES, values_of, with_fillers


def encoded(codec: Codec[Any], value: Any) -> bytes:
    writer = Writer()
    codec.encode(writer, value)
    return writer.getvalue()


def decoded(codec: Codec[Any], data: bytes) -> Any:
    reader = Reader(data)
    value = codec.decode(reader)
    reader.done()
    return value


def packed_by_xdrlib3(packer: xdrlib3.Packer, annotation: Any, value: Any) -> None:
    """Encode by nothing but xdrlib3's own methods: the independent reference."""
    text = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    if annotation in (Int32, Int64, UInt32, UInt64, bool, float):
        pack = {
            Int32: packer.pack_int,
            Int64: packer.pack_hyper,
            UInt32: packer.pack_uint,
            UInt64: packer.pack_uhyper,
            bool: packer.pack_bool,
            float: packer.pack_float,
        }
        pack[annotation](value & (1 << 64) - 1 if annotation is Int64 else value)
    elif annotation is Char:
        packer.pack_int(ord(value))
    elif annotation is LvmUuid:
        packer.pack_fopaque(32, value.encode("latin-1"))
    elif annotation is Pairs:
        flat = [item for pair in value for item in pair]
        packer.pack_array(flat, lambda item: packed_by_xdrlib3(packer, str, item))
    elif annotation in SCALARS:
        packer.pack_string(text)
    elif get_origin(annotation) is list:
        packer.pack_array(value, lambda item: packed_by_xdrlib3(packer, get_args(annotation)[0], item))
    elif NoneType in get_args(annotation):
        inner = next(kind for kind in get_args(annotation) if kind is not NoneType)
        packer.pack_list([] if value is None else [value], lambda item: packed_by_xdrlib3(packer, inner, item))
    else:
        for kind, field in zip(field_kinds(annotation).values(), value, strict=True):
            packed_by_xdrlib3(packer, kind, field)


@pytest.mark.parametrize("cls", STRUCTURES, ids=lambda cls: cls.__name__)
@BRIEFLY
@given(data=st.data())
def test_structure_round_trips_and_equals_xdrlib3(cls: Any, data: st.DataObject) -> None:
    values = data.draw(st.lists(values_of(cls), max_size=4))
    wire = encoded(list_of(codec_of(cls)), values)
    packer = xdrlib3.Packer()
    packer.pack_array(values, lambda item: packed_by_xdrlib3(packer, cls, item))
    assert wire == packer.get_buffer()
    back = decoded(list_of(codec_of(cls)), wire)
    assert back == values
    assert all(type(item) is cls for item in back)


@pytest.mark.parametrize("cls", ARGUMENTS, ids=lambda cls: cls.__name__)
@BRIEFLY
@given(data=st.data())
def test_arguments_round_trip(cls: type[Any], data: st.DataObject) -> None:
    codec = codec_of(cls)
    value = data.draw(values_of(cls))
    assert decoded(codec, encoded(codec, value)) == with_fillers(value, codec.blank)


@pytest.mark.parametrize("annotation", SCALARS, ids=str)
@BRIEFLY
@given(data=st.data())
def test_scalar_round_trips_and_equals_xdrlib3(annotation: Any, data: st.DataObject) -> None:
    value = data.draw(values_of(annotation))
    packer = xdrlib3.Packer()
    packed_by_xdrlib3(packer, annotation, value)
    assert encoded(codec_of(annotation), value) == packer.get_buffer()
    assert decoded(codec_of(annotation), packer.get_buffer()) == value


@given(value=st.none() | st.binary(max_size=9))
def test_optional_round_trips(value: bytes | None) -> None:
    codec = codec_of(bytes | None)
    assert decoded(codec, encoded(codec, value)) == value


@pytest.mark.parametrize("cls", [*STRUCTURES, *ARGUMENTS], ids=lambda cls: cls.__name__)
def test_least_size_is_that_of_the_blank(cls: type[Any]) -> None:
    codec = codec_of(cls)
    assert len(encoded(codec, codec.blank)) == codec.min_bytes


def test_sizes_are_those_of_the_reference() -> None:
    assert codec_of(Statns).min_bytes == 176
    assert codec_of(Partition).min_bytes == 28
    assert codec_of(Dirent).min_bytes == 16


def test_void_takes_no_space() -> None:
    assert encoded(VOID, None) == b""
    assert decoded(VOID, b"") is None


def test_codec_is_derived_once() -> None:
    assert codec_of(DirectoryEntry) is codec_of(DirectoryEntry)


def test_hashtable_with_key_without_value_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="without a value"):
        decoded(PAIRS, encoded(codec_of(list[str]), ["a", "b", "c"]))


def test_list_longer_than_its_bytes_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="cannot fit"):
        decoded(codec_of(list[Xattr]), b"\xff\xff\xff\xff" + bytes(64))


@pytest.mark.parametrize("code", [0x100, 0xFFFFFFFF])
def test_character_of_more_than_one_byte_is_refused(code: int) -> None:
    with pytest.raises(RemoteProtocolError):
        decoded(codec_of(Char), code.to_bytes(4, "big"))


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Int32, 1 << 31),
        (Int32, -(1 << 31) - 1),
        (UInt32, -1),
        (UInt32, 1 << 32),
        (Int64, 1 << 63),
        (Int64, -(1 << 63) - 1),
        (UInt64, -1),
        (UInt64, (1 << 64) + 5),
        (float, 1e40),
        (Char, "€"),
        (LvmUuid, "short"),
        (LvmUuid, "€" * 32),
        (str, "\ud800"),
        (Partition, Partition(1 << 31, 0, 0, 0)),
    ],
)
def test_value_out_of_range_is_a_local_error(annotation: Any, value: Any) -> None:
    with pytest.raises(LocalProtocolError):
        encoded(codec_of(annotation), value)


def test_lvm_percentage_that_does_not_apply_is_minus_one() -> None:
    blank = codec_of(LvmLv).blank._replace(snap_percent=-1.0)
    assert decoded(codec_of(LvmLv), encoded(codec_of(LvmLv), blank)).snap_percent == -1.0
