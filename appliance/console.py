"""The appliance's serial console: passed on, and its last lines kept for errors."""

from collections import deque
from collections.abc import Callable
from typing import Final

import trio

_KEPT_LINES: Final = 40
_LINE_MAX_BYTES: Final = 500
_PANIC: Final = b"Kernel panic"
_NOISE: Final = ("SeaBIOS", "Booting from", "\x1b")


class Console:
    """Keep the end of what the console says.

    Attributes:
        ended: set when all was taken.
    """

    def __init__(self, sink: Callable[[bytes], None]) -> None:
        self._sink = sink
        self._lines: deque[bytes] = deque(maxlen=_KEPT_LINES)
        self._partial = b""
        self._panic = b""
        self.ended: Final = trio.Event()

    async def pump(self, stream: trio.lowlevel.FdStream) -> None:
        """Take everything the stream says until it ends."""
        async with stream:
            async for data in stream:
                self.feed(bytes(data))
        self.ended.set()

    def feed(self, data: bytes) -> None:
        """Take a piece of output."""
        self._sink(data)
        *lines, self._partial = (self._partial + data).split(b"\n")
        self._partial = self._partial[-_LINE_MAX_BYTES:]
        for line in lines:
            self._lines.append(line[:_LINE_MAX_BYTES])
            if _PANIC in line:
                self._panic = self._lines[-1]  # what comes after it can be longer than what is kept

    @property
    def tail(self) -> list[str]:
        """Return the last lines, without the firmware's."""
        lines = [_text(line) for line in (*self._lines, self._partial)]
        return [line for line in lines if line and not any(noise in line for noise in _NOISE)]

    @property
    def summary(self) -> str:
        """Return, in one line, the kernel's panic or else the last three lines."""
        return _text(self._panic) or " | ".join(self.tail[-3:])


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").strip()
