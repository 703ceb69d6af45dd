"""What Windows leaves behind: NTFS that it has not finished with, and BitLocker."""

import filecmp
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.guests.bitlocker import bitlocker_disks, keys
from tests.guests.cache import run
from tests.guests.disk import mounted
from tests.guests.ntfs import hibernate, leave_mounted, mark_dirty
from tests.system.sandbox import Sandbox
from tests.system.test_matrix import sums_of_mount

pytestmark = [pytest.mark.appliance, pytest.mark.fuse, pytest.mark.root]

_FILE: Final = "the file"
_TEXT: Final = "what it says"


def ntfs(sandbox: Sandbox) -> Path:
    image = sandbox.directory / "windows.img"
    with image.open("wb") as file:
        file.truncate(32 << 20)
    run("mkntfs", "--quick", "--quiet", "--force", image)
    with mounted(image, "-t", "ntfs-3g", "-o", "loop") as root:
        (root / _FILE).write_text(_TEXT)
    return image


@pytest.mark.parametrize(
    ("leave", "reason", "option"),
    [
        (hibernate, "Windows is hibernated on it, or was shut down with fast startup", "remove_hiberfile"),
        (leave_mounted, "Windows did not unmount it", "recover"),
        (mark_dirty, "Windows has marked it to be checked by chkdsk", "recover"),
    ],
)
def test_ntfs_that_windows_has_not_finished_with_is_only_read_unless_somebody_insists(
    sandbox: Sandbox, leave: Callable[[Path], None], reason: str, option: str
) -> None:
    image = ntfs(sandbox)
    leave(image)
    before = sandbox.directory / "before.img"
    run("cp", "--sparse=always", image, before)
    words = ("--format=raw", "-a", image, "-m", "/dev/sda")

    refused = sandbox.guestmount(*words, "--rw", sandbox.mountpoint)
    assert refused.returncode == 1
    assert refused.stderr == f"guestmount-py: cannot mount /dev/sda for writing: {reason}: use --ro\n"
    assert sandbox.left() == []

    done = sandbox.guestmount(*words, "--ro", sandbox.mountpoint)
    assert done.returncode == 0
    warning = f"guestmount-py: warning: /dev/sda is only read, and may be inconsistent: {reason}\n"
    assert done.stderr == warning
    assert (sandbox.mountpoint / _FILE).read_text() == _TEXT
    assert sandbox.guestunmount().returncode == 0
    assert filecmp.cmp(image, before, shallow=False)

    write(sandbox, image, f"/dev/sda:/:{option}")


def test_ntfs_that_windows_has_finished_with_is_written_to(sandbox: Sandbox) -> None:
    write(sandbox, ntfs(sandbox), "/dev/sda")


def write(sandbox: Sandbox, image: Path, mount: str) -> None:
    """Insist that a file can be written to NTFS."""
    done = sandbox.guestmount("--format=raw", "-a", image, "-m", mount, "--rw", sandbox.mountpoint)
    assert (done.returncode, done.stderr) == (0, "")
    (sandbox.mountpoint / "new").write_text("new")
    ended = sandbox.guestunmount()
    assert (ended.returncode, ended.stderr) == (0, "")
    with mounted(image, "-t", "ntfs-3g", "-o", "loop,ro") as root:
        assert {path.name: path.read_text() for path in root.iterdir()} == {_FILE: _TEXT, "new": "new"}


@pytest.mark.parametrize(
    ("name", "is_recovered"),
    [("bitlk-aes-xts-128", False), ("bitlk-aes-cbc-elephant-128", True), ("bitlk-togo-aes-xts-128", False)],
)
def test_bitlocker_is_opened_by_a_password_or_a_recovery_password(
    sandbox: Sandbox, name: str, *, is_recovered: bool
) -> None:
    disks = bitlocker_disks()
    key = keys(name)[is_recovered]
    with sandbox.mounted(
        disks / f"{name}.img", ["/dev/mapper/cryptsda"], "--format=raw", f"--key=/dev/sda:key:{key}"
    ) as root:
        assert sums_of_mount(root) == sums_of_mount(disks / "tree")


def test_bitlocker_stays_closed_without_the_right_key(sandbox: Sandbox) -> None:
    image = bitlocker_disks() / "bitlk-aes-xts-128.img"
    words = ("--format=raw", "-a", image, "--key=all:key:wrong", "-m", "/dev/mapper/cryptsda")
    done = sandbox.guestmount(*words, sandbox.mountpoint)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "/dev/sda is encrypted and stays closed: No key available with this passphrase" in done.stderr
    assert sandbox.left() == []
