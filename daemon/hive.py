"""A hive of Windows' registry, read key by key.

A program that reads it whole, as hivexget does, would take a second for each ten megabytes under emulation; a few keys
are a few reads. The format is as the regf specification of the libregf project describes it. Numbers are little-endian;
offsets count from the end of the first block.

A hive may have been made to keep its reader busy: by lists that share their keys, or name each other. So what is read
of one is bounded, at several times what any Windows needs.
"""

import os
from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

_BASE_BYTES: Final = 4096
_BASE: Final = Struct("<4s32xI")
"""The mark, and at 36 the root key's offset."""
_KEY: Final = Struct("<2sH16xI4xI4xII28xH2x")
"""A key's mark, flags, number and list of subkeys, number and list of values, length of its name, which follows."""
_VALUE: Final = Struct("<2sHIIIH2x")
"""A value's mark, length of its name, size, place, type, flags; then its name."""
_KEY_NAME_IS_LATIN: Final = 0x20
_VALUE_NAME_IS_LATIN: Final = 1
_IN_PLACE: Final = 1 << 31
"""In a size: the data is where its place would be told."""
_CELL_MAX_BYTES: Final = 1 << 20
_RECORDS_MAX: Final = 10_000
"""Keys and values that are looked at."""
_READ_MAX_BYTES: Final = 16 << 20
_TEXT_MAX_BYTES: Final = 1024
"""What is longer is cut: names and values."""
_TEXTS: Final = (1, 2)
"""REG_SZ and REG_EXPAND_SZ."""
_NUMBER: Final = 4
"""REG_DWORD."""


class HiveError(Exception):
    """A hive that makes no sense, or has no end; the text says where."""


class Value(NamedTuple):
    """A value's type and its data, of which there may have been more than 1 KiB."""

    kind: int
    data: bytes


class Key(NamedTuple):
    """A key, as far as it is needed."""

    place: int
    name: str
    subkeys: int
    subkey_list: int
    values: int
    value_list: int


class Hive:
    """An open file that holds a hive.

    Raises:
        HiveError: of each method: it holds none, or a damaged one.
        OSError: it cannot be read.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._bytes_left = _READ_MAX_BYTES
        self._records_left = _RECORDS_MAX
        mark, root = _BASE.unpack(self._read(-_BASE_BYTES, _BASE.size))
        if mark != b"regf":
            raise HiveError("no registry hive")
        self._root: Final = self._key(root)

    def key(self, *names: str) -> Key | None:
        """Return a key by the names that lead to it, in any case; None if there is none."""
        key, above = self._root, set[int]()
        for name in names:
            above.add(key.place)
            below = next((each for each in self._candidates(key, name) if each.name.upper() == name.upper()), None)
            if below is None:
                return None
            if below.place in above:
                raise HiveError(f"the key at {below.place} is within itself")
            key = below
        return key

    def values(self, key: Key | None) -> dict[str, Value]:
        """Return the values of a key by their names; none of no key."""
        if key is None or not key.values:
            return {}
        return dict(self._value(place) for place in self._numbers(self._cell(key.value_list), 0, key.values))

    def _candidates(self, key: Key, name: str) -> Iterator[Key]:
        """Yield the subkeys that may have a name, by the hashes of names that most lists have."""
        if not key.subkeys:
            return
        for mark, cell in self._lists(key.subkey_list):
            places = self._numbers(cell, 4, int.from_bytes(cell[2:4], "little") * (1 if mark == b"li" else 2))
            if mark == b"lh":
                wanted = _hash(name)
                places = [place for place, number in zip(places[::2], places[1::2], strict=True) if number == wanted]
            elif mark == b"lf":
                places = places[::2]
            elif mark != b"li":
                raise HiveError("no list of subkeys")
            yield from (self._key(place) for place in places)

    def _lists(self, place: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield mark and cell of a list of subkeys, or of those that a list of lists names."""
        cell = self._cell(place)
        mark = cell[:2]
        if mark != b"ri":
            yield mark, cell
            return
        places = self._numbers(cell, 4, int.from_bytes(cell[2:4], "little"))
        if len(set(places)) < len(places):
            raise HiveError(f"the list at {place} names one list twice")
        for below in places:
            part = self._cell(below)
            if part[:2] == b"ri":
                raise HiveError("lists of lists of subkeys")
            yield part[:2], part

    def _key(self, place: int) -> Key:
        cell = self._record(place)
        if len(cell) < _KEY.size or cell[:2] != b"nk":
            raise HiveError(f"no key at {place}")
        _, flags, subkeys, subkey_list, values, value_list, length = _KEY.unpack_from(cell)
        name = cell[_KEY.size : _KEY.size + length]
        return Key(place, _name(name, latin=bool(flags & _KEY_NAME_IS_LATIN)), subkeys, subkey_list, values, value_list)

    def _value(self, place: int) -> tuple[str, Value]:
        cell = self._record(place)
        if len(cell) < _VALUE.size or cell[:2] != b"vk":
            raise HiveError(f"no value at {place}")
        _, length, size, where, kind, flags = _VALUE.unpack_from(cell)
        name = _name(cell[_VALUE.size : _VALUE.size + length], latin=bool(flags & _VALUE_NAME_IS_LATIN))
        if size & _IN_PLACE:
            data = where.to_bytes(4, "little")[: size & ~_IN_PLACE]
        else:
            data = self._cell(where, _TEXT_MAX_BYTES)[:size] if size else b""
        return name, Value(kind, data)

    def _numbers(self, cell: bytes, start: int, count: int) -> list[int]:
        if len(cell) < start + 4 * count:
            raise HiveError("a list longer than its cell")
        return list(Struct(f"<{count}I").unpack_from(cell, start))

    def _record(self, place: int) -> bytes:
        """Return the cell of a key or a value, with as much of its name as counts."""
        self._records_left -= 1
        if self._records_left < 0:
            raise HiveError(f"more than {_RECORDS_MAX} keys and values to look at")
        return self._cell(place, _KEY.size + _TEXT_MAX_BYTES)

    def _cell(self, place: int, most: int = _CELL_MAX_BYTES) -> bytes:
        size = -int.from_bytes(self._read(place, 4), "little", signed=True)
        if not 4 < size <= _CELL_MAX_BYTES:
            raise HiveError(f"no cell at {place}")
        return self._read(place + 4, min(size - 4, most))

    def _read(self, place: int, count: int) -> bytes:
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise HiveError(f"more than {_READ_MAX_BYTES >> 20} MiB to read")
        data = os.pread(self._descriptor, count, _BASE_BYTES + place)
        if len(data) != count:
            raise HiveError("a hive cut short")
        return data


def text_of(value: Value | None) -> str:
    """Return a text, or the begin of a long one; empty if it is none."""
    if value is None or value.kind not in _TEXTS:
        return ""
    return value.data.decode("utf-16-le", "replace").partition("\0")[0]


def number_of(value: Value | None) -> int | None:
    """Return a number; None if it is none."""
    if value is None or value.kind != _NUMBER or len(value.data) != _NUMBER:
        return None
    return int.from_bytes(value.data, "little", signed=True)


def _name(data: bytes, *, latin: bool) -> str:
    return data.decode("latin-1") if latin else data.decode("utf-16-le", "replace")


def _hash(name: str) -> int:
    number = 0
    for letter in name.upper():
        number = (number * 37 + ord(letter)) & 0xFFFFFFFF
    return number
