"""Strict XDR (RFC 4506) on xdrlib3, whose gaps it closes.

xdrlib3 packs 2**64+5 as 5, decodes 2**63 as a negative number, takes any non-zero word for True and never looks at
padding. Here every integer is range-checked, booleans are 0 or 1, padding is zero and every length is checked against
its limit and against what is left, before anything is allocated.
"""

import struct
from typing import Any, Final, cast

import xdrlib3

from rpc import constants
from rpc.errors import LocalProtocolError, RemoteProtocolError

PADDING: Final = (b"", b"\0\0\0", b"\0\0", b"\0")
"""What fills an item up to a multiple of four bytes, by its length modulo four."""
_COPIED_BYTES: Final = 4096
"""A longer opaque value is not copied into the packer, but joined once, with the message."""


class Writer:
    """Encode items one after another; a value out of range raises LocalProtocolError."""

    __slots__ = ("_packer", "_parts")

    def __init__(self) -> None:
        self._packer = xdrlib3.Packer()
        self._parts: list[bytes | bytearray | memoryview] = []

    def int32(self, value: int) -> None:
        """Append a signed 32-bit integer."""
        if not -0x80000000 <= value <= 0x7FFFFFFF:
            raise LocalProtocolError(f"{value} does not fit into a signed 32-bit integer")
        self._packer.pack_int(value)

    def uint32(self, value: int) -> None:
        """Append an unsigned 32-bit integer."""
        if not 0 <= value <= 0xFFFFFFFF:
            raise LocalProtocolError(f"{value} does not fit into an unsigned 32-bit integer")
        self._packer.pack_uint(value)

    def int64(self, value: int) -> None:
        """Append a signed 64-bit integer."""
        if not -(1 << 63) <= value < 1 << 63:
            raise LocalProtocolError(f"{value} does not fit into a signed 64-bit integer")
        self._packer.pack_uhyper(value & 0xFFFFFFFFFFFFFFFF)

    def uint64(self, value: int) -> None:
        """Append an unsigned 64-bit integer."""
        if not 0 <= value < 1 << 64:
            raise LocalProtocolError(f"{value} does not fit into an unsigned 64-bit integer")
        self._packer.pack_uhyper(value)

    def float32(self, value: float) -> None:
        """Append an IEEE 754 single."""
        try:
            self._packer.pack_float(value)
        except (OverflowError, xdrlib3.ConversionError) as exc:
            raise LocalProtocolError(f"{value} does not fit into a 32-bit float") from exc

    def boolean(self, value: bool) -> None:
        """Append a boolean word."""
        self._packer.pack_uint(1 if value else 0)

    def opaque(self, value: bytes | bytearray | memoryview) -> None:
        """Append a length word, the bytes and zero padding."""
        if len(value) > constants.MESSAGE_MAX_BYTES:
            raise LocalProtocolError(f"{len(value)} bytes are more than a message can carry")
        if len(value) <= _COPIED_BYTES:
            self._packer.pack_bytes(bytes(value))
        else:
            self._packer.pack_uint(len(value))
            self._parts += (self._packer.get_buffer(), value, PADDING[len(value) & 3])
            self._packer.reset()

    def string(self, value: str) -> None:
        """Append text as UTF-8, surrogate escapes giving back the bytes they stand for."""
        try:
            data = value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            # Neither the text nor exc, which holds it, is shown: it may be a key.
            raise LocalProtocolError("a text is neither Unicode nor escaped bytes") from None
        self.opaque(data)

    def fixed_opaque(self, value: bytes, size_bytes: int) -> None:
        """Append exactly ``size_bytes`` bytes and zero padding, without a length word."""
        if len(value) != size_bytes:
            raise LocalProtocolError(f"expected {size_bytes} bytes, not {len(value)}")
        self._packer.pack_fopaque(size_bytes, value)

    def packed(self, layout: struct.Struct, values: tuple[int, ...]) -> None:
        """Append integers by a precompiled layout."""
        try:
            data = layout.pack(*values)
        except struct.error as exc:
            raise LocalProtocolError(f"a field is out of range: {exc}") from exc
        self._packer.pack_fopaque(layout.size, data)

    def parts(self) -> list[bytes | bytearray | memoryview]:
        """Return all that was appended, in pieces to be joined."""
        return [*self._parts, self._packer.get_buffer()]

    def getvalue(self) -> bytes:
        """Return all that was appended."""
        return b"".join(self.parts())


