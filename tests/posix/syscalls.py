"""System calls that Python's os module lacks, and those of ext4 and xfs that end like a power cut."""

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeAlias

Name: TypeAlias = str | bytes | os.PathLike[str]

# linux/fs.h, linux/stat.h, linux/fcntl.h
RENAME_NOREPLACE: Final = 1
RENAME_EXCHANGE: Final = 2
UTIME_NOW: Final = (1 << 30) - 1
UTIME_OMIT: Final = (1 << 30) - 2
IMMUTABLE: Final = 0x10
APPEND_ONLY: Final = 0x20
_AT_FDCWD: Final = -100
_AT_SYMLINK_NOFOLLOW: Final = 0x100
_FS_IOC_GETFLAGS: Final = 0x80086601
_FS_IOC_SETFLAGS: Final = 0x40086602
_FS_IOC_SHUTDOWN: Final = 0x8004587D
_SHUTDOWN_WITHOUT_FLUSHING_THE_LOG: Final = 2

_libc: Final = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


def _check(result: int, name: Name) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), os.fspath(name))


def renameat2(old: Name, new: Name, flags: int) -> None:
    """Rename with RENAME_NOREPLACE or RENAME_EXCHANGE."""
    _check(_libc.renameat2(_AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), ctypes.c_uint(flags)), old)


def utimensat(name: Name, atime: tuple[int, int], mtime: tuple[int, int], *, follow: bool = True) -> None:
    """Set times given as seconds and nanoseconds, which may be UTIME_NOW or UTIME_OMIT."""
    times = (_Timespec * 2)(_Timespec(*atime), _Timespec(*mtime))
    _check(_libc.utimensat(_AT_FDCWD, os.fsencode(name), times, 0 if follow else _AT_SYMLINK_NOFOLLOW), name)


def add_inode_flags(path: Name, flags: int) -> None:
    """Set flags as chattr(1) does, next to those that are set."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        (present,) = struct.unpack("i", fcntl.ioctl(descriptor, _FS_IOC_GETFLAGS, bytes(4)))
        fcntl.ioctl(descriptor, _FS_IOC_SETFLAGS, struct.pack("i", present | flags))
    finally:
        os.close(descriptor)


def shut_down(directory: Path) -> None:
    """Stop a filesystem of the host's kernel as a power cut would: nothing that is not on its disk gets there."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, _FS_IOC_SHUTDOWN, struct.pack("I", _SHUTDOWN_WITHOUT_FLUSHING_THE_LOG))
    finally:
        os.close(descriptor)


def forget_files() -> None:
    """Have the kernel forget all files that nobody has open, and so whoever serves a mount."""
    Path("/proc/sys/vm/drop_caches").write_text("2")


@contextmanager
def refused(*numbers: int) -> Iterator[None]:
    """Expect an OSError with one of these numbers."""
    expected = " or ".join(errno.errorcode[number] for number in numbers)
    found = None
    try:
        yield
    except OSError as exc:
        found = exc
    assert found is not None, f"succeeded instead of {expected}"
    assert found.errno in numbers, f"{found} instead of {expected}"
