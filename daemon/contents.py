"""Changing what regular files hold, and how long they are."""

import os
import stat as modes
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EINVAL
from typing import Final

from daemon.disk_writes import device_to_write
from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import procedures
from rpc.arguments import PathArgs
from rpc.procedures.allocation import (
    Fallocate64Args,
    FallocateArgs,
    FillArgs,
    FillPatternArgs,
    TruncateSizeArgs,
    WriteFileArgs,
)
from rpc.procedures.contents import InternalWriteArgs, PwriteArgs, PwriteDeviceArgs
from rpc.procedures.names import FillDirArgs

_OPEN_FLAGS: Final = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_FILL_BYTES: Final = 256 * 1024
NEW_FILE: Final = os.O_CREAT | os.O_TRUNC


@contextmanager
def writable(session: Session, path: bytes, flags: int = 0) -> Iterator[int]:
    """Own a descriptor to write a regular file of the guest; a FIFO is not waited for, a device refused.

    Args:
        session: whose guest.
        path: of the file; links are followed.
        flags: ``O_CREAT`` and the like.
    """
    with session.sysroot:
        descriptor = os.open(path, _OPEN_FLAGS | flags, 0o666)
    try:
        if not modes.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(EINVAL, f"{os.strerror(EINVAL)} (not a regular file)", path)
        yield descriptor
    except OSError as exc:
        exc.filename = exc.filename or path
        raise
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it at the descriptor's place."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


@handles(procedures.PWRITE)
def pwrite(session: Session, args: PwriteArgs) -> int:
    """Write into an existing file; return how much, which may be less than was given."""
    _check_offset(args.offset)
    with writable(session, args.path) as descriptor:
        return os.pwrite(descriptor, args.content, args.offset)


@handles(procedures.PWRITE_DEVICE)
def pwrite_device(_session: Session, args: PwriteDeviceArgs) -> int:
    """Write into a device; return how much, which may be less than was given."""
    _check_offset(args.offset)
    with device_to_write(args.device) as descriptor:
        return os.pwrite(descriptor, args.content, args.offset)


def _check_offset(offset: int) -> None:
    if offset < 0:
        raise CallError(f"offset {offset} is negative")


@handles(procedures.INTERNAL_WRITE)
def internal_write(session: Session, args: InternalWriteArgs) -> None:
    """Make a file, or empty it, and write."""
    with writable(session, args.path, NEW_FILE) as descriptor:
        write_all(descriptor, args.content)


@handles(procedures.INTERNAL_WRITE_APPEND)
def internal_write_append(session: Session, args: InternalWriteArgs) -> None:
    """Make a file if there is none, and write at its end."""
    with writable(session, args.path, os.O_CREAT | os.O_APPEND) as descriptor:
        write_all(descriptor, args.content)


@handles(procedures.WRITE_FILE)
def write_file(session: Session, args: WriteFileArgs) -> None:
    """Make a file, or empty it, and write the first ``size`` bytes, all if that is 0."""
    content = os.fsencode(args.content)
    if not 0 <= args.size <= len(content):
        raise CallError(f"size {args.size} is not within the content's {len(content)} bytes")
    with writable(session, args.path, NEW_FILE) as descriptor:
        write_all(descriptor, content[: args.size or None])


@handles(procedures.TRUNCATE)
def truncate(session: Session, args: PathArgs) -> None:
    """Empty an existing file."""
    with writable(session, args.path) as descriptor:
        os.ftruncate(descriptor, 0)


@handles(procedures.TRUNCATE_SIZE)
def truncate_size(session: Session, args: TruncateSizeArgs) -> None:
    """Cut an existing file to a length, or lengthen it with a hole."""
    with writable(session, args.path) as descriptor:
        os.ftruncate(descriptor, args.size)


@handles(procedures.FALLOCATE64)
def fallocate64(session: Session, args: Fallocate64Args) -> None:
    """Make a file of zeros that has its space; what it held before is lost, unlike with fallocate(2)."""
    with writable(session, args.path, NEW_FILE) as descriptor:
        os.posix_fallocate(descriptor, 0, args.len)


@handles(procedures.FALLOCATE)
def fallocate(session: Session, args: FallocateArgs) -> None:
    """Do what ``fallocate64`` does."""
    if args.len < 0:
        raise CallError(f"length {args.len} is negative")
    fallocate64(session, Fallocate64Args(args.path, args.len))


@handles(procedures.FILL)
def fill(session: Session, args: FillArgs) -> None:
    """Make a file of one byte's repetitions."""
    if not 0 <= args.c <= 0xFF:
        raise CallError(f"{args.c} is not a byte: 0 to 255 is allowed")
    _fill(session, args.path, bytes([args.c]), args.len)


@handles(procedures.FILL_PATTERN)
def fill_pattern(session: Session, args: FillPatternArgs) -> None:
    """Make a file of a text's repetitions, the last one cut to fit."""
    if not args.pattern:
        raise CallError("the pattern is empty")
    _fill(session, args.path, os.fsencode(args.pattern), args.len)


@handles(procedures.FILL_DIR)
def fill_dir(session: Session, args: FillDirArgs) -> None:
    """Make so many empty files in a directory, named 00000000, 00000001 and so on."""
    if args.nr < 0:
        raise CallError(f"{args.nr} files cannot be made")
    with session.sysroot:
        os.chdir(args.dir)
        for number in range(args.nr):
            os.close(os.open(b"%08d" % number, _OPEN_FLAGS | os.O_CREAT, 0o666))


def _fill(session: Session, path: bytes, pattern: bytes, size_bytes: int) -> None:
    if size_bytes < 0:
        raise CallError(f"length {size_bytes} is negative")
    block = pattern * -(-_FILL_BYTES // len(pattern))
    with writable(session, path, NEW_FILE) as descriptor:
        for position in range(0, size_bytes, len(block)):
            write_all(descriptor, block[: size_bytes - position])
            session.progress(position, size_bytes)
