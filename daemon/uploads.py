"""Uploads: files and devices as FileIn."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from daemon.contents import NEW_FILE, writable, write_all
from daemon.devices import checked_device, names_device
from daemon.disk_writes import device_to_write
from daemon.registry import receives
from daemon.session import CallError, Session
from rpc import procedures
from rpc.procedures.transfers import RemoteFileArgs, UploadOffsetArgs


@contextmanager
def _opened(session: Session, name: bytes, flags: int) -> Iterator[int]:
    if names_device(name):
        with device_to_write(checked_device(os.fsdecode(name))) as descriptor:
            yield descriptor
    else:
        with writable(session, name, flags) as descriptor:
            yield descriptor


@receives(procedures.UPLOAD)
def upload(session: Session, args: RemoteFileArgs, pieces: Iterator[bytes]) -> None:
    """Make a file, or empty it, or begin at the start of a device; what has come stays if the transfer ends early."""
    with _opened(session, args.remotefilename, NEW_FILE) as descriptor:
        for data in pieces:
            write_all(descriptor, data)


@receives(procedures.UPLOAD_OFFSET)
def upload_offset(session: Session, args: UploadOffsetArgs, pieces: Iterator[bytes]) -> None:
    """Write into a file, which is made if there is none, or a device, from an offset on."""
    if args.offset < 0:
        raise CallError(f"offset {args.offset} is negative")
    with _opened(session, args.remotefilename, os.O_CREAT) as descriptor:
        os.lseek(descriptor, args.offset, os.SEEK_SET)
        for data in pieces:
            write_all(descriptor, data)