class Reader:
    """Decode items one after another; anything wrong raises RemoteProtocolError."""

    __slots__ = ("_data", "_unpacker")

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data)
        self._unpacker = xdrlib3.Unpacker(cast("Any", self._data))  # slices and struct.unpack are all it does with it

    @property
    def remaining(self) -> int:
        """Number of bytes not yet consumed."""
        return len(self._data) - self._unpacker.get_position()

    def int32(self) -> int:
        """Consume a signed 32-bit integer."""
        value = self.uint32()
        return value - 0x100000000 if value & 0x80000000 else value

    def uint32(self) -> int:
        """Consume an unsigned 32-bit integer."""
        try:
            return self._unpacker.unpack_uint()
        except EOFError as exc:
            raise RemoteProtocolError("an integer is cut short") from exc

    def int64(self) -> int:
        """Consume a signed 64-bit integer."""
        value = self.uint64()
        return value - (1 << 64) if value & (1 << 63) else value

    def uint64(self) -> int:
        """Consume an unsigned 64-bit integer."""
        try:
            return self._unpacker.unpack_uhyper()
        except EOFError as exc:
            raise RemoteProtocolError("an integer is cut short") from exc

    def float32(self) -> float:
        """Consume an IEEE 754 single."""
        try:
            return self._unpacker.unpack_float()
        except EOFError as exc:
            raise RemoteProtocolError("a float is cut short") from exc

    def boolean(self) -> bool:
        """Consume a word that must be 0 or 1."""
        value = self.uint32()
        if value > 1:
            raise RemoteProtocolError(f"{value} is not a boolean")
        return value == 1

    def opaque(self, max_bytes: int = constants.MESSAGE_MAX_BYTES) -> bytes:
        """Consume a length word of at most ``max_bytes``, that many bytes and their zero padding."""
        size_bytes = self.uint32()
        if size_bytes > max_bytes:
            raise RemoteProtocolError(f"an item of {size_bytes} bytes, {max_bytes} are allowed")
        return self.fixed_opaque(size_bytes)

    def string(self, max_bytes: int = constants.MESSAGE_MAX_BYTES) -> str:
        """Consume text of at most ``max_bytes``; bytes that are not UTF-8 become surrogate escapes."""
        return self.opaque(max_bytes).decode("utf-8", "surrogateescape")

    def fixed_opaque(self, size_bytes: int) -> bytes:
        """Consume exactly ``size_bytes`` bytes and their zero padding."""
        start = self._unpacker.get_position()
        end = start + size_bytes
        padding = PADDING[size_bytes & 3]
        stop = end + len(padding)
        if stop > len(self._data):
            raise RemoteProtocolError(f"an item of {size_bytes} bytes is cut short")
        if self._data[end:stop] != padding:
            raise RemoteProtocolError("padding is not zero")
        self._unpacker.set_position(stop)
        return bytes(self._data[start:end])

    def count(self, item_min_bytes: int) -> int:
        """Consume the count of a list of items of at least ``item_min_bytes``; more than fit are not believed."""
        count = self.uint32()
        if count * item_min_bytes > self.remaining:
            raise RemoteProtocolError(f"a list of {count} items cannot fit into {self.remaining} bytes")
        return count

    def packed(self, layout: struct.Struct) -> tuple[int, ...]:
        """Consume integers by a precompiled layout."""
        start = self._unpacker.get_position()
        if self.remaining < layout.size:
            raise RemoteProtocolError("a structure is cut short")
        self._unpacker.set_position(start + layout.size)
        return layout.unpack_from(self._data, start)

    def rest(self) -> bytes:
        """Return what is left without consuming it, for decoders of their own."""
        return bytes(self._data[self._unpacker.get_position() :])

    def skip(self, size_bytes: int) -> None:
        """Consume bytes that a decoder of its own has taken from ``rest``."""
        self._unpacker.set_position(self._unpacker.get_position() + size_bytes)

    def done(self) -> None:
        """Insist that nothing is left.

        Bodies of calls and replies are not held to that: the protocol lets newer ends append to them (section 3.6).
        """
        if self.remaining:
            raise RemoteProtocolError(f"{self.remaining} bytes too many")
