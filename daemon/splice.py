"""File data to the channel without passing through Python: splice(2) from file to pipe to channel."""

import fcntl
import os
import struct
from errno import EINVAL
from typing import Final

from rpc.xdr import PADDING

PIPE_BYTES: Final = 1 << 20
_HEAD: Final = struct.Struct(">IiI")
"""In front of a data chunk's bytes: length word, cancel flag, data length (guestfs-protocol section 2.4)."""


class Splicer:
    """A pipe between files and one channel."""

    def __init__(self, channel_fd: int) -> None:
        self._channel_fd = channel_fd
        self._read_fd, self._write_fd = os.pipe2(os.O_CLOEXEC)
        fcntl.fcntl(self._write_fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def load(self, file_fd: int, offset: int, count: int) -> int:
        """Move up to ``count`` bytes of a file into the empty pipe and return how many; 0 at its end.

        What is loaded must be sent before the next load: so a read error comes before a chunk's head is sent.
        """
        try:
            return os.splice(file_fd, self._write_fd, min(count, PIPE_BYTES), offset_src=offset)
        except OSError as exc:
            if exc.errno != EINVAL:
                raise
            return os.write(self._write_fd, os.pread(file_fd, min(count, PIPE_BYTES), offset))  # it cannot be spliced

    def send_chunk(self, count: int) -> None:
        """Send what is loaded as one data chunk."""
        padding = PADDING[count & 3]
        os.write(self._channel_fd, _HEAD.pack(8 + count + len(padding), 0, count))
        left = count
        while left:
            left -= os.splice(self._read_fd, self._channel_fd, left)
        if padding:
            os.write(self._channel_fd, padding)
