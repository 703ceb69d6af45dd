"""Pieces of a FileOut: whole records, or what a program writes."""

import os
import select
from collections.abc import Generator, Iterator
from typing import Final

from daemon.session import Pieces

_PIECE_BYTES: Final = 256 * 1024
_SILENCE_MS: Final = 500


def pieces_of_pipe(descriptor: int) -> Generator[bytes, None, None]:
    """Yield what comes through a pipe, and nothing every half second that nothing comes.

    That is when the server sees whether anybody still wants the rest.
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while True:
        if not poll.poll(_SILENCE_MS):
            yield b""
        elif data := os.read(descriptor, _PIECE_BYTES):
            yield data
        else:
            return


def records_in_pieces(records: Iterator[bytes], limit: int) -> Pieces:
    """Join records into pieces that fit into a chunk."""
    parts: list[bytes] = []
    size_bytes = 0
    for record in records:
        if size_bytes + len(record) > limit and parts:
            yield b"".join(parts)
            parts, size_bytes = [], 0
        parts.append(record)
        size_bytes += len(record)
    yield b"".join(parts)
