"""When a progress message is due (guestfs-protocol section 2.5)."""

import time
from collections.abc import Callable
from typing import Final

DELAY_S: Final = 2.0
INTERVAL_S: Final = 0.333


class ProgressClock:
    """Let reports through: none in a call's first seconds, then at most so many.

    Args:
        send: sends position and total.
    """

    def __init__(self, send: Callable[[int, int], None]) -> None:
        self._send = send
        self._due_s = 0.0
        self._total: int | None = None

    def start(self) -> None:
        """Begin a call."""
        self._due_s = time.monotonic() + DELAY_S
        self._total = None

    def report(self, position: int, total: int) -> None:
        """Say how far the call is; 0 of 1 means that its end is not known."""
        now_s = time.monotonic()
        if now_s >= self._due_s:
            self._due_s = now_s + INTERVAL_S
            self._total = total
            self._send(position, total)

    def finish(self) -> None:
        """Report the whole, if anything was reported before."""
        if self._total is not None:
            self._send(self._total, self._total)
            self._total = None
