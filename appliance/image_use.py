"""Whether an image may be written to, who has it open, and keeping others from it: by its permissions and qemu's locks.

A process that holds permission n on an image has a lock of byte 100 + n; one that lets nobody else have permission n
has a lock of byte 200 + n. All are locks for reading; who comes later tries whether it could lock the opposite bytes
for writing (qemu: block/file-posix.c, RAW_LOCK_PERM_BASE; include/block/block-common.h, BLK_PERM_*).
"""

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rpc.errors import DriveError

READ: Final = 0
WRITE: Final = 1
RESIZE: Final = 3
_HELD: Final = range(100, 105)
_DENIED: Final = range(200, 205)
_OURS_AT: Final = 300
"""A byte that qemu knows nothing of: only one of us at a time works on an overlay."""
_FLOCK: Final = struct.Struct("@hhqqi4x")
"""struct flock of a 64-bit Linux: type, whence, start, length, process."""


@contextmanager
def denied(path: Path, *permissions: int, alone: bool = False) -> Iterator[None]:
    """Keep permissions on an image from everybody else for as long as the block runs.

    Args:
        path: a file or block device.
        permissions: of READ, WRITE and RESIZE.
        alone: no other block with ``alone`` may run on it at the same time; needs permission to write to the file.

    Raises:
        DriveError: another process has one of them, or the image cannot be opened or locked.
    """
    with _opened(path, os.O_RDWR if alone else os.O_RDONLY) as descriptor:
        if alone:
            _take(descriptor, path, fcntl.F_WRLCK, _OURS_AT)
        for permission in permissions:
            _take(descriptor, path, fcntl.F_RDLCK, _DENIED[permission])
        if any(_is_locked(descriptor, _HELD[permission]) for permission in permissions):
            raise _in_use(path)
        yield


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
    os.close(descriptor)
    check_unused(path, ", or use --ro")


def check_unused(path: Path, advice: str = "") -> None:
    """Insist that no qemu has an image open, be it for reading alone.

    Args:
        path: a file or block device.
        advice: what else to do but to end that.

    Raises:
        DriveError: one has, or the image cannot be opened.
    """
    with _opened(path, os.O_RDONLY) as descriptor:
        if any(_is_locked(descriptor, byte) for byte in (*_HELD, *_DENIED)):
            raise _in_use(path, advice)


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC)
    except OSError as exc:
        raise DriveError(f"{path}: cannot be opened: {exc.strerror}") from exc
    try:
        yield descriptor
    finally:
        os.close(descriptor)  # and with it its locks


def _take(descriptor: int, path: Path, kind: int, byte: int) -> None:
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, byte, 1, 0))
    except OSError as exc:
        if exc.errno in (errno.EAGAIN, errno.EACCES):
            raise _in_use(path) from exc
        raise DriveError(f"{path}: cannot be locked: {exc.strerror}") from exc


def _is_locked(descriptor: int, byte: int) -> bool:
    wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, wanted)
    except OSError:  # a filesystem without locks: qemu cannot tell either
        return False
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)


def _in_use(path: Path, advice: str = "") -> DriveError:
    users = users_of(path)
    who = f"process {', '.join(map(str, users))}" if users else "another process"
    return DriveError(f"{path}: is in use by {who}: shut that down first{advice}")


def users_of(path: Path) -> list[int]:
    """Return the other processes that have a file open, as far as they can be seen.

    /proc/locks does not tell: qemu's locks belong to open files, not to processes.
    """
    try:
        wanted = path.stat()
    except OSError:
        return []
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            names = list((process / "fd").iterdir())
        except OSError:
            continue  # somebody else's, or gone
        if any(_is_same(wanted, name) for name in names):
            found.add(int(process.name))
    return sorted(found - {os.getpid()})


def _is_same(wanted: os.stat_result, path: Path) -> bool:
    try:
        return os.path.samestat(wanted, path.stat())
    except OSError:
        return False  # closed meanwhile
