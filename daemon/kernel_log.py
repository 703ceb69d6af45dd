"""What the kernel complains of while something fails: mount(8) knows only that it did."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from daemon.command import wire_names

_LOG: Final = "/dev/kmsg"
_RECORD_MAX_BYTES: Final = 8192
_LINES_MAX: Final = 3
_COMPLAINTS_MAX: Final = 5
"""Priorities: KERN_NOTICE, below which nothing is wrong, such as a module's greeting."""
_DEVICE: Final = re.compile(r"\((device )?([sv]d[a-z]+\d*)\)")
"""As filesystems name theirs."""


@contextmanager
def kernel_words() -> Iterator[Callable[[], str]]:
    """Own a place in the kernel's log; the result returns the last complaints from there on, empty if there is no log.

    A record is PRIORITY,SEQUENCE,TIME,FLAGS;TEXT and a newline, the priority in three bits of the first number (Linux:
    Documentation/ABI/testing/dev-kmsg).
    """
    try:
        log = os.open(_LOG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        yield lambda: ""
        return

    def words() -> str:
        lines: dict[str, None] = {}
        while True:
            try:
                record = os.read(log, _RECORD_MAX_BYTES)
            except OSError:  # there is nothing more, or it was overwritten meanwhile
                return ", ".join(list(lines)[-_LINES_MAX:])
            if int(record.partition(b",")[0]) & 7 <= _COMPLAINTS_MAX:
                text = record.partition(b";")[2].partition(b"\n")[0].decode(errors="replace")
                lines[wire_names(_DEVICE.sub(r"(\1/dev/\2)", text))] = None

    try:
        os.lseek(log, 0, os.SEEK_END)
        yield words
    finally:
        os.close(log)
