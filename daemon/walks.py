"""Walking a tree of directories."""

import os
from collections.abc import Iterator
from typing import Final

from daemon.registry import streams
from daemon.session import Pieces, Session
from rpc import procedures
from rpc.procedures.directories import Find0Args

_DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@streams(procedures.FIND0)
def find0(session: Session, args: Find0Args) -> Pieces:
    """Stream the paths below a directory, each with a NUL behind it (guestfs-protocol 5.3 says how they begin).

    A link to a directory has none, unless a slash ends its name, as with find(1).
    """
    with session.sysroot:
        directory = os.open(args.directory, _DIRECTORY_FLAGS & ~os.O_NOFOLLOW)
        is_link = os.path.islink(args.directory)
    if is_link:
        os.close(directory)
        return
    prefix = b"" if args.directory.endswith(b"/") else b"/"
    yield from records_in_pieces((path + b"\0" for path in _walk(directory, prefix)), session.chunk_max_bytes)


def _walk(directory: int, prefix: bytes) -> Iterator[bytes]:
    """Yield every path below a directory; closes it.

    Each directory is opened by its name in the one above and no link is followed, so that the walk stays in the tree
    without any confinement.
    """
    levels = [(directory, prefix, [b"."])]
    try:
        while levels:
            parent, path, unvisited = levels[-1]
            if not unvisited:
                os.close(levels.pop()[0])
                continue
            name = unvisited.pop()
            child = os.open(name, _DIRECTORY_FLAGS, dir_fd=parent)
            below: list[bytes] = []
            if name != b".":
                path += name + b"/"
            levels.append((child, path, below))
            with os.scandir(child) as entries:
                for entry in entries:
                    name = os.fsencode(entry.name)
                    yield path + name
                    if entry.is_dir(follow_symlinks=False):
                        below.append(name)
    finally:
        for descriptor, _, _ in levels:
            os.close(descriptor)


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
