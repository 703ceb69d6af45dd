"""A small disk in every format there is, by the tools that make it."""

import base64
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.guests.cache import run

KEY: Final = "correct horse"
SNAPSHOT: Final = "before the flood"
_SECTOR_BYTES: Final = 512
_CHUNK_SECTORS: Final = 512
_TRIALS: Final = 5
"""qemu-img measures how fast it derives keys, and gives up about once in twenty times, for it cannot."""


def make_disk(directory: Path, size_mib: int = 8) -> Path:
    """Return a raw disk that is one ext4 filesystem, with a file whose bytes do not compress away."""
    tree = directory / "tree"
    (tree / "directory").mkdir(parents=True)
    for name in ("b", "c", "d"):
        (tree / name).mkdir()
    (tree / "directory" / "blob").write_bytes(bytes(random_bytes(1 << 20)))
    (tree / "text").write_text("hello\n")
    image = directory / "disk.img"
    run("mke2fs", "-q", "-t", "ext4", "-F", "-L", "root", "-d", tree, image, f"{size_mib}M")
    return image


def random_bytes(count: int) -> bytes:
    """Return the same bytes each time, which look like none."""
    import random

    return random.Random(7).randbytes(count)


def _converted(kind: str, options: str = "", suffix: str = "") -> Callable[[Path, Path], Path]:
    def make(disk: Path, directory: Path) -> Path:
        image = directory / f"image.{suffix or kind}"
        words = ("-o", options) if options else ()
        run("qemu-img", "convert", "-f", "raw", "-O", kind, *words, disk, image)
        return image

    return make


def _chained(disk: Path, directory: Path) -> Path:
    base, image = directory / "base.img", directory / "top.qcow2"
    base.write_bytes(disk.read_bytes())
    run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, image)
    return image


def _with_data_file(disk: Path, directory: Path) -> Path:
    image = directory / "image.qcow2"
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-o", f"data_file={directory / 'data.raw'}", disk, image)
    return image


def encrypted(disk: Path, directory: Path) -> Path:
    """Return a qcow2 image that is encrypted with ``KEY``."""
    image, key = directory / "secret.qcow2", directory / "key"
    key.write_text(KEY)
    command = (
        *("qemu-img", "convert", "--object", f"secret,id=s,file={key}", "-f", "raw", "-O", "qcow2"),
        *("-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=200", disk, image),
    )
    for _ in range(_TRIALS - 1):
        try:
            run(*command)
        except RuntimeError as exc:
            if "Unable to get accurate CPU usage" not in str(exc):
                raise
        else:
            return image
    run(*command)
    return image


def with_snapshot(disk: Path, directory: Path) -> Path:
    """Return a qcow2 image that is all zeros by now, and has the disk as an internal snapshot."""
    image = directory / "snapshots.qcow2"
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", disk, image)
    run("qemu-img", "snapshot", "-c", SNAPSHOT, image)
    run("qemu-io", "-f", "qcow2", "-c", f"write -z 0 {disk.stat().st_size}", image)
    return image


def split(disk: Path, directory: Path) -> Path:
    """Return the first part of a raw image in three."""
    whole = disk.read_bytes()
    third = len(whole) // 3 // _SECTOR_BYTES * _SECTOR_BYTES
    for number, part in enumerate((whole[:third], whole[third : 2 * third], whole[2 * third :]), 1):
        (directory / f"part.{number:03}").write_bytes(part)
    return directory / "part.001"


def _dmg(disk: Path, directory: Path) -> Path:
    """Make a UDIF image: chunks, a property list with one table of them, and a trailer (qemu: block/dmg.c)."""
    whole, image = disk.read_bytes(), directory / "image.dmg"
    data, entries = bytearray(), bytearray()
    for start in range(0, len(whole), _CHUNK_SECTORS * _SECTOR_BYTES):
        chunk = whole[start : start + _CHUNK_SECTORS * _SECTOR_BYTES]
        packed = zlib.compress(chunk)
        sectors = len(chunk) // _SECTOR_BYTES
        entries += struct.pack(">IIQQQQ", 0x80000005, 0, start // _SECTOR_BYTES, sectors, len(data), len(packed))
        data += packed
    entries += struct.pack(">IIQQQQ", 0xFFFFFFFF, 0, len(whole) // _SECTOR_BYTES, 0, len(data), 0)
    header = struct.pack(">4sIQQQ", b"mish", 1, 0, len(whole) // _SECTOR_BYTES, 0).ljust(200, b"\0")
    table = header + struct.pack(">I", len(entries) // 40) + entries
    text = base64.b64encode(table).decode()
    plist = f"<plist><dict><key>blkx</key><array><dict><data>{text}</data></dict></array></dict></plist>".encode()
    trailer = bytearray(_SECTOR_BYTES)
    struct.pack_into(">4sII", trailer, 0, b"koly", 4, _SECTOR_BYTES)
    struct.pack_into(">QQ", trailer, 0x18, 0, len(data))
    struct.pack_into(">QQ", trailer, 0xD8, len(data), len(plist))
    struct.pack_into(">Q", trailer, 0x1EC, len(whole) // _SECTOR_BYTES)
    image.write_bytes(bytes(data) + plist + bytes(trailer))
    return image


GUESSED: Final[Mapping[str, Callable[[Path, Path], Path]]] = {
    "raw": lambda disk, _directory: disk,
    "qcow2": _converted("qcow2"),
    "qcow2 version 2": _converted("qcow2", "compat=0.10"),
    "qcow": _converted("qcow"),
    "qed": _converted("qed"),
    "vmdk monolithicSparse": _converted("vmdk", "subformat=monolithicSparse"),
    "vmdk monolithicFlat": _converted("vmdk", "subformat=monolithicFlat"),
    "vmdk twoGbMaxExtentSparse": _converted("vmdk", "subformat=twoGbMaxExtentSparse"),
    "vmdk twoGbMaxExtentFlat": _converted("vmdk", "subformat=twoGbMaxExtentFlat"),
    "vmdk streamOptimized": _converted("vmdk", "subformat=streamOptimized"),
    "vdi": _converted("vdi"),
    "vdi static": _converted("vdi", "static=on"),
    "vpc dynamic": _converted("vpc", "subformat=dynamic,force_size=on"),
    "vpc fixed": _converted("vpc", "subformat=fixed,force_size=on"),
    "vhdx": _converted("vhdx"),
    "vhdx fixed": _converted("vhdx", "subformat=fixed"),
    "parallels": _converted("parallels"),
    "dmg": _dmg,
}
"""Formats that are found out."""
GIVEN: Final[Mapping[str, tuple[str, Callable[[Path, Path], Path]]]] = {
    "qcow2 chain": ("qcow2", _chained),
    "qcow2 data file": ("qcow2", _with_data_file),
    "raw in parts": ("split", split),
}
"""Formats that the user must name."""
