"""The package's public names, and what importing them costs."""

import subprocess
import sys
from typing import Final

import pytest

import guestmount_py
from guestmount_py.handle import Guest
from guestmount_py.sync import SyncGuest
from rpc.errors import StateError

_PROBE: Final = "import sys\n{action}\nprint(*sorted(name for name in {names!r} if name in sys.modules))"


_NOT_BEFORE_THE_FORK: Final = (
    *("pyfuse3", "guestmount_py.fuse_loop", "guestmount_py.operations", "guestmount_py.sync"),
    *("importlib.metadata", "email", "zipfile", "csv", "asyncio", "multiprocessing", "concurrent.futures", "http"),
    *("urllib.request", "unittest", "xml", "decimal", "daemon"),
    *(f"rpc.procedures.{group}" for group in ("inspection", "luks", "lvm", "partitions", "filesystems", "btrfs")),
)
"""What a mount needs only while qemu restores, or never: docs/performance.md has what imports cost."""


def _imported(action: str, *names: str) -> list[str]:
    program = _PROBE.format(action=action, names=names)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()


def test_public_names_are_there() -> None:
    assert guestmount_py.Guest is Guest
    assert guestmount_py.SyncGuest is SyncGuest
    assert guestmount_py.StateError is StateError
    for name in dir(guestmount_py):
        assert getattr(guestmount_py, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'guest'"):
        _ = guestmount_py.guest


def test_library_needs_no_pyfuse3() -> None:
    action = "sys.modules['pyfuse3'] = None\nfrom guestmount_py import Guest, SyncGuest\nGuest(), SyncGuest().close()"
    assert _imported(action, "guestmount_py.sync", "guestmount_py.mount") == ["guestmount_py.sync"]


@pytest.mark.parametrize("module", ["guestmount_py", "guestmount_py.cli", "guestmount_py.unmount"])
def test_programs_start_without_the_library(module: str) -> None:
    heavy = ("trio", "pyfuse3", "guestmount_py.handle", "guestmount_py.sync", "rpc.procedures")
    assert _imported(f"import {module}", *heavy) == []


def test_mount_imports_nothing_before_the_fork_that_can_wait() -> None:
    action = "from guestmount_py.cli import parse\nfrom guestmount_py.daemonize import run_mount"
    assert _imported(action, *_NOT_BEFORE_THE_FORK, "trio") == ["trio"]
