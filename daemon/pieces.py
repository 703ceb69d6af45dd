"""Pieces of a FileOut that hold whole records."""

from collections.abc import Iterator

from daemon.session import Pieces


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
