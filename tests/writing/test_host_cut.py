"""What fsync returned for survives the end of the host: it is on the host's disk, not only in its page cache."""

import os
from pathlib import Path
from typing import Final

import pytest

from tests.guests.cache import run
from tests.posix.syscalls import shut_down
from tests.system.conftest import open_sandbox
from tests.writing.machines import make_image

pytestmark = [pytest.mark.appliance, pytest.mark.fuse, pytest.mark.root]

DATA: Final = os.urandom(3 << 20)


@pytest.mark.parametrize("format_", ["raw", "qcow2"])
def test_what_was_synchronised_is_there_after_the_hosts_filesystem_lost_its_cache(
    appliance_directory: Path, format_: str
) -> None:
    with open_sandbox(appliance_directory) as sandbox:
        disk, host = sandbox.directory / "host.img", sandbox.directory / "host"
        host.mkdir()
        run("mke2fs", "-q", "-t", "ext4", disk, "256M")
        run("mount", "-o", "loop", disk, host)
        try:
            image = make_image(host / "disk.img", "ext4", format_)
            run("sync", "--file-system", host)
            words = ("--rw", f"--format={format_}", "-a", image, "-m", "/dev/sda", sandbox.mountpoint)
            assert sandbox.guestmount(*words).returncode == 0, sandbox.log()
            with (sandbox.mountpoint / "synchronised").open("wb", buffering=0) as file:
                file.write(DATA)
                os.fsync(file.fileno())
            shut_down(host)
            assert sandbox.guestunmount().returncode == 1  # which cannot write any more
            assert sandbox.left() == []
            run("umount", host)
            run("mount", "-o", "loop", disk, host)
            with sandbox.mounted(image, ["/dev/sda"], f"--format={format_}") as root:
                assert (root / "synchronised").read_bytes() == DATA
        finally:
            if sandbox.mountpoint.is_mount():
                sandbox.guestunmount()
            run("umount", host)
