"""Writing a device: whoever does it may have changed what partitions it has."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import ioctl
from typing import Final

_BLKRRPART: Final = 0x125F
"""Have the kernel read the partition table again (linux/fs.h)."""


@contextmanager
def device_to_write(path: str) -> Iterator[int]:
    """Own a descriptor to write a device; then the kernel reads its partition table, as udev has it do elsewhere."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        read_partitions_again(descriptor)
        os.close(descriptor)


def read_partitions_again(descriptor: int) -> None:
    """Have the kernel read a disk's partition table, if it can.

    A table in use stays as it is, and what is no whole disk has none. What goes wrong besides is for the next one to
    say who reads the disk: the call that wrote it has errors of its own to tell.
    """
    with suppress(OSError):
        ioctl(descriptor, _BLKRRPART)
