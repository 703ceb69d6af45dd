"""Unmounted means free and whole: another qemu opens the image at once, and finds the last byte that was written."""

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from tests.guests.cache import run
from tests.system.conftest import open_sandbox
from tests.thoroughness import LONG
from tests.writing.machines import make_image

pytestmark = [pytest.mark.appliance, pytest.mark.fuse, pytest.mark.root]

CYCLES: Final = 200 if LONG else 24
AT_ONCE: Final = 4


def written_and_read_elsewhere(appliance: Path, cycles: int, format_: str) -> None:
    """Mount, write, unmount, and have others open the image: so often."""
    with open_sandbox(appliance) as sandbox:
        image = make_image(sandbox.directory / f"disk.{format_}", "ext4", format_)
        copy = sandbox.directory / "copy"
        for cycle in range(cycles):
            data = random.randbytes(random.choice((1, 5000, 300_000)))
            words = ("--rw", f"--format={format_}", "-a", image, "-m", "/dev/sda", sandbox.mountpoint)
            started = sandbox.guestmount(*words)
            assert started.returncode == 0, started.stderr + sandbox.log()
            try:
                (sandbox.mountpoint / "file").write_bytes(data)  # and no fsync
            finally:
                ended = sandbox.guestunmount()
            assert (ended.returncode, ended.stderr) == (0, ""), f"cycle {cycle}: {sandbox.log()}"
            # Each opens the image with qemu's locks: for writing, then for reading.
            run("qemu-io", "-f", format_, "-c", "flush", image)
            if format_ == "qcow2":
                run("qemu-img", "check", "-f", format_, image)
            run("qemu-img", "convert", "-f", format_, "-O", "raw", image, copy)
            run("debugfs", "-R", f"dump /file {sandbox.directory / 'found'}", copy)
            assert (sandbox.directory / "found").read_bytes() == data, f"cycle {cycle}"
        run("e2fsck", "-fn", copy)


def test_image_is_never_locked_and_never_stale_after_unmounting(appliance_directory: Path) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        formats = ("qcow2", "raw") * (AT_ONCE // 2)
        for _ in pool.map(
            lambda format_: written_and_read_elsewhere(appliance_directory, CYCLES // AT_ONCE, format_), formats
        ):
            pass


def test_guest_keeps_no_file_that_lost_a_name_and_has_another(appliance_directory: Path) -> None:
    with open_sandbox(appliance_directory) as sandbox:
        image, root = make_image(sandbox.directory / "disk.img", "ext4"), sandbox.mountpoint
        started = sandbox.guestmount("--rw", "--format=raw", "-a", image, "-m", "/dev/sda", root)
        assert started.returncode == 0, started.stderr + sandbox.log()
        try:
            (root / "one").write_bytes(b"one")
            for name in ("replaced", "removed"):
                (root / name).hardlink_to(root / "one")
            (root / "new").write_bytes(b"new")
            (root / "new").rename(root / "replaced")
            with (root / "one").open("rb"):
                (root / "removed").unlink()
        finally:
            ended = sandbox.guestunmount()
        assert (ended.returncode, ended.stderr) == (0, ""), sandbox.log()  # or its filesystem would be in use
