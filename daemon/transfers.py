"""Downloads: files and devices as FileOut."""

import os

from daemon.devices import checked_device, names_device
from daemon.files import open_regular
from daemon.registry import streams
from daemon.session import CallError, FileRange, Pieces, Session
from rpc import procedures
from rpc.arguments import DownloadOffsetArgs, UploadArgs


def _open(session: Session, name: bytes) -> tuple[int, int]:
    """Return a descriptor of a file or device and its size in bytes."""
    if names_device(name):
        descriptor = os.open(checked_device(os.fsdecode(name)), os.O_RDONLY | os.O_CLOEXEC)
        return descriptor, os.lseek(descriptor, 0, os.SEEK_END)
    with session.sysroot.entered():
        descriptor = open_regular(name)
    return descriptor, os.fstat(descriptor).st_size


def _stream(session: Session, descriptor: int, offset: int, end: int) -> Pieces:
    """Yield what stands between two offsets; closes the descriptor."""
    start = offset
    try:
        while offset < end:
            step = min(session.chunk_max_bytes, end - offset)
            yield FileRange(descriptor, offset, step)
            offset += step
            session.progress(offset - start, end - start)
    finally:
        os.close(descriptor)


@streams(procedures.DOWNLOAD)
def download(session: Session, args: UploadArgs) -> Pieces:
    """Stream a regular file or a device."""
    descriptor, size_bytes = _open(session, args.remotefilename)
    yield from _stream(session, descriptor, 0, size_bytes)


@streams(procedures.DOWNLOAD_OFFSET)
def download_offset(session: Session, args: DownloadOffsetArgs) -> Pieces:
    """Stream part of a regular file or a device; less if it ends earlier."""
    if args.offset < 0 or args.size < 0:
        raise CallError(f"offset {args.offset} or size {args.size} is negative")
    descriptor, size_bytes = _open(session, args.remotefilename)
    yield from _stream(session, descriptor, args.offset, min(size_bytes, args.offset + args.size))
