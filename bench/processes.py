"""The processes a contender leaves running: which they are, what they cost, and that they end.

A mount command forks into the background, so it is not our child any more when it matters. This process therefore
becomes the *subreaper* of its descendants (prctl(2), PR_SET_CHILD_SUBREAPER): whatever they detach from, they stay
below it in the process tree. Contenders run one at a time, so all descendants belong to the one being measured.
"""

import ctypes
import os
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PR_SET_CHILD_SUBREAPER: Final = 36  # linux/prctl.h
CLOCK_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
POLL_INTERVAL_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Memory:
    """What a contender's processes hold, summed; from /proc/PID/smaps_rollup, as ``VmRSS`` is only approximate.

    Attributes:
        resident_mib: ``Rss``; pages shared by two processes count twice.
        proportional_mib: ``Pss``; a page shared by n processes counts 1/n in each.
    """

    resident_mib: float
    proportional_mib: float


def become_subreaper() -> None:
    """Keep every future descendant below this process, however it detaches."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")


def descendants(ancestor: int) -> Iterator[int]:
    """Yield the pids of all living descendants, parents first; a process that ends meanwhile is left out."""
    for thread in _entries(f"/proc/{ancestor}/task"):
        for child in _read(f"/proc/{ancestor}/task/{thread}/children").split():
            yield int(child)
            yield from descendants(int(child))


def memory(program: str = "") -> Memory:
    """Sum the memory of this process's descendants, or of those that run a program."""
    resident_kib = proportional_kib = 0
    for pid in descendants(os.getpid()):
        if program and _read(f"/proc/{pid}/comm").strip() != program:
            continue
        rollup = _read(f"/proc/{pid}/smaps_rollup")
        resident_kib += _field_kib(rollup, "Rss:")
        proportional_kib += _field_kib(rollup, "Pss:")
    return Memory(resident_kib / 1024, proportional_kib / 1024)


def cpu_s() -> dict[str, float]:
    """Return the CPU seconds used so far by this process's descendants, by the name of the program."""
    used: defaultdict[str, float] = defaultdict(float)
    for pid in descendants(os.getpid()):
        # The name stands in brackets and may itself hold brackets and blanks (proc_pid_stat(5), field 2).
        head, _, tail = _read(f"/proc/{pid}/stat").rpartition(")")
        if tail:
            user_ticks, system_ticks = tail.split()[11:13]
            used[head.partition("(")[2]] += (int(user_ticks) + int(system_ticks)) / CLOCK_TICKS_PER_S
    return used


def wait_until_gone(timeout_s: float) -> bool:
    """Wait until no descendant is left, reaping them; tell whether that happened in time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(POLL_INTERVAL_S)
        except ChildProcessError:
            return True
    return False


def kill_all() -> None:
    """Kill what a contender left behind, and wait for it."""
    for pid in list(descendants(os.getpid())):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    wait_until_gone(timeout_s=10)


def _entries(directory: str) -> list[str]:
    try:
        return os.listdir(directory)  # noqa: PTH208 - names, not paths
    except FileNotFoundError:
        return []


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="surrogateescape")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _field_kib(text: str, field: str) -> int:
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith(field)), 0)
