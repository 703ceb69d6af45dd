"""Copying bytes between files and devices, and looking for zeros or writing them."""

import os
import stat as modes
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EINVAL
from fcntl import ioctl
from struct import Struct
from typing import Final

from daemon.contents import writable
from daemon.devices import checked_device, names_device
from daemon.disk_writes import device_to_write
from daemon.files import opened
from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import procedures
from rpc.arguments import DeviceArgs, PathArgs
from rpc.procedures.copies import (
    CopyDeviceToDeviceArgs,
    CopyDeviceToFileArgs,
    CopyFileToDeviceArgs,
    CopyFileToFileArgs,
    CopySizeArgs,
    DdArgs,
)

_BLOCK_BYTES: Final = 256 * 1024
_HOLE_BYTES: Final = 4096
_BLKZEROOUT: Final = 0x127F
"""Have the device write zeros (linux/fs.h): ``u64 offset | u64 length``, in bytes."""
_RANGE: Final = Struct("=QQ")
_ZERO_STEP_BYTES: Final = 32 << 20
_ZERO_START_BYTES: Final = 128 * 1024
"""What ``zero`` overwrites: whatever tells at the start of a device what is on it."""


@handles(procedures.COPY_FILE_TO_FILE)
def copy_file_to_file(session: Session, args: CopyFileToFileArgs) -> None:
    """Copy a part of a file to a place in another, which is emptied first unless appended to."""
    _copy(session, *args)


@handles(procedures.COPY_FILE_TO_DEVICE)
def copy_file_to_device(session: Session, args: CopyFileToDeviceArgs) -> None:
    """Copy a part of a file to a place on a device."""
    _copy(session, *args)


@handles(procedures.COPY_DEVICE_TO_FILE)
def copy_device_to_file(session: Session, args: CopyDeviceToFileArgs) -> None:
    """Copy a part of a device to a place in a file, which is emptied first unless appended to."""
    _copy(session, *args)


@handles(procedures.COPY_DEVICE_TO_DEVICE)
def copy_device_to_device(session: Session, args: CopyDeviceToDeviceArgs) -> None:
    """Copy a part of a device to a place on another."""
    _copy(session, *args)


@handles(procedures.COPY_SIZE)
def copy_size(session: Session, args: CopySizeArgs) -> None:
    """Copy the first bytes of a file or device."""
    _copy(session, _named(args.src), _named(args.dest), size=args.size)


@handles(procedures.DD)
def dd(session: Session, args: DdArgs) -> None:
    """Copy a file or device."""
    _copy(session, _named(args.src), _named(args.dest))


def _named(name: bytes) -> bytes | str:
    """Return a device as text, the path of a file as bytes."""
    return checked_device(os.fsdecode(name)) if names_device(name) else name


def _copy(
    session: Session,
    src: bytes | str,
    dest: bytes | str,
    srcoffset: int | None = None,
    destoffset: int | None = None,
    size: int | None = None,
    sparse: bool | None = None,
    append: bool | None = None,
) -> None:
    """Copy; bytes are the path of a file, text is a device.

    Args:
        session: whose guest.
        src: from where.
        dest: to where.
        srcoffset: where to begin reading.
        destoffset: where to begin writing.
        size: how much; without it, all there is.
        sparse: leave out blocks of zeros, as the target is all zeros.
        append: write at the end of a file, which is not emptied.
    """
    for name, number in (("srcoffset", srcoffset), ("destoffset", destoffset), ("size", size)):
        if number is not None and number < 0:
            raise CallError(f"{name} {number} is negative")
    if append and isinstance(dest, str):
        raise CallError(f"{dest}: a device cannot be appended to")
    start, place = srcoffset or 0, destoffset or 0
    with _source(session, src) as source:
        present = max(os.lseek(source, 0, os.SEEK_END) - start, 0)  # before it grows by what is written into it
        total = present if size is None else size
        with _target(session, dest, source, append=bool(append)) as target:
            is_same = os.path.sameopenfile(source, target)
            if is_same and not append and start != place and abs(start - place) < min(total, present):
                raise OSError(EINVAL, "the two parts of it overlap", dest)
            write = _write_sparsely if sparse and not append else _write_at
            done = 0
            while done < min(total, present):
                data = os.pread(source, min(_BLOCK_BYTES, min(total, present) - done), start + done)
                if not data:
                    break
                write(target, data, place + done)
                done += len(data)
                session.progress(done, total)
            if size is not None and done < size:
                raise CallError(f"{os.fsdecode(src)}: the input is too short")
            if write is _write_sparsely:
                _lengthen(target, place + done)


