"""Have the kernel read an image ahead of readers that go forward in it, from file to file.

The kernel's own read-ahead knows one place in an open file, and begins anew at each gap between two guest files.
"""

import os
from typing import Final

_STREAMS_MAX: Final = 8
_NEAR_BYTES: Final = 1 << 20
"""Files of a directory mostly lie next to each other, with small gaps and not quite in order."""
_FIRST_WINDOW_BYTES: Final = 256 << 10
_WINDOW_MAX_BYTES: Final = 4 << 20


class _Stream:
    __slots__ = ("ahead_end", "next_offset", "window_bytes")

    def __init__(self, next_offset: int) -> None:
        self.next_offset = next_offset
        self.ahead_end = next_offset
        self.window_bytes = 0


class ReadAhead:
    """What is read ahead of a few readers of one open file.

    Args:
        descriptor: of the file.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor: Final = descriptor
        self._streams: list[_Stream] = []

    def note(self, offset: int, count: int) -> None:
        """Tell that bytes are about to be read."""
        for stream in self._streams:
            if -_NEAR_BYTES <= offset - stream.next_offset <= _NEAR_BYTES:
                break
        else:
            self._streams.insert(0, _Stream(offset + count))
            del self._streams[_STREAMS_MAX:]
            return
        if stream is not self._streams[0]:
            self._streams.remove(stream)
            self._streams.insert(0, stream)
        end = stream.next_offset = max(stream.next_offset, offset + count)
        if end + stream.window_bytes // 2 >= stream.ahead_end:
            stream.window_bytes = min(stream.window_bytes * 2 or _FIRST_WINDOW_BYTES, _WINDOW_MAX_BYTES)
            start = max(end, stream.ahead_end)
            os.posix_fadvise(self._descriptor, start, stream.window_bytes, os.POSIX_FADV_WILLNEED)
            stream.ahead_end = start + stream.window_bytes
