"""statx(2) of many names at once: the kernel writes each ``struct statx`` where it is looked at or sent from."""

import os
from collections.abc import Sequence
from errno import EIO
from functools import cache
from itertools import repeat
from struct import Struct
from typing import Any, Final, NamedTuple

from rpc.constants import STATX_BYTES

NAMES_AT_ONCE: Final = 256
OWNERS: Final = Struct("=20xII")
"""stx_uid and stx_gid of a ``struct statx`` (linux/stat.h)."""
_AT_FDCWD: Final = -100
_AT_FLAGS: Final = 0x900
"""AT_SYMLINK_NOFOLLOW and AT_NO_AUTOMOUNT (linux/fcntl.h)."""
_AT_NO_AUTOMOUNT: Final = 0x800
_AT_EMPTY_PATH: Final = 0x1000
_STATX_BASIC_STATS: Final = 0x7FF


class Statx(NamedTuple):
    """The C library's statx(2) and where it writes, in the machine's byte order (linux/stat.h).

    Attributes:
        call: as ``call(directory, name, flags, mask, slot)``; 0, or -1 for an error.
        slots: where each name's ``struct statx`` goes.
        data: all slots.
        modes: of all slots, the stx_mode.
        sizes, devices: of all slots, the stx_size and the stx_dev as one number.
        attributes, known_attributes: of all slots, the stx_attributes and the stx_attributes_mask.
    """

    call: Any
    slots: Sequence[Any]
    data: memoryview
    modes: memoryview
    sizes: memoryview
    devices: memoryview
    attributes: memoryview
    known_attributes: memoryview

    def look(self, names: Sequence[bytes]) -> None:
        """Fill a slot for each name in the working directory, NAMES_AT_ONCE at most; all zeros for an error."""
        wanted = (repeat(_AT_FDCWD), names, repeat(_AT_FLAGS), repeat(_STATX_BASIC_STATS), self.slots)
        failed = list(map(self.call, *wanted))
        if any(failed):
            for index, status in enumerate(failed):
                if status:
                    self.data[index * STATX_BYTES : (index + 1) * STATX_BYTES] = bytes(STATX_BYTES)

    def one(self, target: int | bytes, *, follow: bool) -> bytes:
        """Return the ``struct statx`` of a descriptor, or of a path that ``os`` has taken before.

        Raises:
            OSError: as stat(2) fails.
        """
        if isinstance(target, int):
            failed = self.call(target, b"", _AT_EMPTY_PATH, _STATX_BASIC_STATS, self.slots[0])
        else:
            flags = _AT_NO_AUTOMOUNT if follow else _AT_FLAGS
            failed = self.call(_AT_FDCWD, target, flags, _STATX_BASIC_STATS, self.slots[0])
        if failed:
            os.stat(target, follow_symlinks=follow)
            raise OSError(EIO, os.strerror(EIO), target)  # which it did not the second time
        return self.data[:STATX_BYTES].tobytes()


@cache
def statx_buffer() -> Statx:
    """Return the slots that all calls share."""
    import ctypes  # too slow to import at each boot

    data = (ctypes.c_char * (STATX_BYTES * NAMES_AT_ONCE))()
    view = memoryview(data).cast("B")
    words = view.cast("Q")
    return Statx(
        ctypes.CDLL(None).statx,
        [ctypes.byref(data, STATX_BYTES * index) for index in range(NAMES_AT_ONCE)],
        view,
        view.cast("H")[0x1C // 2 :: STATX_BYTES // 2],
        words[0x28 // 8 :: STATX_BYTES // 8],
        words[0x88 // 8 :: STATX_BYTES // 8],
        words[0x08 // 8 :: STATX_BYTES // 8],
        words[0x38 // 8 :: STATX_BYTES // 8],
    )
