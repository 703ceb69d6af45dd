"""NTFS as Windows leaves it when it has not finished: needs root and ntfs-3g. Facts: Linux, fs/ntfs3/ntfs.h."""

import os
from pathlib import Path
from struct import pack, pack_into, unpack_from
from typing import Final

from tests.guests.disk import mounted

_TABLES: Final = (48, 56)
"""Where the first sector tells the first clusters of the table of all files, and of its copy."""
_VOLUME_INFORMATION: Final = 0x70
_DATA: Final = 0x80


def hibernate(image: Path) -> None:
    """Leave what Windows writes when it hibernates, and when it is shut down with fast startup."""
    with mounted(image, "-t", "ntfs-3g", "-o", "loop") as root:
        (root / "hiberfil.sys").write_bytes(b"hibr".ljust(4096, b"\0"))


def mark_dirty(image: Path) -> None:
    """Set the flag, in the table of all files and in its copy."""
    with image.open("r+b") as file:
        head = file.read(512)
        for table in _TABLES:
            place, record = _record(file.fileno(), head, table, 3)
            attribute = _attribute(record, _VOLUME_INFORMATION)
            value = attribute + unpack_from("<H", record, attribute + 20)[0]
            os.pwrite(file.fileno(), b"\1", place + value + 10)


def leave_mounted(image: Path) -> None:
    """Write the first two pages of the journal as they are while somebody uses it: it has a client."""
    with image.open("r+b") as file:
        head = file.read(512)
        _, record = _record(file.fileno(), head, _TABLES[0], 2)
        attribute = _attribute(record, _DATA)
        (size_bytes,) = unpack_from("<Q", record, attribute + 48)
        run_list = record[attribute + unpack_from("<H", record, attribute + 32)[0] :]
        lengths, starts = run_list[0] & 15, run_list[0] >> 4
        start = int.from_bytes(run_list[1 + lengths : 1 + lengths + starts], "little") * _cluster_bytes(head)
        area = pack(
            "<q4HIHHq4I", 1, 1, 0xFFFF, 0, 0, 67 - size_bytes.bit_length(), 48 + 160, 48, size_bytes, 0, 0, 1, 0
        )
        client = pack("<qqHHH6xI8s", 0, 0, 0xFFFF, 0xFFFF, 0, 8, "NTFS".encode("utf-16-le"))
        header = pack("<4sHHqIIHhh", b"RSTR", 30, 9, 0, 4096, 4096, 48, 1, 1)
        page = bytearray((header.ljust(48, b"\0") + area + client).ljust(4096, b"\0"))
        for end in range(510, 4096, 512):  # of each sector, as the words at 30 say
            pack_into("<H", page, end, 1)
        pack_into("<H", page, 30, 1)
        os.pwrite(file.fileno(), page * 2, start)


def _cluster_bytes(head: bytes) -> int:
    sector_bytes, sectors = unpack_from("<HB", head, 11)
    return int(sector_bytes * sectors)


def _record(descriptor: int, head: bytes, table: int, number: int) -> tuple[int, bytes]:
    """Return where a record is, in a table of files whose cluster stands at some place of the first sector, and it."""
    place = unpack_from("<Q", head, table)[0] * _cluster_bytes(head) + number * 1024
    return place, os.pread(descriptor, 1024, place)


def _attribute(record: bytes, kind: int) -> int:
    place = int(unpack_from("<H", record, 20)[0])
    while unpack_from("<I", record, place)[0] != kind:
        place += unpack_from("<I", record, place + 4)[0]
    return place
