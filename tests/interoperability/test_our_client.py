"""Our client with libguestfs's daemon: what it mounts is what the host's kernel shows, as with our own appliance."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.guests.disk import kernel_mount
from tests.guests.linux import FILESYSTEMS, linux_disk
from tests.system.comparison import attribute_differences, rsync_differences
from tests.system.sandbox import Sandbox

pytestmark = [pytest.mark.appliance, pytest.mark.fuse, pytest.mark.root]

ROOT: Final = FILESYSTEMS[0]
# What libguestfs's daemon says on its console about a call it does not know, and the number of ours that asks.
UNKNOWN: Final = "unknown procedure number"
HELLO: Final = "unknown procedure number 10000"


@pytest.fixture(scope="module")
def sandbox(their_appliance_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """Make a sandbox that uses libguestfs's appliance."""
    return Sandbox(tmp_path_factory.mktemp("sandbox"), their_appliance_directory)


@pytest.fixture(scope="module")
def paths(sandbox: Sandbox) -> Iterator[dict[str, Path]]:
    """Mount all three filesystems of the disk, two of them inside the first."""
    others = [f"/dev/sda{number}:/{name}" for number, name in enumerate(FILESYSTEMS, start=1) if name != ROOT]
    mounts = [word for mount in ("/dev/sda1", *others) for word in ("-m", mount)]
    started = sandbox.guestmount("--format=raw", "-a", linux_disk(), *mounts, "--ro", "--verbose", sandbox.mountpoint)
    assert started.returncode == 0, started.stderr + sandbox.log()
    yield {name: sandbox.mountpoint if name == ROOT else sandbox.mountpoint / name for name in FILESYSTEMS}
    ended = sandbox.guestunmount()
    assert (ended.returncode, ended.stderr, sandbox.left()) == (0, "", [])


@pytest.mark.parametrize("filesystem", FILESYSTEMS)
def test_nothing_differs_from_the_kernels_mount(paths: dict[str, Path], filesystem: str) -> None:
    with kernel_mount(linux_disk(), FILESYSTEMS.index(filesystem) + 1, filesystem) as reference:
        ours, is_root = paths[filesystem], filesystem == ROOT
        excluded = FILESYSTEMS if is_root else ()
        assert attribute_differences(ours, reference, excluded, exact_inodes=is_root) == []
        assert rsync_differences(ours, reference, FILESYSTEMS) == ""
        assert rsync_differences(reference, ours, FILESYSTEMS) == ""


def test_extensions_are_asked_for_once_and_done_without(sandbox: Sandbox, paths: dict[str, Path]) -> None:
    assert (paths[ROOT] / "etc/os-release").read_text()
    log = sandbox.log()
    assert (log.count(HELLO), log.count(UNKNOWN)) == (1, 2)  # hello, and the streamed readdir of 1.49
