"""What a mount has done, counted: bytes by the way they came, calls by name with how long they took, caches."""

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from guestmount_py.events import CallEnded

Figures = Mapping[str, int | float]


class _Calls:
    """Calls of one procedure: how many, how many failed, how long they took in all and in powers of two of a µs."""

    __slots__ = ("buckets", "count", "failed", "total_s")

    def __init__(self) -> None:
        self.count = 0
        self.failed = 0
        self.total_s = 0.0
        self.buckets: dict[int, int] = {}

    def add(self, seconds: float, *, failed: bool) -> None:
        self.count += 1
        self.failed += failed
        self.total_s += seconds
        bucket = int(seconds * 1_000_000).bit_length()
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1


class Statistics:
    """Counters of one mount; adding to them costs next to nothing."""

    def __init__(self) -> None:
        self._bytes: dict[str, int] = {}
        self._reads: dict[str, int] = {}
        self._calls: dict[str, _Calls] = {}
        self._caches: dict[str, Callable[[], Figures]] = {}

    def note_read(self, plane: str, size_bytes: int) -> None:
        """Count bytes of files that came by one plane."""
        self._bytes[plane] = self._bytes.get(plane, 0) + size_bytes
        self._reads[plane] = self._reads.get(plane, 0) + 1

    def note_call(self, event: CallEnded) -> None:
        """Count a call to the daemon."""
        calls = self._calls.get(event.procedure)
        if calls is None:
            calls = self._calls[event.procedure] = _Calls()
        calls.add(event.seconds, failed=event.error is not None)

    def add_cache(self, name: str, figures: Callable[[], Figures]) -> None:
        """Have a cache's figures asked for when they are wanted."""
        self._caches[name] = figures

    def as_dict(self) -> dict[str, Any]:
        """Return everything, ready for JSON; a histogram's keys are upper bounds in µs."""
        return {
            "planes": {name: {"bytes": self._bytes[name], "reads": self._reads[name]} for name in sorted(self._bytes)},
            "calls": {
                name: {
                    "count": calls.count,
                    "failed": calls.failed,
                    "total_s": round(calls.total_s, 6),
                    "below_us": {str(1 << bucket): calls.buckets[bucket] for bucket in sorted(calls.buckets)},
                }
                for name, calls in sorted(self._calls.items())
            },
            "caches": {name: dict(figures()) for name, figures in sorted(self._caches.items())},
        }

    def write(self, path: Path) -> None:
        """Replace a file by everything as JSON, so that a reader never sees half of it.

        Raises:
            OSError: it cannot be written.
        """
        text = json.dumps(self.as_dict(), indent=1) + "\n"
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}-", delete=False) as file:
            temporary: Final = Path(file.name)
            try:
                file.write(text)
                file.flush()
                os.fchmod(file.fileno(), 0o644)
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
