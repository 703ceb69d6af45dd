"""What a qcow2 header says, read without trusting it (qemu: docs/interop/qcow2.txt)."""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from rpc.errors import DriveError

MAGIC: Final = b"QFI\xfb"
_HEADER: Final = struct.Struct(">4sIQIIQIIQQIIQQQQII")
_DATA_FILE_BIT: Final = 1 << 2
_TABLE_MAX_BYTES: Final = 8 << 20
"""The longest refcount table that qemu accepts."""
_OFFSET_MASK: Final = (1 << 56) - (1 << 9)
_CLUSTER_BITS: Final = 16
_PER_L1_ENTRY_BYTES: Final = (1 << _CLUSTER_BITS) * ((1 << _CLUSTER_BITS) // 8)
_L1_MAX_BYTES: Final = 32 << 20
"""The longest L1 table that qemu accepts (block/qcow2.h)."""
DISK_MAX_BYTES: Final = _L1_MAX_BYTES // 8 * _PER_L1_ENTRY_BYTES
"""The largest disk that an overlay can be made for, 2 PiB."""


@dataclass(frozen=True, slots=True)
class Qcow2Header:
    """The fields that matter here, checked for plausibility."""

    refers_elsewhere: bool
    """It names a backing file or an external data file."""
    has_data_file: bool
    """Its clusters are in another file."""
    encryption: int
    """0 for none, 1 for AES, 2 for LUKS."""
    cluster_bits: int
    refcount_table_offset: int
    refcount_table_bytes: int
    refcount_bits: int

    @property
    def is_encrypted(self) -> bool:
        """Tell whether its clusters are."""
        return self.encryption != 0


def empty_image(size_bytes: int) -> tuple[bytes, int]:
    """Return how a qcow2 image of a disk of this size begins, and the length of the file, the rest of which is zeros.

    The disk is all zeros, or its backing file's.

    Args:
        size_bytes: at most ``DISK_MAX_BYTES``.
    """
    cluster_bits, cluster_bytes = _CLUSTER_BITS, 1 << _CLUSTER_BITS
    l1_entries = max(1, -(-size_bytes // _PER_L1_ENTRY_BYTES))
    l1_clusters = -(-l1_entries * 8 // cluster_bytes)
    table, block, l1 = (cluster_bytes * index for index in (1, 2, 3))
    header = _HEADER.pack(
        *(MAGIC, 3, 0, 0, cluster_bits, size_bytes, 0, l1_entries, l1, table, 1, 0, 0),
        *(0, 0, 0, 4, _HEADER.size),  # features; refcounts of 16 bits
    )
    refcounts = struct.pack(">H", 1) * (3 + l1_clusters)
    clusters = (header, struct.pack(">Q", block), refcounts)
    start = b"".join(part.ljust(cluster_bytes, b"\0") for part in clusters)
    return start, len(start) + l1_clusters * cluster_bytes


def read_header(path: Path) -> Qcow2Header:
    """Return a qcow2 image's header.

    Raises:
        DriveError: it is cut short or makes no sense.
    """
    with path.open("rb") as file:
        data = file.read(_HEADER.size)
    if len(data) < _HEADER.size:
        raise DriveError(f"{path}: truncated qcow2 image: even its header is cut short: copy the image again")
    fields = _HEADER.unpack(data)
    version, backing_offset, cluster_bits, table_offset, table_clusters = (fields[i] for i in (1, 2, 4, 9, 10))
    incompatible = fields[13] if version >= 3 else 0
    refcount_order = fields[16] if version >= 3 else 4
    plausible = version in (2, 3) and 9 <= cluster_bits <= 21 and refcount_order <= 6
    if not plausible or table_clusters << cluster_bits > _TABLE_MAX_BYTES:
        raise DriveError(f"{path}: damaged qcow2 header: run 'qemu-img check' on it")
    return Qcow2Header(
        refers_elsewhere=backing_offset != 0 or bool(incompatible & _DATA_FILE_BIT),
        has_data_file=bool(incompatible & _DATA_FILE_BIT),
        encryption=fields[6],
        cluster_bits=cluster_bits,
        refcount_table_offset=table_offset,
        refcount_table_bytes=table_clusters << cluster_bits,
        refcount_bits=1 << refcount_order,
    )


def check_complete(path: Path, header: Qcow2Header) -> None:
    """Insist that the file reaches into the last cluster that the refcounts say is in use.

    It may rightly end inside that cluster, so a loss of less than a cluster cannot be seen.

    Raises:
        DriveError: it does not, so it was truncated.
    """
    with path.open("rb") as file:
        size_bytes = file.seek(0, os.SEEK_END)
        end = _highest_used_offset(file, header, size_bytes)
    if end is None or end >= size_bytes:
        raise DriveError(f"{path}: truncated qcow2 image: it ends at byte {size_bytes}, in use is more: copy it again")


def _highest_used_offset(file: BinaryIO, header: Qcow2Header, size_bytes: int) -> int | None:
    """Return where the highest cluster in use begins; None if the file is too short to tell."""
    if header.refcount_table_offset + header.refcount_table_bytes > size_bytes:
        return None
    file.seek(header.refcount_table_offset)
    table = file.read(header.refcount_table_bytes)
    for index in range(len(table) // 8 - 1, -1, -1):
        block_offset = int.from_bytes(table[index * 8 : index * 8 + 8], "big") & _OFFSET_MASK
        if not block_offset:
            continue
        file.seek(block_offset)
        block = file.read(1 << header.cluster_bits)
        used_bytes = len(block.rstrip(b"\0"))
        if len(block) < 1 << header.cluster_bits:
            return None
        if used_bytes:
            entries = (1 << header.cluster_bits) * 8 // header.refcount_bits
            last_bit = (
                (used_bytes - 1) * 8 + block[used_bytes - 1].bit_length() - 1
            )  # entries below a byte: low bits first
            cluster = index * entries + last_bit // header.refcount_bits
            return cluster << header.cluster_bits
    return 0
