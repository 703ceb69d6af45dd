"""qemu-storage-daemon is there as long as the block, and its complaints are one line."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio

from guestmount_py.storage_daemon import storage_daemon
from rpc.errors import DriveError
from tests.overlay.conftest import Place

_HOLD = """
import trio
from guestmount_py.storage_daemon import storage_daemon

async def hold():
    async with storage_daemon() as daemon:
        print("ready", flush=True)
        await trio.sleep_forever()

trio.run(hold)
"""


async def test_refusal_is_one_line(place: Place) -> None:
    with pytest.raises(DriveError, match="blockdev-add: Could not open") as caught:
        await _add(place.overlay)
    assert "\n" not in str(caught.value)


async def _add(image: Path) -> None:
    async with storage_daemon() as daemon:
        file = {"driver": "file", "filename": str(image)}
        await daemon.execute("blockdev-add", **{"driver": "qcow2", "node-name": "n", "file": file})


async def test_death_is_one_line() -> None:
    with pytest.raises(DriveError, match="hung up"):
        await _killed()


async def _killed() -> None:
    async with storage_daemon() as daemon:
        for pid in _daemons():
            os.kill(pid, signal.SIGKILL)
        await daemon.execute("query-jobs")


async def test_cancelled_block_ends_it() -> None:
    with trio.move_on_after(0.2):
        async with storage_daemon():
            await trio.sleep_forever()
    assert _daemons() == []


async def test_missing_program_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        DriveError, match="qemu-storage-daemon is not installed: install the package qemu-system-common"
    ):
        async with storage_daemon():
            pass


def test_it_dies_with_us() -> None:
    with subprocess.Popen([sys.executable, "-c", _HOLD], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        [daemon] = _children(process.pid)
        process.kill()
    deadline = time.monotonic() + 60
    while Path(f"/proc/{daemon}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _daemons() -> list[int]:
    """Return this process's children of the name; others serve mounts of the session's tests."""
    return [pid for pid in _children(os.getpid()) if "storage-daemon" in Path(f"/proc/{pid}/cmdline").read_text()]
