"""Whether an image may be written to, who uses it, and keeping others from it.

A process that holds permission n on an image has a lock of byte 100 + n; one that lets nobody else have permission n
has a lock of byte 200 + n. All are locks for reading; who comes later tries whether it could lock the opposite bytes
for writing (qemu: block/file-posix.c, RAW_LOCK_PERM_BASE; include/block/block-common.h, BLK_PERM_*).
"""

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISBLK
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
            raise _in_use(path, users_of(path))
        yield


def check_writable(path: Path) -> None:
    """Insist that an image can be written to and that nobody else uses it, as far as that can be seen.

    Raises:
        DriveError: it cannot, or somebody does.
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
    """Insist that no qemu has an image open, be it for reading alone, nor the host's kernel, nor a writing process.

    Args:
        path: a file or block device.
        advice: what else to do but to end that.

    Raises:
        DriveError: one has, or the image cannot be opened.
    """
    with _opened(path, os.O_RDONLY) as descriptor:
        if any(_is_locked(descriptor, byte) for byte in (*_HELD, *_DENIED)):
            raise _in_use(path, users_of(path), advice)
        is_device = S_ISBLK(os.fstat(descriptor).st_mode)
    if is_device and _is_claimed(path):
        raise DriveError(f"{path}: is mounted here, or part of LVM, RAID or the like: end that first{advice}")
    loops = [] if is_device else _loops_of(path)
    if loops:
        raise DriveError(f"{path}: is behind {', '.join(loops)}: unmount and detach that first{advice}")
    writers = users_of(path, writing=True)
    if writers:
        raise _in_use(path, writers, advice)


def _is_claimed(device: Path) -> bool:
    """Tell whether the host's kernel uses a block device, or a partition of it (open(2), O_EXCL)."""
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as exc:
        return exc.errno == errno.EBUSY
    return False


def _loops_of(path: Path) -> list[str]:
    """Name the loop devices that show a file."""
    found = []
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        with suppress(OSError):  # it was detached meanwhile, or its file is out of sight
            if path.samefile(backing.read_text().removesuffix("\n")):
                found.append(f"/dev/{backing.parts[3]}")
    return sorted(found)


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
            raise _in_use(path, users_of(path)) from exc
        raise DriveError(f"{path}: cannot be locked: {exc.strerror}") from exc


def _is_locked(descriptor: int, byte: int) -> bool:
    wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, wanted)
    except OSError:  # a filesystem without locks: qemu cannot tell either
        return False
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)


def _in_use(path: Path, users: list[int], advice: str = "") -> DriveError:
    who = f"process {', '.join(map(_named, users))}" if users else "another process"
    return DriveError(f"{path}: is in use by {who}: unmount it or shut that down first{advice}")


def _named(process: int) -> str:
    """Return a process's number, and its program where that can be seen (proc(5), comm)."""
    try:
        program = Path(f"/proc/{process}/comm").read_bytes()
    except OSError:
        return str(process)
    return f"{process} ({os.fsdecode(program.rstrip())})"


def users_of(path: Path, *, writing: bool = False) -> list[int]:
    """Return the other processes that have a file open, or have it open for ``writing``, as far as they can be seen.

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
        if any(_is_same(wanted, name) and (not writing or _may_write(name)) for name in names):
            found.add(int(process.name))
    return sorted(found - {os.getpid()})


def _is_same(wanted: os.stat_result, path: Path) -> bool:
    try:
        return os.path.samestat(wanted, path.stat())
    except OSError:
        return False  # closed meanwhile


def _may_write(descriptor: Path) -> bool:
    """Tell whether an open file, as /proc/PID/fd has it, is open for writing (proc(5), fdinfo)."""
    try:
        _, flags, *_ = (descriptor.parents[1] / "fdinfo" / descriptor.name).read_text().splitlines()
    except OSError:
        return False
    return int(flags.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY
