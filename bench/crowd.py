"""Many mounts at once, each of an image of its own: what each further one costs."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from bench import processes
from bench.contenders import Contender, mount_overlay
from bench.image import Workload
from tests.guests.cache import run


class Crowd(NamedTuple):
    """What was measured while all were mounted."""

    proportional_mib_each: float
    last_mount_s: float


def crowd_of(workload: Workload, contender: Contender, count: int) -> Crowd:
    """Hold so many mounts of overlays of the workload's image; afterwards nothing of them is left.

    Raises:
        RuntimeError: a command failed, or processes did not end.
    """
    last_mount_s = 0.0
    with tempfile.TemporaryDirectory(prefix="guestmount-py-bench-", dir="/var/tmp") as name, ExitStack() as stack:
        stack.callback(processes.kill_all)
        for index in range(count):
            overlay, directory = Path(name, f"{index}.qcow2"), Path(name, f"mounted-{index}")
            run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", workload.image, overlay)
            directory.mkdir()
            last_mount_s = stack.enter_context(_mounted(contender, overlay, directory))
        each_mib = processes.memory().proportional_mib / count
    return Crowd(each_mib, last_mount_s)


@contextmanager
def _mounted(contender: Contender, overlay: Path, directory: Path) -> Iterator[float]:
    start_s = time.perf_counter()
    contender.run(*mount_overlay(overlay, directory))
    next(directory.iterdir())
    mount_s = time.perf_counter() - start_s
    try:
        yield mount_s
    finally:
        contender.run(*contender.unmount, directory)
