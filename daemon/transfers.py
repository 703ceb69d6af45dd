"""Downloads: files and devices as FileOut."""

import os

from daemon.devices import checked_device, names_device
from daemon.files import open_regular
from daemon.registry import streams
from daemon.session import CallError, FileRange, Pieces, Session
from rpc import procedures
from rpc.procedures.transfers import DownloadOffsetArgs, RemoteFileArgs


def _opened(session: Session, name: bytes) -> tuple[int, int]:
    """Return a descriptor of a file or device and its size in bytes."""
    if names_device(name):
        descriptor = os.open(checked_device(os.fsdecode(name)), os.O_RDONLY | os.O_CLOEXEC)
        return descriptor, os.lseek(descriptor, 0, os.SEEK_END)
    with session.sysroot:
        descriptor = open_regular(name)
    return descriptor, os.fstat(descriptor).st_size


def _stream(session: Session, name: bytes, offset: int, max_bytes: int | None) -> Pieces:
    descriptor, size_bytes = _opened(session, name)
    try:
        left_bytes = max(size_bytes - offset, 0)
        yield FileRange(descriptor, offset, left_bytes if max_bytes is None else min(max_bytes, left_bytes))
    finally:
        os.close(descriptor)


@streams(procedures.DOWNLOAD)
def download(session: Session, args: RemoteFileArgs) -> Pieces:
    """Stream a regular file or a device."""
    return _stream(session, args.remotefilename, 0, None)


@streams(procedures.DOWNLOAD_OFFSET)
def download_offset(session: Session, args: DownloadOffsetArgs) -> Pieces:
    """Stream part of a regular file or a device; less if it ends earlier."""
    if args.offset < 0 or args.size < 0:
        raise CallError(f"offset {args.offset} or size {args.size} is negative")
    return _stream(session, args.remotefilename, args.offset, args.size)
