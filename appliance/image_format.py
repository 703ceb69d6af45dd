"""What format an image is, by the magic numbers in it; nothing that it names is opened."""

import os
import re
from pathlib import Path
from typing import Final

from appliance.qcow2 import MAGIC
from rpc.errors import DriveError

FORMATS: Final = ("raw", "qcow2", "qcow", "qed", "vmdk", "vdi", "vhdx", "vpc", "parallels", "dmg", "cloop", "bochs")
"""What qemu reads."""
CHAINED: Final = ("qcow2", "qcow", "qed", "vmdk")
"""What may have a backing file."""
PROBED_BYTES: Final = 64 * 1024
_SECTOR_BYTES: Final = 512
_MAGICS: Final = (
    *((0, MAGIC + b"\0\0\0\1", "qcow"), (0, MAGIC, "qcow2"), (0, b"QED\0", "qed"), (0, b"KDMV", "vmdk")),
    *((0, b"COWD", "vmdk"), (0, b"vhdxfile", "vhdx"), (0x40, b"\x7f\x10\xda\xbe", "vdi"), (0, b"conectix", "vpc")),
    *((0, b"# Disk Descriptor", "vmdk"), (0, b"WithoutFreeSpace", "parallels"), (0, b"WithouFreSpacExt", "parallels")),
)
_TRAILERS: Final = ((b"conectix", "vpc"), (b"koly", "dmg"))
"""In the last sector."""
_EXTENT: Final = re.compile(rb'(?:RW|RDONLY|NOACCESS) +\d+ +[A-Z]+ +"[\w .()+-]+"(?: +\d+)?')
_EXTENT_WORDS: Final = (b"RW", b"RDONLY", b"NOACCESS")


def guess_format(path: Path, name: str = "") -> str:
    """Return the format of an image; one that has no magic number is raw, if it can be a disk at all.

    Args:
        path: the file.
        name: what to call it in errors, if not by its path.

    Raises:
        DriveError: it is no disk image, or names other files.
    """
    name = name or str(path)
    with path.open("rb") as file:
        start = file.read(PROBED_BYTES)
        size_bytes = file.seek(0, os.SEEK_END)
        file.seek(max(0, size_bytes - _SECTOR_BYTES))
        end = file.read(_SECTOR_BYTES)
    for offset, magic, kind in _MAGICS:
        if start[offset : offset + len(magic)] == magic:
            if not _stands_alone(path, kind, start):
                raise refers_elsewhere(name, kind)
            return kind
    for magic, kind in _TRAILERS:
        if end.startswith(magic):
            return kind
    if size_bytes % _SECTOR_BYTES:
        raise DriveError(
            f"{name}: not a disk image: no known format, and {size_bytes} bytes are no whole number of sectors: "
            "pass --format=raw before -a if it is a disk all the same"
        )
    return "raw"


def refers_elsewhere(name: str, kind: str) -> DriveError:
    """Return the error of an image that names other files though its format was only guessed."""
    return DriveError(
        f"{name}: this {kind} image names other files (such as a backing file), and a guest could have written that: "
        f"pass --format={kind} if you trust it"
    )


def _stands_alone(path: Path, kind: str, start: bytes) -> bool:
    """Tell whether an image names no other file; of a qcow2 image its header tells later."""
    if kind == "vmdk":
        return _is_single_vmdk(path, start) or is_descriptor(path)
    if kind == "qcow":
        return not any(start[8:16])  # backing_file_offset
    return kind != "qed" or not start[16] & 1  # QED_F_BACKING_FILE


def _is_single_vmdk(path: Path, start: bytes) -> bool:
    """Tell whether a VMDK is one file without a parent or extents elsewhere (VMware: Virtual Disk Format 1.1).

    qemu's own reading is what counts: without a capacity the descriptor's extents are opened, whatever its type; the
    parent's name is looked for in 20 sectors from sector 1, wherever the descriptor is (block/vmdk.c).
    """
    if not start.startswith(b"KDMV") or not any(start[12:20]):
        return False
    sector, sectors = (int.from_bytes(start[at : at + 8], "little") for at in (28, 36))
    with path.open("rb") as file:
        file.seek(min(sector, 1 << 40) * _SECTOR_BYTES)
        descriptor = file.read(min(sectors, 2048) * _SECTOR_BYTES).lower()
    single = b'createtype="monolithicsparse"' in descriptor or b'createtype="streamoptimized"' in descriptor
    parents = descriptor + start[_SECTOR_BYTES : 21 * _SECTOR_BYTES].lower()
    return single and _has_no_parent(descriptor, parents)


def is_descriptor(path: Path) -> bool:
    """Tell whether this is the text of a VMDK whose extents lie beside it.

    No guest can have written that: what it writes is a disk, which is longer than such a text.
    """
    with path.open("rb") as file:
        start = file.read(PROBED_BYTES)
    text = start.rstrip(b"\0")  # qemu-img fills a sector with them
    lines = [line.strip() for line in text.split(b"\n")]
    extents = [line for line in lines if line.startswith(_EXTENT_WORDS)]
    short = len(start) < PROBED_BYTES and b"\0" not in text and text.startswith(b"# Disk Descriptor")
    plain = bool(extents) and all(_EXTENT.fullmatch(line) for line in extents)
    return short and plain and _has_no_parent(text.lower(), text.lower())


def _has_no_parent(descriptor: bytes, hints: bytes) -> bool:
    return b"parentfilenamehint" not in hints and b"parentcid=ffffffff" in descriptor.replace(b" ", b"")
