"""Codecs: how a value of one type is laid out on the wire, derived from a dataclass's annotations."""

import struct
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, fields
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Generic, NewType, TypeAlias, TypeVar, get_args, get_origin, overload

from rpc.errors import RemoteProtocolError
from rpc.xdr import Reader, Writer

T = TypeVar("T")

Int32: TypeAlias = Annotated[int, "int32"]
UInt32: TypeAlias = Annotated[int, "uint32"]
Int64: TypeAlias = Annotated[int, "int64"]
UInt64: TypeAlias = Annotated[int, "uint64"]
Char: TypeAlias = Annotated[str, "char"]
"""One character, sent as its code in a 32-bit integer."""
LvmUuid: TypeAlias = Annotated[str, "uuid"]
"""32 ASCII characters without a length word."""
GuestPath = NewType("GuestPath", bytes)
"""Absolute path in the guest."""
FileName = NewType("FileName", bytes)
"""One name without a slash."""
Device = NewType("Device", str)
Mountable = NewType("Mountable", str)
"""A device, or ``btrfsvol:`` device ``/`` subvolume."""
DeviceOrPath = NewType("DeviceOrPath", bytes)
MountableOrPath = NewType("MountableOrPath", bytes)
Pairs: TypeAlias = Annotated[list[tuple[str, str]], "pairs"]
"""A hashtable: keys and values in turn, in an order that may matter."""


@dataclass(frozen=True, slots=True)
class Codec(Generic[T]):
    """One type's layout.

    Attributes:
        encode: append a value to a writer.
        decode: consume a value from a reader.
        min_bytes: least space a value takes; bounds list counts before anything is allocated.
        blank: the filler of an optional argument that is not given.
    """

    encode: Callable[[Writer, T], None]
    decode: Callable[[Reader], T]
    min_bytes: int
    blank: T


def _encode_char(writer: Writer, value: Char) -> None:
    writer.int32(ord(value))


def _decode_char(reader: Reader) -> Char:
    return chr(reader.int32() & 0xFF)


def _encode_uuid(writer: Writer, value: LvmUuid) -> None:
    writer.fixed_opaque(value.encode("latin-1"), 32)


def _decode_uuid(reader: Reader) -> LvmUuid:
    return reader.fixed_opaque(32).decode("latin-1")


def _encode_pairs(writer: Writer, pairs: Pairs) -> None:
    writer.uint32(2 * len(pairs))
    for key, value in pairs:
        writer.string(key)
        writer.string(value)


