"""Files that go out compressed, and in and out as base64."""

import os
from collections.abc import Generator, Iterator
from typing import Final

from daemon.confined import feed_confined, located, stream_confined
from daemon.contents import NEW_FILE, writable
from daemon.files import opened
from daemon.registry import receives, streams
from daemon.session import CallError, Pieces, Session
from rpc import procedures
from rpc.procedures.archives import Base64InArgs, CompressDeviceOutArgs, CompressOutArgs

_LEVELS: Final = {"compress": (), "gzip": range(1, 10), "bzip2": range(1, 10), "xz": range(10), "lzop": range(1, 10)}
"""The programs and the levels of compression each knows."""


@streams(procedures.COMPRESS_OUT)
def compress_out(session: Session, args: CompressOutArgs) -> Pieces:
    """Stream a file, compressed."""
    argv = _compressor(args.ctype, args.level)
    with opened(session, args.file) as descriptor:
        yield from stream_confined(session, argv, stdin=descriptor)


@streams(procedures.COMPRESS_DEVICE_OUT)
def compress_device_out(session: Session, args: CompressDeviceOutArgs) -> Pieces:
    """Stream a device, compressed."""
    argv = _compressor(args.ctype, args.level)
    descriptor = os.open(args.device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield from stream_confined(session, argv, stdin=descriptor)
    finally:
        os.close(descriptor)


def _compressor(name: str, level: int | None) -> list[str]:
    if name not in _LEVELS:
        raise CallError(f"unknown compression type {name}; known: {' '.join(_LEVELS)}")
    if level is not None and level not in _LEVELS[name]:
        raise CallError(f"{name} has no level {level}")
    located(name)
    return [name, "-c"] if level is None else [name, "-c", f"-{level}"]


@streams(procedures.BASE64_OUT)
def base64_out(session: Session, args: Base64InArgs) -> Generator[bytes, None, None]:
    """Stream a file as base64."""
    with opened(session, args.filename) as descriptor:
        yield from stream_confined(session, ["base64"], stdin=descriptor)


@receives(procedures.BASE64_IN)
def base64_in(session: Session, args: Base64InArgs, pieces: Iterator[bytes]) -> None:
    """Make a file, or empty it, and write what comes as base64; whatever is no base64 is skipped."""
    with writable(session, args.filename, NEW_FILE) as descriptor:
        feed_confined(session, ["base64", "-d", "-i"], b"/", pieces, stdout=descriptor)
