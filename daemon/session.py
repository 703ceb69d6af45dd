"""What one channel's calls share."""

from collections.abc import Callable, Generator
from typing import NamedTuple, TypeAlias

from daemon.sysroot import Sysroot
from rpc import constants


class FileRange(NamedTuple):
    """Part of an open file or device, ``size_bytes`` long or up to its end."""

    descriptor: int
    offset: int
    size_bytes: int


Pieces: TypeAlias = Generator[bytes | FileRange, None, None]
"""What a FileOut handler yields; pieces longer than a chunk are cut by the server."""


class CallError(Exception):
    """Answer a call with a message and no errno (column N of guestfs-protocol section 5)."""


class Session:
    """State of one channel.

    Attributes:
        sysroot: where guest paths are resolved.
        chunk_max_bytes: longest FileOut chunk agreed on.
        progress: reports (position, total) of the call under way; rate-limited by the server.
    """

    def __init__(self, sysroot: Sysroot) -> None:
        self.sysroot = sysroot
        self.chunk_max_bytes = constants.CHUNK_MAX_BYTES
        self.progress: Callable[[int, int], None] = lambda _position, _total: None

    def must_be_mounted(self) -> None:
        """Refuse a call on the guest's files while there are none."""
        if not self.sysroot.is_mounted():
            raise CallError("nothing is mounted; mount a filesystem first")
