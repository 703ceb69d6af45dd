"""What becomes of what was promised and not synchronised, however the mount ends or its qemu stands still."""

import errno
import mmap
import os
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from tests.guests.cache import run
from tests.posix.actor import close_below
from tests.posix.syscalls import refused
from tests.system.conftest import open_sandbox
from tests.system.sandbox import Sandbox, gone_within
from tests.thoroughness import LONG
from tests.writing.machines import make_image

pytestmark = [pytest.mark.appliance, pytest.mark.fuse, pytest.mark.root]

FILES: Final = 80
LARGE: Final = os.urandom(3 << 20)
GONE_S: Final = 120.0
STOPPED_S: Final = 60.0 if LONG else 3.0


@contextmanager
def mounted(sandbox: Sandbox) -> Iterator[Path]:
    """Mount a new disk for writing; whatever the block does, nothing is left."""
    image = make_image(sandbox.directory / "disk.img", "ext4")
    words = ("--rw", "--format=raw", "-a", image, "-m", "/dev/sda", sandbox.mountpoint)
    started = sandbox.guestmount(*words)
    assert started.returncode == 0, started.stderr + sandbox.log()
    try:
        yield sandbox.mountpoint
    finally:
        close_below(str(sandbox.mountpoint))
        if sandbox.mountpoint.is_mount():
            sandbox.guestunmount()


@contextmanager
def disk(sandbox: Sandbox) -> Iterator[Path]:
    """See what is on the disk after all, by the host's kernel."""
    run("e2fsck", "-fn", sandbox.directory / "disk.img")
    root = sandbox.directory / "seen"
    root.mkdir()
    run("mount", "-o", "loop,ro", sandbox.directory / "disk.img", root)
    try:
        yield root
    finally:
        run("umount", root)


def promise(root: Path) -> None:
    """Change very much at once, and synchronise nothing."""
    for number in range(FILES):
        (root / f"gone-{number}").write_bytes(b"gone")
    (root / "directory").mkdir()
    for number in range(FILES):
        file = root / f"directory/file-{number}"
        file.write_bytes(b"%d" % number * 100)
        file.chmod(0o640)
        os.chown(file, 7, 8)
        os.utime(file, ns=(1, 10**18 + number))
        (root / f"gone-{number}").unlink()
    (root / "large").write_bytes(LARGE)


def check(root: Path) -> None:
    """Find all that was promised."""
    assert sorted(path.name for path in root.iterdir()) == ["directory", "large", "lost+found"]
    assert (root / "large").read_bytes() == LARGE
    for number in range(FILES):
        file = root / f"directory/file-{number}"
        info = file.stat()
        assert file.read_bytes() == b"%d" % number * 100
        assert (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) == (0o640, 7, 8)
        assert info.st_mtime_ns == 10**18 + number


def send(processes: list[int], number: signal.Signals) -> None:
    assert processes
    for pid in processes:
        os.kill(pid, number)


def unmount(sandbox: Sandbox) -> None:
    ended = sandbox.guestunmount()
    assert (ended.returncode, ended.stderr) == (0, "")


def terminate(sandbox: Sandbox) -> None:
    """End it as a shutdown of the machine does."""
    everything = sandbox.processes()
    send(sandbox.processes("guestmount_py.cli"), signal.SIGTERM)
    assert gone_within(everything, GONE_S)


@pytest.mark.parametrize("end", [unmount, terminate])
def test_all_that_was_promised_is_there(appliance_directory: Path, end: Callable[[Sandbox], None]) -> None:
    with open_sandbox(appliance_directory) as sandbox:
        with mounted(sandbox) as root:
            promise(root)
            end(sandbox)
            assert not root.is_mount()
        with disk(sandbox) as found:
            check(found)


def test_what_is_in_use_when_the_machine_shuts_down_is_there_too(appliance_directory: Path) -> None:
    with open_sandbox(appliance_directory) as sandbox:
        with mounted(sandbox) as root:
            written = os.open(root / "written", os.O_CREAT | os.O_WRONLY)
            os.write(written, LARGE)
            (root / "mapped").write_bytes(bytes(100_000))
            with (root / "mapped").open("r+b") as file:
                view = mmap.mmap(file.fileno(), 100_000)
            view[50_000:50_006] = b"mapped"
            terminate(sandbox)
            view.close()
            with refused(errno.ENOTCONN, errno.ECONNABORTED):
                os.write(written, b"late")
            with suppress(OSError):
                os.close(written)
        with disk(sandbox) as found:
            assert (found / "written").read_bytes() == LARGE
            assert (found / "mapped").read_bytes()[50_000:50_006] == b"mapped"


def test_qemu_that_stands_still_only_makes_everybody_wait(appliance_directory: Path) -> None:
    with open_sandbox(appliance_directory) as sandbox:
        with mounted(sandbox) as root:
            qemus = sandbox.processes("qemu-system")
            (root / "before").write_bytes(LARGE)
            send(qemus, signal.SIGSTOP)
            again = threading.Timer(STOPPED_S, send, (qemus, signal.SIGCONT))
            began = time.monotonic()
            again.start()
            try:
                promise(root)
                with (root / "synced").open("wb", buffering=0) as file:
                    file.write(b"synced")
                    os.fsync(file.fileno())
                assert time.monotonic() - began >= STOPPED_S
            finally:
                again.join()
            (root / "synced").unlink()
            (root / "before").unlink()
            unmount(sandbox)
        with disk(sandbox) as found:
            check(found)
