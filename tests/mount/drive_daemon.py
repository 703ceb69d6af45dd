"""guestfsd in a guest whose only drive is a loop device of this machine; it lies about files named ``lie-…``.

DRIVE=loop7 is its name here, DRIVE_BYTES=N where it ends, which is where the lies lead to.
"""

import os
import struct
import sys
from fcntl import ioctl
from pathlib import Path
from typing import Final

from daemon import device_map, extents
from daemon.__main__ import main

_PHYSICAL: Final = 32 + 8
"""The first extent's physical address in struct fiemap (linux/fiemap.h)."""
_END: Final = int(os.environ["DRIVE_BYTES"])
_LIES: Final = {"lie-behind": _END, "lie-across": _END - 4096, "lie-far": 1 << 50}


def _lying_ioctl(descriptor: int, request: int, argument: bytearray) -> None:
    ioctl(descriptor, request, argument)
    name = Path(f"/proc/self/fd/{descriptor}").readlink().name
    if name in _LIES:
        struct.pack_into("=Q", argument, _PHYSICAL, _LIES[name])


if __name__ == "__main__":
    vars(extents).update(ioctl=_lying_ioctl)
    vars(device_map).update(labelled_disks=lambda: {"drive0": os.environ["DRIVE"]})
    sys.exit(main(sys.argv[1:]))
