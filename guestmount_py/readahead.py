"""Have the kernel read an image ahead of readers that go forward in it, from file to file.

The kernel's own read-ahead knows one place in an open file, and begins anew at each gap between two guest files.
"""

import os
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
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

    A thread asks for it: to find room for 4 MiB in memory takes the kernel a millisecond or two, in which requests can
    be answered.

    Args:
        descriptor: of the file; it must stay open until ``close``.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor: Final = descriptor
        self._streams: list[_Stream] = []
        self._wanted: SimpleQueue[tuple[int, int] | None] = SimpleQueue()
        self._thread: Thread | None = None

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
        if end + stream.window_bytes >= stream.ahead_end:
            stream.window_bytes = min(stream.window_bytes * 2 or _FIRST_WINDOW_BYTES, _WINDOW_MAX_BYTES)
            start = max(end, stream.ahead_end)
            self._ask(start, stream.window_bytes)
            stream.ahead_end = start + stream.window_bytes

    def _ask(self, start: int, size_bytes: int) -> None:
        if self._thread is None:
            self._thread = Thread(target=self._work, name="readahead", daemon=True)
            self._thread.start()
        self._wanted.put((start, size_bytes))

    def _work(self) -> None:
        while (wanted := self._wanted.get()) is not None:
            with suppress(OSError):  # a reader who comes there will hear of it
                os.posix_fadvise(self._descriptor, *wanted, os.POSIX_FADV_WILLNEED)

    def close(self) -> None:
        """End; what is under way is waited for."""
        if self._thread is not None:
            self._wanted.put(None)
            self._thread.join()
            self._thread = None
