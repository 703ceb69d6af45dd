"""One mount of a contender's, and where its work may write."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.contenders import Contender
from bench.image import Workload
from tests.guests.cache import run


@dataclass(frozen=True, slots=True)
class Session:
    """One mount: where it is, an empty directory in memory to write to, and how long mounting took."""

    mounted: Path
    scratch: Path
    mount_s: float


@contextmanager
def session(workload: Workload, contender: Contender) -> Iterator[Session]:
    """Mount for as long as the block runs."""
    with tempfile.TemporaryDirectory(prefix="guestmount-py-bench-", dir="/var/tmp") as name:
        mounted, scratch = Path(name, "mounted"), Path(name, "scratch")
        mounted.mkdir()
        scratch.mkdir()
        run("mount", "-t", "tmpfs", "-o", "size=1g", "bench", scratch)
        try:
            with contender.mounted(workload, mounted) as mount_s:
                yield Session(mounted, scratch, mount_s)
        finally:
            run("umount", "--lazy", scratch)
