"""Codecs: how a value of one type is laid out on the wire, derived from the annotations of a named tuple.

Structures and arguments are named tuples, not dataclasses: the daemon creates dozens of such classes each time the
appliance boots, under emulation, where a frozen dataclass costs six times as much.
"""

import struct
from collections.abc import Callable
from types import NoneType
from typing import (
    Annotated,
    Any,
    Final,
    Generic,
    NamedTuple,
    NewType,
    TypeAlias,
    TypeVar,
    get_args,
    get_origin,
    overload,
)

from rpc.errors import LocalProtocolError, RemoteProtocolError
from rpc.xdr import Reader, Writer

T = TypeVar("T")

Int32: TypeAlias = Annotated[int, "int32"]
UInt32: TypeAlias = Annotated[int, "uint32"]
Int64: TypeAlias = Annotated[int, "int64"]
UInt64: TypeAlias = Annotated[int, "uint64"]
Char: TypeAlias = Annotated[str, "char"]
"""One character, sent as its code in a 32-bit integer."""
LvmUuid: TypeAlias = Annotated[str, "uuid"]
"""32 characters of one byte each, without a length word."""
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

_UUID_BYTES: Final = 32


class Codec(NamedTuple, Generic[T]):
    """One type's layout.

    Attributes:
        name: of the type, for people.
        encode: append a value to a writer.
        decode: consume a value from a reader.
        min_bytes: least space a value takes; bounds list counts before anything is allocated.
        blank: the filler of an optional argument that is not given.
    """

    name: str
    encode: Callable[[Writer, T], None]
    decode: Callable[[Reader], T]
    min_bytes: int
    blank: T


def _encode_char(writer: Writer, value: Char) -> None:
    code = ord(value)
    if code > 0xFF:
        raise LocalProtocolError(f"{value!r} is not a character of one byte")
    writer.int32(code)


def _decode_char(reader: Reader) -> Char:
    code = reader.uint32()
    if code > 0xFF:
        raise RemoteProtocolError(f"{code} is not the code of a character of one byte")
    return chr(code)


def _encode_uuid(writer: Writer, value: LvmUuid) -> None:
    try:
        writer.fixed_opaque(value.encode("latin-1"), _UUID_BYTES)
    except UnicodeEncodeError as exc:
        raise LocalProtocolError(f"{value!r} is not a UUID") from exc


def _decode_uuid(reader: Reader) -> LvmUuid:
    return reader.fixed_opaque(_UUID_BYTES).decode("latin-1")


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


def _encode_name(writer: Writer, value: bytes) -> None:
    if b"\0" in value:
        raise LocalProtocolError(f"{value!r}: a name must not contain NUL, at which libguestfs's daemon would cut it")
    writer.opaque(value)


INT32: Final = Codec("int32", Writer.int32, Reader.int32, 4, 0)
INT64: Final = Codec("int64", Writer.int64, Reader.int64, 8, 0)
BOOL: Final = Codec("bool", Writer.boolean, Reader.boolean, 4, False)
STRING: Final = Codec("str", Writer.string, Reader.string, 4, "")
OPAQUE: Final[Codec[bytes]] = Codec("bytes", Writer.opaque, Reader.opaque, 4, b"")
_NAME: Final[Codec[bytes]] = Codec("name", _encode_name, Reader.opaque, 4, b"")
PAIRS: Final[Codec[Pairs]] = Codec("pairs", _encode_pairs, _decode_pairs, 4, [])
VOID: Final[Codec[None]] = Codec("nothing", lambda _writer, _value: None, lambda _reader: None, 0, None)


def optional(codec: Codec[T]) -> Codec[T | None]:
    """Lay out an optional value: word 0, or word 1 and the value."""

    def encode(writer: Writer, value: T | None) -> None:
        writer.boolean(value is not None)
        if value is not None:
            codec.encode(writer, value)

    def decode(reader: Reader) -> T | None:
        return codec.decode(reader) if reader.boolean() else None

    return Codec(f"{codec.name}?", encode, decode, 4, None)


def list_of(codec: Codec[T]) -> Codec[list[T]]:
    """Lay out a counted list."""

    def encode(writer: Writer, values: list[T]) -> None:
        writer.uint32(len(values))
        for value in values:
            codec.encode(writer, value)

    def decode(reader: Reader) -> list[T]:
        return [codec.decode(reader) for _ in range(reader.count(codec.min_bytes))]

    return Codec(f"list[{codec.name}]", encode, decode, 4, [])


