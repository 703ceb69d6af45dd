"""What a block device is made of: which parts of which disks, if that can be said with offsets alone."""

import os
import re
from collections.abc import Iterator, Sequence
from fcntl import ioctl
from struct import Struct
from typing import Final, NamedTuple

_SECTOR_BYTES: Final = 512
"""Of sysfs and of device-mapper tables, whatever the disk's."""
_CONTROL: Final = "/dev/mapper/control"
_TABLE_STATUS: Final = 0xC138FD0C
_TABLE_FLAG: Final = 1 << 4
_BUFFER_FULL_FLAG: Final = 1 << 8
_REQUEST: Final = Struct("=3IIIIiIIIQ128s129s7x")
"""struct dm_ioctl of Linux (linux/dm-ioctl.h): version, sizes, counts, flags, event, padding, device, name, UUID."""
_TARGET: Final = Struct("=QQiI16s")
"""struct dm_target_spec: start, length, status, where the next one begins, type."""
_VERSION: Final = (4, 0, 0)
_BUFFER_BYTES: Final = 64 * 1024
_BUFFER_MAX_BYTES: Final = 16 << 20
_LEVELS_MAX: Final = 16
"""No deeper stack of devices is followed."""


class NotMappableError(Exception):
    """The bytes of a filesystem cannot be found on the disks by offsets alone; the text says why."""


class Part(NamedTuple):
    """Part of a disk, in bytes; ``disk`` is the kernel's name of it."""

    disk: str
    offset: int
    size_bytes: int


class Target(NamedTuple):
    """One line of a device-mapper table, in bytes."""

    start: int
    size_bytes: int
    kind: str
    parameters: str


def size_of(number: str) -> int:
    """Return the size of a block device, ``number`` being its ``MAJOR:MINOR``."""
    return int(_attribute(number, "size")) * _SECTOR_BYTES


class Stacks:
    """The devices of this machine, each looked at once: a btrfs may have thousands of chunks on one."""

    def __init__(self) -> None:
        self._known: dict[str, list[Part]] = {}

    def parts(self, number: str, levels: int = _LEVELS_MAX) -> list[Part]:
        """Return the parts of disks that a block device consists of, in order.

        Args:
            number: its ``MAJOR:MINOR``.
            levels: how many devices may stand on each other.

        Raises:
            NotMappableError: it is encrypted, striped, a RAID array, or anything else not made of whole parts.
        """
        if number not in self._known:
            self._known[number] = list(self._found(number, levels))
        return self._known[number]

    def _found(self, number: str, levels: int) -> Iterator[Part]:
        place = os.path.realpath(f"/sys/dev/block/{number}")
        name = os.path.basename(place)
        if not levels:
            raise NotMappableError(f"{name} stands on too many other devices")
        if os.path.exists(f"{place}/partition"):
            start = int(_attribute(number, "start")) * _SECTOR_BYTES
            with open(f"{os.path.dirname(place)}/dev") as file:
                whole = file.read().strip()
            yield from cut(self.parts(whole, levels - 1), start, size_of(number))
        elif os.path.isdir(f"{place}/dm"):
            yield from self._mapped(number, levels)
        elif os.path.isdir(f"{place}/md"):
            raise NotMappableError(f"{name} is a RAID array ({_attribute(number, 'md/level') or 'not started'})")
        elif os.path.isdir(f"{place}/slaves") and os.listdir(f"{place}/slaves"):
            raise NotMappableError(f"{name} is made of {', '.join(sorted(os.listdir(f'{place}/slaves')))}")
        else:
            yield Part(name, 0, size_of(number))

    def _mapped(self, number: str, levels: int) -> Iterator[Part]:
        """Yield the parts of a device-mapper device, all of whose targets must be linear."""
        name = _attribute(number, "dm/name")
        covered = 0
        for target in mapping_table(number):
            if target.kind != "linear":
                raise NotMappableError(f"{name} is mapped by {target.kind}")
            if target.start != covered:
                raise NotMappableError(f"the mapping table of {name} has a gap")
            covered += target.size_bytes
            below, start = _linear(name, target.parameters)
            yield from cut(self.parts(below, levels - 1), start, target.size_bytes)


def cut(parts: Sequence[Part], offset: int, size_bytes: int) -> Iterator[Part]:
    """Yield a range of a device that consists of some parts.

    Raises:
        NotMappableError: the device is too small for it.
    """
    start, end = 0, offset + size_bytes
    for disk, place, part_bytes in parts:
        first, last = max(offset, start), min(end, start + part_bytes)
        if first < last:
            yield Part(disk, place + first - start, last - first)
        start += part_bytes
    if not 0 <= offset <= end <= start:
        raise NotMappableError("a device is too small for what lies on it")


def _linear(name: str, parameters: str) -> tuple[str, int]:
    """Return ``MAJOR:MINOR`` and the offset in bytes that a linear target begins at."""
    match = re.fullmatch(r"(\d+:\d+) (\d+)", parameters)
    if match is None:
        raise NotMappableError(f"the mapping table of {name} cannot be read: {parameters}")
    return match[1], int(match[2]) * _SECTOR_BYTES


def mapping_table(number: str) -> list[Target]:
    """Return the live table of a device-mapper device, as ``dmsetup table`` shows it."""
    buffer = _table(os.makedev(*map(int, number.split(":"))))
    _, _, _, _, data_start, count, *_ = _REQUEST.unpack_from(buffer)
    targets = []
    offset = data_start
    for _ in range(count):
        start, length, _status, following, kind = _TARGET.unpack_from(buffer, offset)
        text = offset + _TARGET.size
        parameters = buffer[text : buffer.index(b"\0", text)].decode()
        kind_name = kind.partition(b"\0")[0].decode()
        targets.append(Target(start * _SECTOR_BYTES, length * _SECTOR_BYTES, kind_name, parameters))
        offset = data_start + following
    return targets


def _table(device: int) -> bytearray:
    size_bytes = _BUFFER_BYTES
    control = os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC)
    try:
        while size_bytes <= _BUFFER_MAX_BYTES:
            buffer = bytearray(size_bytes)
            flags = _TABLE_FLAG
            _REQUEST.pack_into(buffer, 0, *_VERSION, size_bytes, _REQUEST.size, 0, 0, flags, 0, 0, device, b"", b"")
            ioctl(control, _TABLE_STATUS, buffer)
            if not _REQUEST.unpack_from(buffer)[7] & _BUFFER_FULL_FLAG:
                return buffer
            size_bytes *= 4
    finally:
        os.close(control)
    raise NotMappableError("a mapping table is too long")


def _attribute(number: str, name: str) -> str:
    with open(f"/sys/dev/block/{number}/{name}") as file:
        return file.read().strip()
