"""mount(8) and umount(8) without a process: their library, called from here; a process costs more than a mount."""

import os
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import ctypes

_DONE: Final = 1


def mounted(device: str, target: bytes, options: str, vfstype: str) -> bool:
    """Mount as mount(8) would, but for filesystems that need a helper; tell whether that succeeded.

    Nothing is said of why not: mount(8), asked next, knows the words.

    Args:
        device: the path of a block device.
        target: the mount point.
        options: as for ``mount -o``.
        vfstype: empty to find out.
    """
    values = {"source": os.fsencode(device), "target": target, "options": os.fsencode(options)}
    if vfstype:
        values["fstype"] = vfstype.encode()
    if any(b"\0" in value for value in values.values()):
        return False  # C would cut there, and lose options that stand behind
    return _done("mount", values)


def unmounted(target: bytes) -> bool:
    """Unmount as umount(8) would, but for filesystems that need a helper; tell whether that succeeded."""
    return _done("umount", {"target": target})


def _done(action: str, values: Mapping[str, bytes]) -> bool:
    try:
        library = _library()
    except OSError:
        return False
    context = library.mnt_new_context()
    if not context:
        return False
    try:
        failed = library.mnt_context_disable_helpers(context, 1)
        for name, value in values.items():  # without one of its options a mount must not go ahead
            failed = failed or getattr(library, f"mnt_context_set_{name}")(context, value)
        if failed or getattr(library, f"mnt_context_{action}")(context):
            return False
        return bool(library.mnt_context_get_status(context) == _DONE)
    finally:
        library.mnt_free_context(context)


@cache
def _library() -> "ctypes.CDLL":
    """Return libmount (util-linux: libmount/src/libmount.h.in)."""
    import ctypes  # too slow to import at each boot

    library = ctypes.CDLL("libmount.so.1")
    library.mnt_new_context.restype = ctypes.c_void_p
    library.mnt_free_context.argtypes = [ctypes.c_void_p]
    library.mnt_context_disable_helpers.argtypes = [ctypes.c_void_p, ctypes.c_int]
    for name in ("source", "target", "options", "fstype"):
        getattr(library, f"mnt_context_set_{name}").argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    for name in ("mount", "umount", "get_status"):
        getattr(library, f"mnt_context_{name}").argtypes = [ctypes.c_void_p]
    return library
