"""A backup is restored into a guest by rsync: everything is there, as it was, and the guest's own kernel says so."""

import errno
import os
from pathlib import Path

import pytest

from tests.guests.cache import run
from tests.mount.source import build_source
from tests.posix.syscalls import refused
from tests.system.comparison import rsync_differences
from tests.system.conftest import open_sandbox
from tests.writing.machines import make_image

pytestmark = [pytest.mark.appliance, pytest.mark.fuse, pytest.mark.root]


# XFS shows an ACL twice, as trusted.SGI_ACL_FILE too, so that not even its own kernel's copy is the same to rsync.
@pytest.mark.parametrize("filesystem", ["ext4", "btrfs"])
def test_restored_tree_is_identical(appliance_directory: Path, tmp_path: Path, filesystem: str) -> None:
    source = tmp_path / "source"
    source.mkdir()
    build_source(source)
    (source / "contents/sparse").unlink()  # rsync would fill it
    (source / "kinds/long").unlink()  # not every filesystem has links as long as that
    with open_sandbox(appliance_directory) as sandbox:
        image, found = make_image(sandbox.directory / "disk.img", filesystem), sandbox.directory / "found"
        words = ("--rw", "--format=raw", "-a", image, "-m", "/dev/sda", sandbox.mountpoint)
        started = sandbox.guestmount(*words)
        assert started.returncode == 0, started.stderr + sandbox.log()
        try:
            run("rsync", "-aHAX", f"{source}/", f"{sandbox.mountpoint}/restored/")
            while_mounted = rsync_differences(source, sandbox.mountpoint / "restored", ())
            with refused(errno.EOPNOTSUPP):  # FUSE's kernel side has it, pyfuse3 has not
                os.close(os.open(sandbox.mountpoint, os.O_TMPFILE | os.O_RDWR))
        finally:
            ended = sandbox.guestunmount()
        assert (ended.returncode, ended.stderr) == (0, ""), sandbox.log()
        found.mkdir()
        run("mount", "-o", "loop,ro", image, found)
        try:
            assert while_mounted == rsync_differences(source, found / "restored", ()) == ""
        finally:
            run("umount", found)
