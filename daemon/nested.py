"""Partitions inside volumes and decrypted devices: Linux itself makes devices of those of disks and arrays only."""

import os
import sys
from typing import Final

from daemon.command import lines_of, run
from daemon.devices import mapping_of, wire_name
from daemon.session import CallError

_SYS_BLOCK: Final = "/sys/block"
_MARK: Final = b"\x55\xaa"
_MARK_OFFSET: Final = 510
"""Where a DOS table ends, also the one that protects a GPT, and the boot sector of a FAT or NTFS."""
_NO_TABLE: Final = (0, 1)


def map_partitions() -> list[str]:
    """Make a device of each partition inside another mapping, named as kpartx(8) names it; return the new ones."""
    new = []
    for name in sorted(os.listdir(_SYS_BLOCK)):
        if name.startswith("dm-"):
            try:
                new += _mapped(name)
            except (OSError, CallError) as exc:  # one bad table must not hide the others
                sys.stderr.write(f"guestfsd: partitions of {name}: {exc}\n")
    return new


def _mapped(node: str) -> list[str]:
    uuid, name = mapping_of(f"{_SYS_BLOCK}/{node}/dm")
    path = f"/dev/mapper/{name}"
    if uuid.startswith("part") or not os.path.exists(wire_name(path)) or not _has_mark(path):  # no parts of volumes
        return []
    with open(f"{_SYS_BLOCK}/{node}/dev") as number, open(f"{_SYS_BLOCK}/{node}/ro") as read_only:
        device = number.read().strip()
        flags = ["--readonly"] if read_only.read().strip() == "1" else []
    words = ["partx", "--raw", "--noheadings", "--output", "NR,START,SECTORS", "--", path]
    new = []
    for line in lines_of(words, accept=_NO_TABLE):
        number_of, start, sectors = line.split()
        part = f"{name}{'p' if name[-1].isdigit() else ''}{number_of}"
        if not os.path.exists(f"/dev/mapper/{part}"):
            table = f"0 {int(sectors)} linear {device} {int(start)}"
            identity = ["--uuid", f"part{int(number_of)}-{uuid}"]
            run(["dmsetup", "create", "--noudevsync", "--verifyudev", *flags, *identity, "--table", table, part])
            new.append(f"/dev/mapper/{part}")
    return new


def _has_mark(path: str) -> bool:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, len(_MARK), _MARK_OFFSET) == _MARK
    finally:
        os.close(descriptor)
