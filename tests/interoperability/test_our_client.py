"""Our client with libguestfs's daemon: the fidelity tests of our own appliance, and what it is asked."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import trio

from appliance.accelerator import choose_accelerator
from appliance.config import config_from_environment
from appliance.locate import find_appliance
from tests.guests.installations import encrypted_disks
from tests.guests.linux import FILESYSTEMS, linux_disk
from tests.guests.stacks import KEY
from tests.inspection.conftest import mounted as inspected
from tests.system.comparison import rsync_differences
from tests.system.conftest import module_sandbox, sandbox
from tests.system.sandbox import Sandbox
from tests.system.test_extremes import test_foreign_filesystem_holds_what_was_written
from tests.system.test_fidelity import Mounted, mounted_disk, references, test_every_attribute_agrees_with_the_kernels
from tests.thoroughness import LONG

__all__ = [
    "module_sandbox",
    "references",
    "sandbox",
    "test_every_attribute_agrees_with_the_kernels",
    "test_foreign_filesystem_holds_what_was_written",
]

pytestmark = [pytest.mark.appliance, pytest.mark.fuse, pytest.mark.root]

# What libguestfs's daemon says on its console about a call it does not know, and the number of ours that asks.
UNKNOWN: Final = "unknown procedure number"
HELLO: Final = "unknown procedure number 10000"
# Formats are qemu's business, which is the same: these three have another filesystem on / each.
FORMATS: Final = ("raw", "qcow2", "vmdk") if LONG else ("qcow2",)


@pytest.fixture(scope="session")
def appliance_directory(their_appliance_directory: Path) -> Path:
    """Have the tests of tests/system use libguestfs's appliance, with which KVM has been tried."""

    async def try_kvm() -> None:
        files = await find_appliance(print, {"LIBGUESTFS_PATH": str(their_appliance_directory)})
        await choose_accelerator(config_from_environment((), verbose=False), files, print)

    trio.run(try_kvm)
    return their_appliance_directory


@pytest.fixture(scope="module", params=FORMATS)
def mounted(request: pytest.FixtureRequest, appliance_directory: Path) -> Iterator[Mounted]:
    with mounted_disk(request.param, appliance_directory, "guest") as found:  # which is all that their daemon knows
        yield found


def test_rsync_finds_no_difference_in_the_root_either_way(mounted: Mounted, references: dict[str, Path]) -> None:
    """Every byte through libguestfs's daemon takes minutes: each filesystem has its turn once, on /."""
    ours, reference = mounted.paths[mounted.root], references[mounted.root]
    assert rsync_differences(ours, reference, FILESYSTEMS) == ""
    assert rsync_differences(reference, ours, FILESYSTEMS) == ""


def test_extensions_are_asked_for_once_and_done_without(sandbox: Sandbox) -> None:
    mount = ("--format=raw", "-a", linux_disk(), "-m", "/dev/sda1", "--ro", "--verbose", sandbox.mountpoint)
    assert sandbox.guestmount(*mount).returncode == 0
    for directory in ("etc", "usr"):
        assert list((sandbox.mountpoint / directory).iterdir())
    log = sandbox.log()
    assert (log.count(HELLO), log.count(UNKNOWN)) == (1, 2)  # hello, and the streamed readdir of 1.49
    assert sandbox.guestunmount().returncode == 0


def test_system_on_an_encrypted_device_is_opened(sandbox: Sandbox) -> None:
    with inspected(sandbox, encrypted_disks()[:1], "-i", "--key", f"all:key:{KEY}") as warnings:
        assert (sandbox.mountpoint / "boot/vmlinuz").read_text() == "a kernel"
        assert (sandbox.mountpoint / "home/me/file").read_text() == "at home"
    assert [line for line in warnings if "is still" not in line] == []