def _decode_pairs(reader: Reader) -> Pairs:
    count = reader.count(4)
    if count % 2:
        raise RemoteProtocolError(f"a hashtable of {count} strings has a key without a value")
    return [(reader.string(), reader.string()) for _ in range(count // 2)]


INT32: Final = Codec(Writer.int32, Reader.int32, 4, 0)
INT64: Final = Codec(Writer.int64, Reader.int64, 8, 0)
BOOL: Final = Codec(Writer.boolean, Reader.boolean, 4, False)
STRING: Final = Codec(Writer.string, Reader.string, 4, "")
OPAQUE: Final = Codec(Writer.opaque, Reader.opaque, 4, b"")
PAIRS: Final[Codec[Pairs]] = Codec(_encode_pairs, _decode_pairs, 4, [])
VOID: Final[Codec[None]] = Codec(lambda _writer, _value: None, lambda _reader: None, 0, None)


def optional(codec: Codec[T]) -> Codec[T | None]:
    """Lay out an optional value: word 0, or word 1 and the value."""

    def encode(writer: Writer, value: T | None) -> None:
        writer.boolean(value is not None)
        if value is not None:
            codec.encode(writer, value)

    def decode(reader: Reader) -> T | None:
        return codec.decode(reader) if reader.boolean() else None

    return Codec(encode, decode, 4, None)


def list_of(codec: Codec[T]) -> Codec[list[T]]:
    """Lay out a counted list."""

    def encode(writer: Writer, values: list[T]) -> None:
        writer.uint32(len(values))
        for value in values:
            codec.encode(writer, value)

    def decode(reader: Reader) -> list[T]:
        return [codec.decode(reader) for _ in range(reader.count(codec.min_bytes))]

    return Codec(encode, decode, 4, [])


_SCALARS: Final[dict[Any, Codec[Any]]] = {
    Int32: INT32,
    UInt32: Codec(Writer.uint32, Reader.uint32, 4, 0),
    Int64: INT64,
    UInt64: Codec(Writer.uint64, Reader.uint64, 8, 0),
    Char: Codec(_encode_char, _decode_char, 4, "\0"),
    LvmUuid: Codec(_encode_uuid, _decode_uuid, 32, ""),
    float: Codec(Writer.float32, Reader.float32, 4, 0.0),
    bool: BOOL,
    str: STRING,
    bytes: OPAQUE,
    Device: STRING,
    Mountable: STRING,
    GuestPath: OPAQUE,
    FileName: OPAQUE,
    DeviceOrPath: OPAQUE,
    MountableOrPath: OPAQUE,
    Pairs: PAIRS,
}
_LETTERS: Final[dict[Any, str]] = {Int32: "i", UInt32: "I", Int64: "q", UInt64: "Q"}


def optional_fields(cls: type[Any]) -> tuple[str, ...]:
    """Name the optional arguments, the fields with a default, in the order of their bits in ``optargs_bitmask``."""
    return tuple(item.name for item in fields(cls) if item.default is not MISSING)


_derived: Final[dict[Any, Codec[Any]]] = {}


@overload
def codec_of(annotation: type[T]) -> Codec[T]: ...
@overload
def codec_of(annotation: Any) -> Codec[Any]: ...
def codec_of(annotation: Any) -> Codec[Any]:
    """Return the codec of a scalar kind, ``list[…]``, ``… | None`` or a dataclass; derived once."""
    codec = _derived.get(annotation)
    if codec is None:
        codec = _derived[annotation] = _derive(annotation)
    return codec


def _derive(annotation: Any) -> Codec[Any]:
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    if get_origin(annotation) is list:
        return list_of(codec_of(get_args(annotation)[0]))
    if get_origin(annotation) is UnionType:
        return optional(codec_of(_without_none(annotation)))
    layout = _integer_layout(annotation)
    return _sequence_codec(annotation) if layout is None else _packed_codec(annotation, layout)


def _without_none(annotation: Any) -> Any:
    return next(kind for kind in get_args(annotation) if kind is not NoneType)


def _integer_layout(cls: type[Any]) -> struct.Struct | None:
    letters = [_LETTERS.get(item.type) for item in fields(cls)]
    return struct.Struct(">" + "".join(map(str, letters))) if letters and all(letters) else None


def _packed_codec(cls: type[T], layout: struct.Struct) -> Codec[T]:
    """Lay out a dataclass of integers only by one precompiled struct."""
    names = tuple(item.name for item in fields(cls))  # type: ignore[arg-type]

    def encode(writer: Writer, value: T) -> None:
        writer.packed(layout, tuple([getattr(value, name) for name in names]))

    def decode(reader: Reader) -> T:
        return cls(*reader.packed(layout))

    return Codec(encode, decode, layout.size, cls(*(0 for _ in names)))


def _sequence_codec(cls: type[T]) -> Codec[T]:
    """Lay out a dataclass field after field; an optional argument not given is sent as its filler."""
    parts = tuple((item.name, _field_codec(item)) for item in fields(cls))  # type: ignore[arg-type]

    def encode(writer: Writer, value: T) -> None:
        for name, codec in parts:
            codec.encode(writer, getattr(value, name))

    def decode(reader: Reader) -> T:
        return cls(*[codec.decode(reader) for _, codec in parts])

    return Codec(encode, decode, sum(codec.min_bytes for _, codec in parts), cls(*(codec.blank for _, codec in parts)))


def _field_codec(item: Field[Any]) -> Codec[Any]:
    if item.default is MISSING:
        return codec_of(item.type)
    inner = codec_of(_without_none(item.type))

    def encode(writer: Writer, value: Any) -> None:
        inner.encode(writer, inner.blank if value is None else value)

    return Codec(encode, inner.decode, inner.min_bytes, inner.blank)