STRING_LIST: Final = list_of(STRING)
_SCALARS: Final[dict[Any, Codec[Any]]] = {
    Int32: INT32,
    UInt32: Codec("uint32", Writer.uint32, Reader.uint32, 4, 0),
    Int64: INT64,
    UInt64: Codec("uint64", Writer.uint64, Reader.uint64, 8, 0),
    Char: Codec("char", _encode_char, _decode_char, 4, "\0"),
    LvmUuid: Codec("uuid", _encode_uuid, _decode_uuid, _UUID_BYTES, "\0" * _UUID_BYTES),
    float: Codec("float", Writer.float32, Reader.float32, 4, 0.0),
    bool: BOOL,
    str: STRING,
    bytes: OPAQUE,
    Device: STRING,
    Mountable: STRING,
    GuestPath: _NAME,
    FileName: _NAME,
    DeviceOrPath: _NAME,
    MountableOrPath: _NAME,
    Pairs: PAIRS,
}
_LETTERS: Final[dict[Any, str]] = {Int32: "i", UInt32: "I", Int64: "q", UInt64: "Q"}


def field_kinds(cls: type[Any]) -> dict[str, Any]:
    """Return the fields of a structure or of arguments, in wire order, with their annotations."""
    kinds: dict[str, Any] = cls.__annotations__
    return kinds


def optional_fields(cls: type[Any]) -> tuple[str, ...]:
    """Name the optional arguments, the fields with a default, in the order of their bits in ``optargs_bitmask``."""
    return tuple(cls._field_defaults)


_derived: Final[dict[Any, Codec[Any]]] = {}


@overload
def codec_of(annotation: type[T]) -> Codec[T]: ...
@overload
def codec_of(annotation: Any) -> Codec[Any]: ...
def codec_of(annotation: Any) -> Codec[Any]:
    """Return the codec of a scalar kind, ``list[…]``, ``… | None`` or a named tuple; derived once."""
    codec = _derived.get(annotation)
    if codec is None:
        codec = _derived[annotation] = _derive(annotation)
    return codec


def _derive(annotation: Any) -> Codec[Any]:
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    if get_origin(annotation) is list:
        return list_of(codec_of(get_args(annotation)[0]))
    if NoneType in get_args(annotation):
        return optional(codec_of(_without_none(annotation)))
    layout = _integer_layout(annotation)
    return _sequence_codec(annotation) if layout is None else _packed_codec(annotation, layout)


def _without_none(annotation: Any) -> Any:
    return next(kind for kind in get_args(annotation) if kind is not NoneType)


def _integer_layout(cls: type[Any]) -> struct.Struct | None:
    letters = [_LETTERS.get(kind, "") for kind in field_kinds(cls).values()]
    return struct.Struct(">" + "".join(letters)) if letters and all(letters) and not optional_fields(cls) else None


def _packed_codec(cls: Any, layout: struct.Struct) -> Codec[Any]:
    """Lay out a named tuple of integers only by one precompiled struct."""

    def encode(writer: Writer, value: tuple[int, ...]) -> None:
        writer.packed(layout, value)

    def decode(reader: Reader) -> Any:
        return cls._make(reader.packed(layout))

    return Codec(cls.__name__, encode, decode, layout.size, cls(*(0 for _ in field_kinds(cls))))


def _sequence_codec(cls: Any) -> Codec[Any]:
    """Lay out a named tuple field after field; an optional argument not given is sent as its filler."""
    optargs = optional_fields(cls)
    kinds = field_kinds(cls).items()
    parts = [_optional_argument(kind) if name in optargs else codec_of(kind) for name, kind in kinds]
    encoders = tuple(codec.encode for codec in parts)
    decoders = tuple(codec.decode for codec in parts)

    def encode(writer: Writer, values: tuple[Any, ...]) -> None:
        for encode_field, value in zip(encoders, values, strict=True):
            encode_field(writer, value)

    def decode(reader: Reader) -> Any:
        return cls._make([decode_field(reader) for decode_field in decoders])

    blank = cls(*(codec.blank for codec in parts))
    return Codec(cls.__name__, encode, decode, sum(codec.min_bytes for codec in parts), blank)


def _optional_argument(kind: Any) -> Codec[Any]:
    inner = codec_of(_without_none(kind))

    def encode(writer: Writer, value: Any) -> None:
        inner.encode(writer, inner.blank if value is None else value)

    return Codec(inner.name, encode, inner.decode, inner.min_bytes, inner.blank)
