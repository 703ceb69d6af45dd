"""Whether an image may be written to: by its permissions, and by the locks of those who have it open."""

import errno
import fcntl
import os
import struct
from pathlib import Path
from typing import Final

from rpc.errors import DriveError

_FLOCK: Final = struct.Struct("@hhqqi4x")
"""struct flock of a 64-bit Linux: type, whence, start, length, process."""
_LOCKED_AT: Final = 100
_LOCKED_BYTES: Final = 200
"""qemu and its tools lock bytes 100 to 299 by what they do with an image and what they allow others (qemu:
block/file-posix.c, RAW_LOCK_PERM_BASE and RAW_LOCK_SHARED_BASE)."""


def check_writable(path: Path) -> None:
    """Insist that an image can be written to and that no other process has it open, as far as its locks tell.

    Raises:
        DriveError: it cannot, or one has.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as exc:
        if exc.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise DriveError(f"{path}: cannot be written to: {exc.strerror}: --ro only reads it") from exc
        raise DriveError(f"{path}: cannot be opened for writing: {exc.strerror}: --ro only reads it") from exc
    try:
        if _is_locked(descriptor):
            users = users_of(path)
            who = f" by process {', '.join(map(str, users))}" if users else ""
            raise DriveError(f"{path}: is in use{who}: shut that down first, or use --ro")
    finally:
        os.close(descriptor)


def _is_locked(descriptor: int) -> bool:
    wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _LOCKED_AT, _LOCKED_BYTES, 0)
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, wanted)
    except OSError:  # a filesystem without locks: qemu cannot tell either
        return False
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)


def users_of(path: Path) -> list[int]:
    """Return the processes that have a file open, as far as they can be seen: such locks do not tell whose they are."""
    wanted = path.stat()
    directories = [each for each in Path("/proc").glob("[0-9]*/fd") if each.parent.name != str(os.getpid())]
    return sorted(int(each.parent.name) for each in directories if _has_open(each, wanted))


def _has_open(directory: Path, wanted: os.stat_result) -> bool:
    try:
        return any(_is_same(entry, wanted) for entry in directory.iterdir())
    except OSError:  # somebody else's process, or one that has ended
        return False


def _is_same(path: Path, wanted: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), wanted)
    except OSError:
        return False