def _lengthen(target: int, size_bytes: int) -> None:
    """Make a file as long as it would be if its zeros had been written."""
    info = os.fstat(target)
    if modes.S_ISREG(info.st_mode) and info.st_size < size_bytes:
        os.ftruncate(target, size_bytes)


def _write_sparsely(target: int, data: bytes, offset: int) -> None:
    """Write the blocks that are not all zeros."""
    for start in range(0, len(data), _HOLE_BYTES):
        block = data[start : start + _HOLE_BYTES]
        if block.count(0) < len(block):
            _write_at(target, block, offset + start)


def _write_at(target: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(target, view, offset)
        view, offset = view[written:], offset + written


@contextmanager
def _source(session: Session, name: bytes | str) -> Iterator[int]:
    if isinstance(name, bytes):
        with opened(session, name) as descriptor:
            yield descriptor
        return
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _target(session: Session, name: bytes | str, source: int, *, append: bool) -> Iterator[int]:
    """Own a descriptor to write; a file is made if there is none, and emptied, unless it is the source itself.

    A copy that fails leaves no file that was not there before.
    """
    if isinstance(name, str):
        with device_to_write(name) as descriptor:
            yield descriptor
        return
    with session.sysroot:
        is_new = not os.path.lexists(name)
    with writable(session, name, os.O_CREAT | (os.O_APPEND if append else 0)) as descriptor:
        try:
            if not append and not os.path.sameopenfile(source, descriptor):
                os.ftruncate(descriptor, 0)
            yield descriptor
        except Exception:
            if is_new:
                with session.sysroot:
                    os.unlink(name)
            raise


@handles(procedures.IS_ZERO)
def is_zero(session: Session, args: PathArgs) -> bool:
    """Tell whether a file holds nothing but zeros."""
    return _is_zero(session, args.path)


@handles(procedures.IS_ZERO_DEVICE)
def is_zero_device(session: Session, args: DeviceArgs) -> bool:
    """Tell whether a device holds nothing but zeros."""
    return _is_zero(session, args.device)


def _is_zero(session: Session, name: bytes | str) -> bool:
    with _source(session, name) as source:
        while data := os.read(source, _BLOCK_BYTES):
            if data.count(0) < len(data):
                return False
            session.progress(0, 1)
    return True


@handles(procedures.ZERO)
def zero(session: Session, args: DeviceArgs) -> None:
    """Write zeros over the start of a device."""
    _zero(session, args.device, _ZERO_START_BYTES)


@handles(procedures.ZERO_DEVICE)
def zero_device(session: Session, args: DeviceArgs) -> None:
    """Write zeros over a whole device."""
    _zero(session, args.device, None)


def _zero(session: Session, device: str, limit_bytes: int | None) -> None:
    with device_to_write(device) as target:
        size_bytes = os.lseek(target, 0, os.SEEK_END)
        end = size_bytes if limit_bytes is None else min(limit_bytes, size_bytes)
        for position in range(0, end, _ZERO_STEP_BYTES):
            ioctl(target, _BLKZEROOUT, _RANGE.pack(position, min(_ZERO_STEP_BYTES, end - position)))
            session.progress(position, end)
