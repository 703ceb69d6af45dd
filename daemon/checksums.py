"""Checksums of files and devices."""

import os
from typing import Final

from daemon.command import run
from daemon.files import opened
from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import procedures
from rpc.procedures.texts import ChecksumArgs, ChecksumDeviceArgs

_KINDS: Final = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
_BLOCK_BYTES: Final = 256 * 1024


@handles(procedures.CHECKSUM)
def checksum(session: Session, args: ChecksumArgs) -> str:
    """Return the checksum of a regular file as text, as the program of that name prints it."""
    with opened(session, args.path) as descriptor:
        return _checksum_of(session, descriptor, args.csumtype)


@handles(procedures.CHECKSUM_DEVICE)
def checksum_device(session: Session, args: ChecksumDeviceArgs) -> str:
    """Return the checksum of a device."""
    with open(args.device, "rb", buffering=0) as device:
        return _checksum_of(session, device.fileno(), args.csumtype)


def _checksum_of(session: Session, descriptor: int, kind: str) -> str:
    if kind == "crc":
        return run(["cksum"], stdin=descriptor).split()[0].decode()
    if kind not in _KINDS:
        raise CallError(f"unknown checksum type {kind}; known: crc {' '.join(_KINDS)}")
    import hashlib  # too slow to import at each boot

    digest = hashlib.new(kind)
    while data := os.read(descriptor, _BLOCK_BYTES):
        digest.update(data)
        session.progress(0, 1)
    return digest.hexdigest()
