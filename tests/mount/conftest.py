"""Mounts of a directory of this machine: real FUSE, real daemon, no qemu."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from guestmount_py.unmount import NOT_MOUNTED, UNMOUNTED, unmount
from tests.guests.cache import run
from tests.mount.source import build_source

if TYPE_CHECKING:
    Server = subprocess.Popen[str]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = None
    if os.geteuid():
        missing = "needs root: the daemon confines itself with chroot(2)"
    elif not Path("/dev/fuse").is_char_device():
        missing = "needs /dev/fuse"
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.fuse)
            if missing:
                item.add_marker(pytest.mark.skip(reason=missing))


@dataclass(frozen=True, slots=True)
class Mounted:
    """A served directory."""

    source: Path
    path: Path
    log: Path
    server: "Server"
    daemons: tuple[int, ...]


@contextmanager
def mounted(source: Path, scratch: Path, *options: str, may_log: str = "", exit_status: int = 0) -> Iterator[Mounted]:
    """Serve a directory; at the end it is unmounted, its server has gone, and it had nothing to complain of."""
    path, log = scratch / "mnt", scratch / "log"
    path.mkdir()
    command = [sys.executable, "-m", "tests.mount.server", str(source), str(path), "--log", str(log), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        assert line, "the server did not mount"
        try:
            yield Mounted(source, path, log, server, tuple(map(int, line.split())))
        finally:
            assert unmount(path) in (UNMOUNTED, NOT_MOUNTED)
            assert server.wait(30) == exit_status
    complaints = [text for text in log.read_text().splitlines() if not may_log or may_log not in text]
    assert complaints == []


@contextmanager
def mounted_ext4(directory: Path, size: str) -> Iterator[Path]:
    """Make a filesystem of a size like "64M", mounted by this machine's kernel."""
    image, root = directory / "disk.img", directory / "disk"
    run("mke2fs", "-q", "-t", "ext4", image, size)
    root.mkdir()
    run("mount", "-o", "loop", image, root)
    try:
        yield root
    finally:
        run("umount", root)


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A directory for a mount and its log."""
    directory = tmp_path / "scratch"
    directory.mkdir()
    return directory


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("source")
    build_source(directory)
    return directory


@pytest.fixture(scope="session", params=["extended", "standard"])
def tree(request: pytest.FixtureRequest, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    """The source, mounted by way of our extensions and of libguestfs's calls alone."""
    options = ["--standard"] if request.param == "standard" else []
    with mounted(source, tmp_path_factory.mktemp(request.param), *options) as served:
        yield served
