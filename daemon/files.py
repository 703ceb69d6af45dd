"""File data: reading regular files, never anything else a guest's directory may hold."""

import os
import stat as modes
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EINVAL, EISDIR
from typing import Final

from daemon.registry import handles, streams
from daemon.session import CallError, Pieces, Session
from rpc import constants, procedures
from rpc.arguments import ChecksumArgs, PreadArgs, ReadFilesArgs

_OPEN_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def open_regular(path: bytes, *, follow: bool = True) -> int:
    """Open a regular file, inside the guest's root.

    A FIFO is not waited for, and a device node is refused: it would name a device of the appliance.
    """
    descriptor = os.open(path, _OPEN_FLAGS if follow else _OPEN_FLAGS | os.O_NOFOLLOW)
    mode = os.fstat(descriptor).st_mode
    if modes.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    number = EISDIR if modes.S_ISDIR(mode) else EINVAL
    raise OSError(number, f"{os.strerror(number)} (not a regular file)")


@contextmanager
def opened(session: Session, path: bytes) -> Iterator[int]:
    """Own a descriptor of a regular file of the guest."""
    with session.sysroot.entered():
        descriptor = open_regular(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def checked_range(count: int, offset: int) -> None:
    """Refuse what ``pread`` refuses (guestfs-protocol 5.4)."""
    if not 0 <= count < constants.PREAD_COUNT_LIMIT:
        raise CallError(f"count {count}: 0 to {constants.PREAD_COUNT_LIMIT - 1} is allowed")
    if offset < 0:
        raise CallError(f"offset {offset} is negative")


@handles(procedures.PREAD)
def pread(session: Session, args: PreadArgs) -> bytes:
    """Return part of a regular file, shorter only at its end."""
    checked_range(args.count, args.offset)
    with opened(session, args.path) as descriptor:
        return os.pread(descriptor, args.count, args.offset)


@streams(procedures.READ_FILES)
def read_files(session: Session, args: ReadFilesArgs) -> Pieces:
    """Stream the contents of several small files of one directory."""
    if args.max_bytes + 12 > session.chunk_max_bytes:
        raise CallError(f"max_bytes {args.max_bytes} does not fit into a chunk of {session.chunk_max_bytes} bytes")
    pending = bytearray()
    with session.sysroot.entered():
        directory = os.open(args.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in args.names:
            data = _small_file(directory, name, args.max_bytes)
            if len(pending) + len(data or b"") + 12 > session.chunk_max_bytes:
                yield bytes(pending)
                pending.clear()
            pending += (data is not None).to_bytes(4, "big") + len(data or b"").to_bytes(4, "big")
            if data:
                pending += data + bytes(-len(data) & 3)
        yield bytes(pending)
    finally:
        os.close(directory)


def _small_file(directory: int, name: bytes, max_bytes: int) -> bytes | None:
    """Return a file's content; None if it is not regular, longer, or unreadable."""
    try:
        descriptor = os.open(name, _OPEN_FLAGS | os.O_NOFOLLOW, dir_fd=directory)
    except OSError:
        return None
    try:
        if not modes.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        data = os.read(descriptor, max_bytes + 1)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return data if len(data) <= max_bytes else None


@handles(procedures.CHECKSUM)
def checksum(session: Session, args: ChecksumArgs) -> str:
    """Return the checksum of a regular file as text, as the program of that name prints it."""
    with opened(session, args.path) as descriptor:
        return checksum_of(session, descriptor, args.csumtype)


def checksum_of(session: Session, descriptor: int, kind: str) -> str:
    """Return the checksum of what a descriptor reads."""
    import hashlib

    if kind == "crc":
        from daemon.command import run

        return run(["cksum"], stdin=descriptor).split()[0].decode()
    if kind not in ("md5", "sha1", "sha224", "sha256", "sha384", "sha512"):
        raise CallError(f"unknown checksum type {kind}; known: crc md5 sha1 sha224 sha256 sha384 sha512")
    digest = hashlib.new(kind)
    while data := os.read(descriptor, 1 << 20):
        digest.update(data)
        session.progress(0, 1)
    return digest.hexdigest()
