"""A guest's root with everything awkward in it, and a daemon that serves it."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.guestfsd import Guestfsd, started
from tests.daemon.scratch import scratch, storage

__all__ = ["scratch", "storage"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid():
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="not root: the daemon confines itself with chroot(2)"))


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    """Make a guest's root, beside a file that no call may reach."""
    root = tmp_path / "guest"
    root.mkdir()
    (tmp_path / "secret").write_bytes(b"host")
    (root / "hello").write_bytes(b"hello, world\n")
    (root / "sub").mkdir()
    (root / "sub/inner").write_bytes(b"inner")
    (root / "link").symlink_to("/sub/inner")
    (root / "dangling").symlink_to("nowhere")
    (root / os.fsdecode(b"caf\xe9")).write_bytes(b"")
    os.mkfifo(root / "fifo")
    os.mknod(root / "null", 0o20666, os.makedev(1, 3))
    os.mknod(root / "disk", 0o60660, os.makedev(7, 0))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket"))
    return root


@pytest.fixture
def daemon(guest: Path) -> Iterator[Guestfsd]:
    """Serve the guest; at the end the daemon has nothing to complain of and ends by itself."""
    with started(guest) as guestfsd:
        yield guestfsd
        assert guestfsd.finish() == (0, "")
