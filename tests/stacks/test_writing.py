"""What is written to a filesystem on volumes, arrays and encryption is there when the disks are mounted again."""

import os
from pathlib import Path

import pytest

from tests.guests.cache import run
from tests.guests.matrix import fill
from tests.guests.stacks import KEY, STACKS, TREE, stacked_disks
from tests.stacks.test_damaged import words
from tests.system.sandbox import Sandbox
from tests.system.test_matrix import sums_of_mount

pytestmark = [pytest.mark.appliance, pytest.mark.fuse, pytest.mark.root]


@pytest.fixture
def tree(sandbox: Sandbox) -> Path:
    """Give files to be copied."""
    root = sandbox.directory / "tree"
    root.mkdir()
    fill(root)
    run("setfacl", "--modify", "u:1000:rw", root / "text")
    os.setxattr(root / "text", "user.attribute", b"value")
    os.link(root / "text", root / "sub/text")
    os.chown(root / "sub", 1000, 2000)
    return root


@pytest.mark.parametrize("name", ["luks-on-lvm", "raid1", "thin", "btrfs-raid1"])
def test_tree_that_was_copied_there_is_there_again(sandbox: Sandbox, tree: Path, name: str) -> None:
    stack = next(stack for stack in STACKS if stack.name == name)
    images = [path for path in stacked_disks() if path.stem.rpartition("-")[0] == name]
    parts = [sandbox.directory / path.name for path in images]
    for image, part in zip(images, parts, strict=True):
        run("cp", "--sparse=always", image, part)
    device = stack.device.format("/dev/sda")
    key = ("--key", f"all:key:{KEY}")

    done = sandbox.guestmount(*words(parts), *key, "-m", device, "--rw", sandbox.mountpoint)
    assert (done.returncode, done.stderr) == (0, "")
    (sandbox.mountpoint / TREE / "large").unlink()
    kept = sums_of_mount(sandbox.mountpoint / TREE)
    run("rsync", "-aHAX", "--sparse", f"{tree}/", sandbox.mountpoint / "new")
    ended = sandbox.guestunmount()
    assert (ended.returncode, ended.stderr) == (0, ""), sandbox.log()

    with sandbox.mounted(parts[-1], [device], *words(parts[:-1]), *key) as root:
        assert run("rsync", "-aHAXnic", "--delete", f"{tree}/", f"{root}/new/") == ""
        assert sums_of_mount(root / TREE) == kept
    if name == "raid1":  # the other half has all of it, too
        with sandbox.mounted(parts[0], [device], "--format=raw") as root:
            assert run("rsync", "-aHAXnic", "--delete", f"{tree}/", f"{root}/new/") == ""
