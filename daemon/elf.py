"""Which processor a program is for."""

import os
from collections.abc import Iterable
from typing import Final

from daemon.guest_view import GuestView
from daemon.unknown_system import UNKNOWN

_ELF: Final = {
    2: "sparc",
    3: "i386",
    8: "mips",
    20: "ppc",
    21: "ppc64",
    22: "s390x",
    40: "arm",
    43: "sparc64",
    50: "ia64",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
    258: "loongarch64",
}
"""``e_machine`` of an ELF file (elf(5)) and libguestfs's name of the architecture."""
_LITTLE: Final = 1
"""``EI_DATA``: least significant byte first."""
_PE: Final = {0x14C: "i386", 0x8664: "x86_64", 0x1C4: "arm", 0xAA64: "aarch64"}
"""``Machine`` of a PE file (Microsoft's PE format)."""


def arch_of(view: GuestView, programs: Iterable[bytes]) -> str:
    """Return the architecture of the first of some programs that has one."""
    for path in programs:
        with view.opened(path) as descriptor:
            found = _arch(descriptor) if descriptor is not None else None
        if found:
            return found
    return UNKNOWN


def _arch(descriptor: int) -> str | None:
    try:
        header = os.pread(descriptor, 64, 0)
        if header[:4] == b"\x7fELF" and len(header) >= 20:
            name = _ELF.get(int.from_bytes(header[18:20], "little" if header[5] == _LITTLE else "big"))
            return "ppc64le" if name == "ppc64" and header[5] == _LITTLE else name
        if header[:2] == b"MZ" and len(header) == 64:
            place = int.from_bytes(header[60:64], "little")
            header = os.pread(descriptor, 6, place)
            return _PE.get(int.from_bytes(header[4:6], "little")) if header[:4] == b"PE\0\0" else None
    except OSError:
        pass
    return None
