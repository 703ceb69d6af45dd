"""A sandbox for each test of ``-i``, ``--root`` and ``--all``."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.system.conftest import appliance_directory, sandbox
from tests.system.sandbox import Sandbox

__all__ = ["appliance_directory", "mounted", "sandbox"]


@contextmanager
def mounted(sandbox: Sandbox, images: Sequence[Path], *options: str | Path) -> Iterator[list[str]]:
    """Mount with the options for as long as the block runs; yields the warnings."""
    words = [word for image in images for word in ("-a", image)]
    started = sandbox.guestmount("--format=raw", *words, *options, sandbox.mountpoint)
    assert started.returncode == 0, started.stderr + sandbox.log()
    try:
        yield [line.removeprefix("guestmount-py: warning: ") for line in started.stderr.splitlines()]
    finally:
        ended = sandbox.guestunmount()
    assert (ended.returncode, ended.stderr) == (0, ""), sandbox.log()
    assert sandbox.left() == []
