"""blkid(8) without a process of its own: its library, called from here; a new process costs more than a look."""

import os
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import ctypes

_SUPERBLOCKS: Final = 1 << 1 | 1 << 3 | 1 << 5
"""BLKID_SUBLKS_LABEL, _UUID and _TYPE (util-linux: libblkid/src/blkid.h.in)."""
_PARTITION_DETAILS: Final = 1 << 2
"""BLKID_PARTS_ENTRY_DETAILS: the entry of the table that a partition is of."""
_FOUND: Final = 0


def probed(device: str) -> dict[str, str]:
    """Return what is on a block device, as ``blkid -p`` names it; empty for nothing, or several things at once.

    TYPE, LABEL, UUID, and PART_ENTRY_… of the partition table that it stands in.

    Raises:
        OSError: it cannot be opened.
    """
    import ctypes

    descriptor = os.open(device, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        library = _library()
        probe = library.blkid_new_probe()
        if not probe:
            return {}
        try:
            library.blkid_probe_set_superblocks_flags(probe, _SUPERBLOCKS)
            library.blkid_probe_enable_partitions(probe, 1)
            library.blkid_probe_set_partitions_flags(probe, _PARTITION_DETAILS)
            if library.blkid_probe_set_device(probe, descriptor, 0, 0) or library.blkid_do_safeprobe(probe) != _FOUND:
                return {}
            found = {}
            name, data = ctypes.c_char_p(), ctypes.c_char_p()
            for index in range(library.blkid_probe_numof_values(probe)):
                library.blkid_probe_get_value(probe, index, ctypes.byref(name), ctypes.byref(data), None)
                found[os.fsdecode(name.value or b"")] = os.fsdecode(data.value or b"")
            return found
        finally:
            library.blkid_free_probe(probe)
    finally:
        os.close(descriptor)


@cache
def _library() -> "ctypes.CDLL":
    """Return libblkid, which libmount brings along."""
    import ctypes  # too slow to import at each boot

    library = ctypes.CDLL("libblkid.so.1")
    pointer, number = ctypes.c_void_p, ctypes.c_int
    library.blkid_new_probe.restype = pointer
    library.blkid_probe_set_device.argtypes = [pointer, number, ctypes.c_int64, ctypes.c_int64]
    library.blkid_probe_get_value.argtypes = [pointer, number, pointer, pointer, pointer]
    for function in ("set_superblocks_flags", "set_partitions_flags", "enable_partitions"):
        getattr(library, f"blkid_probe_{function}").argtypes = [pointer, number]
    for function in ("blkid_free_probe", "blkid_do_safeprobe", "blkid_probe_numof_values"):
        getattr(library, function).argtypes = [pointer]
    return library
