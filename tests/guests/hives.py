"""Hives of Windows' registry that hivex would not write: made to keep their reader busy."""

import struct
from collections.abc import Sequence
from typing import Final

_BASE_BYTES: Final = 4096
NONE: Final = 0xFFFFFFFF
_LIST_MOST: Final = 0xFFFF
"""What a list can count."""


class MadeHive:
    """Cells one after the other; each method adds one and returns its place."""

    def __init__(self) -> None:
        self._cells = bytearray()

    @property
    def next_place(self) -> int:
        """Where the next cell will be: what a cell may name before it is there, or as itself."""
        return len(self._cells)

    def cell(self, content: bytes) -> int:
        """Add anything."""
        place = self.next_place
        padded = content + bytes(-(len(content) + 4) % 8)
        self._cells += struct.pack("<i", -len(padded) - 4) + padded
        return place

    def key(self, name: str, subkeys: int = NONE, values: int = NONE, value_count: int = 0) -> int:
        """Add a key, given where its lists are."""
        lists = int(subkeys != NONE), 0, subkeys, NONE, value_count, values
        head = struct.pack("<2sHQII6I", b"nk", 0x20, 0, 0, NONE, *lists)
        return self.cell(head + struct.pack("<7I2H", NONE, NONE, 0, 0, 0, 0, 0, len(name), 0) + name.encode("latin-1"))

    def value(self, name: str, data: bytes) -> int:
        """Add a value that is a text."""
        where = self.cell(data)
        return self.cell(struct.pack("<2sHIIIHH", b"vk", len(name), len(data), where, 1, 1, 0) + name.encode("latin-1"))

    def places(self, places: Sequence[int], mark: bytes = b"") -> int:
        """Add a list, with its mark and count if it has one."""
        head = mark + struct.pack("<H", len(places)) if mark else b""
        return self.cell(head + struct.pack(f"<{len(places)}I", *places))

    def file(self, root: int) -> bytes:
        """Return the file, given where the root key is."""
        base = b"regf".ljust(36, b"\0") + struct.pack("<I", root)
        return base.ljust(_BASE_BYTES, b"\0") + bytes(self._cells)


def looping() -> bytes:
    """Return a hive whose one list of keys is a thousand lists, which are all the same one of 65535 keys."""
    hive = MadeHive()
    keys = hive.places([hive.key("another")] * _LIST_MOST, b"li")
    return hive.file(hive.key("root", hive.places([keys] * 1000, b"ri")))


def fanning_out() -> bytes:
    """Return a hive with some more such lists, each a cell of its own; each key is shared 65535 times."""
    hive = MadeHive()
    keys = [hive.places([hive.key("another")] * _LIST_MOST, b"li") for _ in range(20)]
    return hive.file(hive.key("root", hive.places(keys, b"ri")))


def sharing_values() -> bytes:
    """Return a hive whose root, and the keys that are looked for, have 200,000 times one value of a megabyte."""
    hive = MadeHive()
    count = 200_000
    values = hive.places([hive.value("Large", b"\0a" * 500_000)] * count)
    place = NONE
    for name in ("CurrentVersion", "Windows NT", "Microsoft"):
        place = hive.places([hive.key(name, place, values, count)], b"li")
    others = [hive.key(name, NONE, values, count) for name in ("Select", "MountedDevices")]
    both = hive.places([place, hive.places(others, b"li")], b"ri")
    return hive.file(hive.key("root", both, values, count))


def within_itself() -> bytes:
    """Return a hive whose root key is its own only key, under each name that is looked for first."""
    hive = MadeHive()
    place = hive.cell(bytes(76 + len("Microsoft")))
    keys = hive.places([place], b"li")
    made = MadeHive()
    made.key("Microsoft", keys)
    whole = hive.file(place)
    key = made.file(0)[_BASE_BYTES:]
    return whole[:_BASE_BYTES] + key + whole[_BASE_BYTES + len(key) :]
