"""What the guest's clock says at least: what is expected must not be later than what it says afterwards."""

import math
import time
from struct import Struct
from typing import Final

_TICK_NS: Final = 10_000_000
"""Kernels date files by the last tick of their clock; 100 of them in a second at least."""
_NS: Final = 1_000_000_000
_CHANGED: Final = Struct(">2q")
_CHANGED_FROM: Final = 14 * 8
"""Where packed attributes have the time of change."""
_DRIFT: Final = 1 / 1000
"""How fast the two clocks may come apart."""


class GuestClock:
    """Learns from each time that the guest tells: it was then, at the latest, when the answer came."""

    def __init__(self) -> None:
        self._ahead_ns = -math.inf
        self._learned_ns = 0

    def learn(self, stat: bytes) -> None:
        """Take in the time of change in attributes that the guest has told now, packed."""
        seconds, ns = _CHANGED.unpack_from(stat, _CHANGED_FROM)
        told_ns, now_ns = seconds * _NS + ns, time.time_ns()
        drifted_ns = self._ahead_ns - _DRIFT * (now_ns - self._learned_ns)
        ahead_ns = min(told_ns - now_ns, 0)  # what lies in the future comes from another clock
        if ahead_ns >= drifted_ns:
            self._ahead_ns, self._learned_ns = ahead_ns, now_ns

    def now_ns(self) -> int:
        """Return when the guest dates a change from now on, or earlier; by our own clock if it told nothing."""
        now_ns = time.time_ns()
        if self._learned_ns:
            now_ns += round(self._ahead_ns - _DRIFT * (now_ns - self._learned_ns)) - _TICK_NS
        return now_ns
