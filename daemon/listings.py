"""The extension ``list_directory``: names with all their attributes in one transfer."""

import os
from collections.abc import Iterator
from errno import ENOTSUP
from stat import S_ISLNK
from struct import Struct
from typing import Final

from daemon.registry import streams
from daemon.session import Pieces, Session
from daemon.stat import PACKED, stat_fields
from daemon.xattrs import list_xattrs
from rpc import procedures
from rpc.arguments import PathArgs
from rpc.xdr import PADDING

_WORD: Final = Struct(">I")
_TWO_WORDS: Final = Struct(">II")
_UNREADABLE: Final = PACKED.pack(0, -1, *([0] * 14))
_NO_TARGET: Final = _WORD.pack(0)
_NO_XATTRS: Final = _TWO_WORDS.pack(1, 0)
_XATTRS_NOT_LISTED: Final = _TWO_WORDS.pack(0, 0)
_PIECE_BYTES: Final = 128 * 1024
"""Longer pieces would only keep the host waiting for the first entries."""


@streams(procedures.LIST_DIRECTORY)
def list_directory(session: Session, args: PathArgs) -> Pieces:
    """Stream a directory's entries with attributes, link targets and extended attributes, whole records in each piece.

    The directory is the working directory while a piece is made, not while it is sent: names in it, of which no link is
    followed, need no confinement.
    """
    limit = min(session.chunk_max_bytes, _PIECE_BYTES)
    with session.sysroot:
        directory = os.open(args.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    origin = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fchdir(directory)
        try:
            names = os.listdir(b".")
        finally:
            os.fchdir(origin)
        records = _records([b".", *names], limit)
        rest = b""
        while True:
            os.fchdir(directory)
            try:
                piece, rest = _piece(records, rest, limit)
            finally:
                os.fchdir(origin)
            yield piece
            if not rest:
                return
    finally:
        os.close(origin)
        os.close(directory)


def _piece(records: Iterator[bytes], first: bytes, limit: int) -> tuple[bytes, bytes]:
    """Join records up to a limit; return them and the record that did not fit, empty at the end."""
    parts = [first]
    size_bytes = len(first)
    for record in records:
        size_bytes += len(record)
        if size_bytes > limit:
            return b"".join(parts), record
        parts.append(record)
    return b"".join(parts), b""


def _records(names: list[bytes], limit: int) -> Iterator[bytes]:
    """Yield one packed ``DirectoryEntry`` for each name in the working directory."""
    for name in names:
        try:
            info = os.lstat(name)
            attributes = PACKED.pack(*stat_fields(info))
            target = _opaque(os.readlink(name)) if S_ISLNK(info.st_mode) else _NO_TARGET
            xattrs = _packed_xattrs(name)
        except OSError:
            attributes, target, xattrs = _UNREADABLE, _NO_TARGET, _XATTRS_NOT_LISTED
        head = (_WORD.pack(len(name)), name, PADDING[len(name) & 3], attributes, target)
        record = b"".join((*head, xattrs))
        yield record if len(record) <= limit else b"".join((*head, _XATTRS_NOT_LISTED))


def _packed_xattrs(name: bytes) -> bytes:
    try:
        pairs = list_xattrs(name)
    except OSError as exc:
        return _NO_XATTRS if exc.errno == ENOTSUP else _XATTRS_NOT_LISTED
    if not pairs:
        return _NO_XATTRS
    return _TWO_WORDS.pack(1, len(pairs)) + b"".join(_opaque(item) for pair in pairs for item in pair)


def _opaque(data: bytes) -> bytes:
    return _WORD.pack(len(data)) + data + PADDING[len(data) & 3]
