"""Where btrfs keeps the data: its chunk tree, read from the kernel, maps logical addresses to devices."""

import os
from collections.abc import Iterator
from errno import ENODEV
from fcntl import ioctl
from struct import Struct
from typing import Final, NamedTuple

from daemon.stacks import NotMappableError

_TREE_SEARCH: Final = 0xD0009411
_DEV_INFO: Final = 0xD000941E
_GET_FEATURES: Final = 0x80189439
"""BTRFS_IOC_TREE_SEARCH, _DEV_INFO and _GET_FEATURES of Linux (linux/btrfs.h, linux/btrfs_tree.h)."""
_ARGUMENT_BYTES: Final = 4096
_SEARCH: Final = Struct("=7Q4I32x")
"""struct btrfs_ioctl_search_key: tree, objectids, offsets, transactions, types, how many."""
_FOUND: Final = Struct("=QQQII")
"""struct btrfs_ioctl_search_header: transaction, objectid, offset, type, length."""
_CHUNK: Final = Struct("<QQQQIIIHH")
"""struct btrfs_chunk: length, owner, stripe length, type, alignment, width, sector size, stripes, sub-stripes."""
_STRIPE: Final = Struct("<QQ16s")
"""struct btrfs_stripe: device, offset, UUID of the device."""
_CHUNK_TREE: Final = 3
_FIRST_CHUNK_TREE: Final = 256
_CHUNK_ITEM: Final = 228
_NO_LIMIT: Final = (1 << 64) - 1
_PATH_OFFSET: Final = 3072
_DATA: Final = 1 << 0
_PROFILE: Final = ((1 << 11) - 1) & ~((1 << 3) - 1)
_DUP: Final = 1 << 5
_PROFILE_NAMES: Final = {3: "RAID0", 4: "RAID1", 6: "RAID10", 7: "RAID5", 8: "RAID6", 9: "RAID1C3", 10: "RAID1C4"}
_STRIPES: Final = {0: 1, _DUP: 2}
"""How many copies a chunk has: single or DUP. Those of RAID1 may differ, if a device was away for a time."""
_KNOWN_FEATURES: Final = (1 << 12) - 1 | 1 << 16
"""All incompatible features before zones, and simple quotas: none of them moves data."""


class Chunk(NamedTuple):
    """Data addresses that lie in one piece on a device, in bytes; ``number`` is the device's ``MAJOR:MINOR``."""

    start: int
    size_bytes: int
    number: str
    offset: int


def data_chunks(directory: int) -> Iterator[Chunk]:
    """Yield the chunks that hold data, in the order of their addresses.

    Args:
        directory: an open directory of the filesystem.

    Raises:
        NotMappableError: one of them is not whole on one device, or the filesystem has features that we do not know.
    """
    features = bytearray(24)
    ioctl(directory, _GET_FEATURES, features)
    unknown = int.from_bytes(features[16:], "little") & ~_KNOWN_FEATURES
    if unknown:
        raise NotMappableError(f"btrfs with features that are not known here (0x{unknown:x})")
    numbers: dict[int, str] = {}
    for start, item in _chunk_items(directory):
        size_bytes, _, _, kind, _, _, _, stripe_count, _ = _CHUNK.unpack_from(item)
        if not kind & _DATA:
            continue
        profile = kind & _PROFILE
        if _STRIPES.get(profile) != stripe_count:
            name = _PROFILE_NAMES.get(profile.bit_length() - 1, f"profile 0x{profile:x}")
            raise NotMappableError(f"btrfs keeps data as {name}")
        device, offset, _ = _STRIPE.unpack_from(item, _CHUNK.size)
        if device not in numbers:
            numbers[device] = _device_number(directory, device)
        yield Chunk(start, size_bytes, numbers[device], offset)


def _chunk_items(directory: int) -> Iterator[tuple[int, bytes]]:
    """Yield address and item of every chunk."""
    start = 0
    while start <= _NO_LIMIT:
        argument = bytearray(_ARGUMENT_BYTES)
        tree = (_CHUNK_TREE, _FIRST_CHUNK_TREE, _FIRST_CHUNK_TREE)
        most = _ARGUMENT_BYTES
        _SEARCH.pack_into(argument, 0, *tree, start, _NO_LIMIT, 0, _NO_LIMIT, _CHUNK_ITEM, _CHUNK_ITEM, most, 0)
        ioctl(directory, _TREE_SEARCH, argument)
        count = _SEARCH.unpack_from(argument)[9]
        if not count:
            return
        place = _SEARCH.size
        for _ in range(count):
            _, _, start, _, size_bytes = _FOUND.unpack_from(argument, place)
            place += _FOUND.size
            yield start, bytes(argument[place : place + size_bytes])
            place += size_bytes
        start += 1


def _device_number(directory: int, device: int) -> str:
    """Return ``MAJOR:MINOR`` of a device of the filesystem."""
    argument = bytearray(_ARGUMENT_BYTES)
    argument[:8] = device.to_bytes(8, "little")
    try:
        ioctl(directory, _DEV_INFO, argument)
        path = bytes(argument[_PATH_OFFSET:]).partition(b"\0")[0]
        number = os.stat(path).st_rdev
    except OSError as exc:
        if exc.errno != ENODEV and not isinstance(exc, FileNotFoundError):
            raise
        raise NotMappableError(f"device {device} of the btrfs is missing") from exc
    return f"{os.major(number)}:{os.minor(number)}"
