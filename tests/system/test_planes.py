"""Files come the way that is asked for, the same bytes each way, and the statistics tell which way they came."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from guestmount_py.config import PLANES
from tests.guests.mapped import Contents, contents_of, empty_image, remounted, write_awkward_files
from tests.system.sandbox import Sandbox

pytestmark = [pytest.mark.appliance, pytest.mark.fuse, pytest.mark.root]

ASIDE = {"auto": {"raw", "zeros"}, "qemu": {"export", "zeros"}, "guest": {"small", "stream", "pread"}}
"""What may have brought bytes."""


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Contents]]:
    """A disk without partitions, and what its files hold."""
    image = empty_image(tmp_path_factory.mktemp("planes") / "disk.img", 120)
    with remounted([image], ("mkfs.ext4", "-q", "-b", "4096"), write_awkward_files) as (root, _):
        contents = contents_of(root)
    yield image, contents
    image.unlink()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def statistics_after(sandbox: Sandbox, path: Path) -> dict[str, Any]:
    """Ask a mount for its statistics, and return them when the file is there."""
    os.kill(int((sandbox.directory / "pid").read_text()), signal.SIGUSR1)
    wait_for(path.exists)
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.mark.parametrize("plane", PLANES)
def test_files_are_the_same_by_every_plane_and_counted(
    sandbox: Sandbox, disk: tuple[Path, Contents], plane: str
) -> None:
    image, contents = disk
    stats = sandbox.directory / "stats.json"
    options = ["--format=raw", f"--plane={plane}", "--cache-mib=16", "--stats", str(stats)]
    pid_file = str(sandbox.directory / "pid")
    with sandbox.mounted(image, ["/dev/sda"], *options, "--pid-file", pid_file) as mountpoint:
        before = statistics_after(sandbox, stats)
        assert before["planes"] == {}
        assert before["calls"]["mount_options"]["count"] == 1
        stats.unlink()
        assert contents_of(mountpoint) == contents
        during = statistics_after(sandbox, stats)
    assert during["planes"].keys() <= ASIDE[plane]
    read_bytes = sum(each["bytes"] for each in during["planes"].values())
    assert read_bytes == sum(len(data) for data in contents.values() if data is not None)
    assert ("map_files" in during["calls"]) is (plane != "guest")
    caches = during["caches"]
    assert sum(each["bytes"] for each in caches.values()) <= 16 << 20
    assert caches["listings"]["misses"] > 0
    assert (caches.get("maps", {"hit_ratio": 0})["hit_ratio"] > 0) is (plane != "guest")
    after = json.loads(stats.read_text())
    assert after["planes"] == during["planes"]
    assert f"{image}: read" in sandbox.log() or plane == "guest"


def test_signal_without_a_file_puts_the_statistics_into_the_log(sandbox: Sandbox, disk: tuple[Path, Contents]) -> None:
    pid_file = sandbox.directory / "pid"
    with sandbox.mounted(disk[0], ["/dev/sda"], "--format=raw", "--pid-file", str(pid_file)) as mountpoint:
        (mountpoint / "plain-1").read_bytes()
        os.kill(int(pid_file.read_text()), signal.SIGUSR1)
        wait_for(lambda: "statistics: " in sandbox.log())
    (line,) = [line for line in sandbox.log().splitlines() if " statistics: " in line]
    assert json.loads(line.partition("statistics: ")[2])["planes"] == {"raw": {"bytes": 1, "reads": 1}}
