"""guestfsd in a guest whose only drive is a loop device of this machine; it lies about files named ``lie-…``.

DRIVE=loop7 is its name here, DRIVE_BYTES=N where it ends, which is where the lies lead to.
"""

import os
import struct
import sys
from pathlib import Path
from typing import Final

from daemon import device_map, extents
from daemon.__main__ import main

_SLOT_BYTES: Final = 88
_PHYSICAL: Final = 32 + 8
"""The first extent's physical address in struct fiemap (linux/fiemap.h)."""
_END: Final = int(os.environ["DRIVE_BYTES"])
_LIES: Final = {"lie-behind": _END, "lie-across": _END - 4096, "lie-far": 1 << 50}


def _lying(fiemap: extents.Fiemap) -> extents.Fiemap:
    def call(descriptor: int, request: int, index: int) -> int:
        status: int = fiemap.call(descriptor, request, fiemap.slots[index])
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        if name in _LIES:
            struct.pack_into("=Q", fiemap.data, index * _SLOT_BYTES + _PHYSICAL, _LIES[name])
        return status

    return fiemap._replace(call=call, slots=range(len(fiemap.slots)))


if __name__ == "__main__":
    truth = extents.fiemap()
    vars(extents).update(fiemap=lambda: _lying(truth))
    vars(device_map).update(labelled_disks=lambda: {"drive0": os.environ["DRIVE"]})
    sys.exit(main(sys.argv[1:]))
