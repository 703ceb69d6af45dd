"""Room on the host for images that grow as they are written to.

A guest's kernel cannot tell a full host from a broken disk: it finds out when it writes back what programs have long
been told is written, ext4 gives its journal up, and everything answers EIO. So the writer is told ENOSPC before the
last room is taken, while the guest can still write out what it has.
"""

import errno
import os
import stat
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final

import pyfuse3
import trio

MARGIN_BYTES: Final = 32 << 20
"""What is always left: for journals, metadata, and the image's own tables."""
_CLUSTER_BYTES: Final = 64 << 10
"""What a write takes of a qcow2 image at least."""

_GROWING: Final = (
    b"QFI\xfb",
    b"QED\0",
    b"KDMV",
    b"COWD",
    b"<<< ",
    b"conectix",
    b"vhdxfile",
    b"WithoutFreeSpace",
    b"WithouFreSpacExt",
)
"""How images of formats that grow begin: qcow2, qed, vmdk, vdi, vpc, vhdx, parallels.
A raw one that does too is watched in vain."""
_MAGIC_BYTES: Final = 16


class HostSpace:
    """Counts what the guest may have to write out still, and compares it with what the host has left.

    Args:
        images: what is written to.
        flush: has the guest write out all it was given.
    """

    def __init__(self, images: Iterable[Path], flush: Callable[[], Awaitable[None]]) -> None:
        self._places: Final = tuple(
            {path.stat().st_dev: path.resolve().parent for path in images if can_grow(path)}.values()
        )
        self._flush: Final = flush
        self._given_bytes = 0
        self._flushing = trio.Lock()

    async def take(self, count: int) -> None:
        """Make sure that the host has room for a change.

        Args:
            count: its bytes; 0 for one of names or attributes.

        Raises:
            FUSEError: it has not, with ENOSPC.
        """
        wanted = _clusters_bytes(count)
        while not self.take_now(count):
            if self._free_bytes() - wanted < MARGIN_BYTES or not self._given_bytes:
                raise pyfuse3.FUSEError(errno.ENOSPC)
            given = self._given_bytes
            async with self._flushing:
                if self._given_bytes >= given:  # nobody else did meanwhile
                    await self._flush()
                    self._given_bytes = max(0, self._given_bytes - given)

    def take_now(self, count: int) -> bool:
        """Do what ``take`` does, if the guest need not write anything out for that; tell whether it was done."""
        if not self._places:
            return True
        wanted = _clusters_bytes(count)
        if self._free_bytes() - self._given_bytes - wanted < MARGIN_BYTES:
            return False
        self._given_bytes += wanted
        return True

    def _free_bytes(self) -> int:
        found = [os.statvfs(place) for place in self._places]
        return min(each.f_bavail * each.f_frsize for each in found)


def _clusters_bytes(count: int) -> int:
    return -(-(count or 1) // _CLUSTER_BYTES) * _CLUSTER_BYTES


def can_grow(image: Path) -> bool:
    """Tell whether writing to an image may take room of the host's: it is no device, and not all allocated."""
    info = image.stat()
    if not stat.S_ISREG(info.st_mode):
        return False
    with image.open("rb") as file:
        is_raw = not file.read(_MAGIC_BYTES).startswith(_GROWING)
    return not is_raw or info.st_blocks * 512 < info.st_size
