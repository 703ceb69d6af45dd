"""Either side is killed: errors come soon, and nothing is left."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.guests.linux import extreme_disk
from tests.system.sandbox import Sandbox, gone_within

pytestmark = [pytest.mark.appliance, pytest.mark.fuse, pytest.mark.root]

EIO_LIMIT_S: Final = 30.0
QEMU_LIMIT_S: Final = 60.0

# Says a line once it has read something, and at the end another: the error, or that it came to the end.
_READER: Final = """
import os, sys
descriptor = os.open(sys.argv[1], os.O_RDONLY)
os.read(descriptor, 1)
print("reading", flush=True)
try:
    while os.read(descriptor, 1 << 20):
        pass
except OSError as exc:
    print(exc.errno)
else:
    print("read it all")
"""


def _mount(sandbox: Sandbox) -> None:
    started = sandbox.guestmount("--format=raw", "-a", extreme_disk(), "-m", "/dev/sda1", "--ro", sandbox.mountpoint)
    assert started.returncode == 0, started.stderr


def _reader(file: Path) -> subprocess.Popen[str]:
    reader = subprocess.Popen([sys.executable, "-c", _READER, file], stdout=subprocess.PIPE, text=True)
    assert reader.stdout is not None
    assert reader.stdout.readline() == "reading\n"
    return reader


def test_killing_qemu_gives_eio_and_leaves_an_error_not_an_empty_directory(sandbox: Sandbox) -> None:
    _mount(sandbox)
    try:
        reader = _reader(sandbox.mountpoint / "huge")
        (qemu,) = sandbox.processes("qemu-system")
        os.kill(qemu, signal.SIGKILL)
        said, _ = reader.communicate(timeout=EIO_LIMIT_S)
        assert said == f"{errno.EIO}\n"
        with pytest.raises(OSError, check=lambda exc: exc.errno == errno.EIO):
            list((sandbox.mountpoint / "lost+found").iterdir())
    finally:
        unmounted = sandbox.guestunmount()
    assert (unmounted.returncode, unmounted.stderr) == (0, "")
    assert sandbox.left() == []


def test_killing_guestmount_ends_qemu(sandbox: Sandbox) -> None:
    _mount(sandbox)
    try:
        names = sorted(path.name for path in sandbox.mountpoint.iterdir())
        (server,) = sandbox.processes("guestmount_py.cli")
        qemu = sandbox.processes("qemu-system")
        assert len(qemu) == 1
        os.kill(server, signal.SIGKILL)
        assert gone_within([server, *qemu], QEMU_LIMIT_S)
        for action in (
            lambda: list((sandbox.mountpoint / "lost+found").iterdir()),  # never listed
            lambda: (sandbox.mountpoint / "huge").read_bytes(),
            lambda: os.statvfs(sandbox.mountpoint),
        ):
            with pytest.raises(OSError, check=lambda exc: exc.errno == errno.ENOTCONN):
                action()
        assert names == sorted(path.name for path in sandbox.mountpoint.iterdir())  # the kernel remembers
    finally:
        unmounted = sandbox.guestunmount()
    assert (unmounted.returncode, unmounted.stderr) == (0, "")
    assert sandbox.left() == []


def test_terminating_guestmount_unmounts(sandbox: Sandbox) -> None:
    _mount(sandbox)
    servers = sandbox.processes()
    (server,) = sandbox.processes("guestmount_py.cli")
    os.kill(server, signal.SIGTERM)
    assert gone_within(servers, QEMU_LIMIT_S)
    assert not sandbox.mountpoint.is_mount()
    assert sandbox.left() == []
