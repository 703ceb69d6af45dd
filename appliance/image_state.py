"""What a file of an image was when it was looked at, to tell later whether anybody has changed it."""

import os
import stat
from pathlib import Path
from typing import NamedTuple

from rpc.errors import DriveError


class ImageState(NamedTuple):
    """A file, or a block device, at one moment.

    Attributes:
        path: its name then.
        identity: the file itself, whatever its name: device and inode; of a block device its own number.
        size_bytes: its length.
        modified_ns: when it was last modified; None of a block device, whose node does not tell.
    """

    path: Path
    identity: tuple[int, int]
    size_bytes: int
    modified_ns: int | None

    def change(self, now: "ImageState") -> str | None:
        """Return what happened until now, None for nothing that can be seen."""
        if now.identity != self.identity:
            return f"{self.path} is another file than it was"
        return None if now[2:] == self[2:] else f"{self.path} was written to"

    def loss(self, now: "ImageState") -> str | None:
        """Return by how much it has become shorter, None if it has not."""
        if now.identity != self.identity or now.size_bytes >= self.size_bytes:
            return None
        return f"{self.path}: it was truncated from {self.size_bytes} bytes to {now.size_bytes}"


def image_state(path: Path) -> ImageState:
    """Return the state of a file that is not open.

    Raises:
        DriveError: it cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as exc:
        raise DriveError(f"{path}: cannot be opened: {exc.strerror}") from exc
    try:
        return open_state(path, descriptor)
    finally:
        os.close(descriptor)


def open_state(path: Path, descriptor: int) -> ImageState:
    """Return the state of an open file, in two system calls at most.

    Raises:
        DriveError: it is neither a file nor a block device.
    """
    try:
        info = os.fstat(descriptor)
        if stat.S_ISREG(info.st_mode):
            return ImageState(path, (info.st_dev, info.st_ino), info.st_size, info.st_mtime_ns)
        if stat.S_ISBLK(info.st_mode):
            return ImageState(path, (0, info.st_rdev), os.lseek(descriptor, 0, os.SEEK_END), None)
    except OSError as exc:
        raise DriveError(f"{path}: cannot be looked at: {exc.strerror}") from exc
    raise DriveError(f"{path}: is neither a file nor a block device")
