"""guestfsd in a guest whose only drive is a loop device of this machine; it lies about files named ``lie-…``.

DRIVE=loop7 is its name here, DRIVE_BYTES=N where it ends, which is where the lies lead to.
"""

import os
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Final

from daemon import device_map, extents
from daemon.__main__ import main

_SLOT_BYTES: Final = 88
_PHYSICAL: Final = 32 + 8
"""The first extent's physical address in struct fiemap (linux/fiemap.h)."""
_END: Final = int(os.environ["DRIVE_BYTES"])
_LIES: Final = {"lie-behind": _END, "lie-across": _END - 4096, "lie-far": 1 << 50}


_names: Final[dict[int, bytes]] = {}


def _noting(opened: Callable[[Sequence[bytes]], list[int]]) -> Callable[[Sequence[bytes]], list[int]]:
    def note(names: Sequence[bytes]) -> list[int]:
        found = opened(names)
        _names.update(zip(found, names, strict=True))
        return found

    return note


def _lying(fiemap: extents.Fiemap) -> extents.Fiemap:
    def call(descriptor: int, request: int, index: int) -> int:
        status: int = fiemap.call(descriptor, request, fiemap.slots[index])
        end = _LIES.get(os.fsdecode(_names[descriptor]))
        if end is not None:
            struct.pack_into("=Q", fiemap.data, index * _SLOT_BYTES + _PHYSICAL, end)
        return status

    return fiemap._replace(call=call, slots=range(len(fiemap.slots)))


if __name__ == "__main__":
    truth = extents.fiemap()
    vars(extents).update(fiemap=lambda: _lying(truth), _opened=_noting(extents._opened))
    vars(device_map).update(labelled_disks=lambda: {"drive0": os.environ["DRIVE"]})
    sys.exit(main(sys.argv[1:]))
