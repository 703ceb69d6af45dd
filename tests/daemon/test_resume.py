import fcntl
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from appliance.config import ApplianceConfig, ApplianceFiles, Drive
from appliance.launch import launch
from daemon import resume
from daemon.session import CallError, Session
from daemon.sysroot import Sysroot
from rpc.codec import UInt64
from rpc.errors import ProcedureError
from rpc.procedures import DEBUG, RESUME
from rpc.procedures.control import DebugArgs
from rpc.procedures.extensions import ResumeArgs

ENTROPY = os.urandom(64)


@pytest.fixture
def announcements(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The kernel's end of the socket on which the daemon hears of disks."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    monkeypatch.setattr(resume, "_LISTENERS", [theirs])
    monkeypatch.setattr(resume, "disks", list)
    with ours, theirs:
        yield ours


def _event(action: str, place: str, kind: str) -> bytes:
    words = [f"{action}@/devices/pci0000:00/{place}", f"ACTION={action}", "SUBSYSTEM=block", f"DEVTYPE={kind}"]
    return "\0".join(words).encode() + b"\0"


def test_disk_counts_when_it_is_announced(announcements: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume, "labelled_disks", lambda: {"drive0": "sda", "drive1": "sdb"})
    for place, kind in (("block/sda", "disk"), ("block/sda/sda1", "partition"), ("block/sdb", "disk")):
        announcements.send(_event("add", place, kind))
    resume.await_disks(["drive1", "drive0"])


@pytest.mark.parametrize(
    "said",
    [("change", "block/sda", "disk"), ("add", "block/sdb", "disk"), ("add", "block/sda", "partition")],
    ids=["changed", "another", "partition"],
)
def test_disk_that_is_only_there_does_not_count(
    announcements: socket.socket, monkeypatch: pytest.MonkeyPatch, said: tuple[str, str, str]
) -> None:
    monkeypatch.setattr(resume, "labelled_disks", lambda: {"drive0": "sda"})
    monkeypatch.setattr(resume, "_WAIT_S", 0.1)
    announcements.send(_event(*said))
    with pytest.raises(CallError, match="no disk has the serial number drive0"):
        resume.await_disks(["drive0"])


def test_entropy_is_credited_and_then_all_generators_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, bytes]] = []

    def ioctl(file: BinaryIO, request: int, argument: bytes = b"") -> None:
        assert file.name == "/dev/urandom"
        asked.append((request, argument))

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    resume._reseed(ENTROPY)
    pool_info = (512).to_bytes(4, sys.byteorder) + (64).to_bytes(4, sys.byteorder)  # struct rand_pool_info
    assert asked == [(0x40085203, pool_info + ENTROPY), (0x5207, b"")]  # <linux/random.h>


def test_nothing_comes_before_the_new_random_state(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(resume, "_reseed", lambda _entropy: done.append("random"))
    monkeypatch.setattr(time, "clock_settime_ns", lambda _clock, _ns: done.append("clock"))
    monkeypatch.setattr(resume, "await_disks", lambda _serials: done.append("disks"))
    monkeypatch.setattr(resume, "disks", list)
    resume.resume(Session(Sysroot()), ResumeArgs(UInt64(1), ENTROPY, []))
    assert done == ["random", "clock", "disks"]


@pytest.mark.appliance
async def test_daemon_sets_the_clock_and_wants_entropy_and_disks(
    appliance_files: ApplianceFiles, tmp_path: Path
) -> None:
    (tmp_path / "disk.img").write_bytes(bytes(1 << 20))
    config = ApplianceConfig(drives=(Drive(path=tmp_path / "disk.img"),), template=False)
    async with launch(config, appliance_files, log=print, console=lambda _: None) as appliance:
        channel = appliance.channels[0]
        now_ns = UInt64(10**18)
        assert await channel.call(RESUME, ResumeArgs(now_ns, ENTROPY, ["drive0"])) == ["/dev/sda"]
        now: str = await channel.call(DEBUG, DebugArgs("sh", ["date +%s"]))
        assert 10**9 <= int(now) < 10**9 + 60
        with pytest.raises(ProcedureError, match="no disk has the serial number drive1"):
            await channel.call(RESUME, ResumeArgs(now_ns, ENTROPY, ["drive0", "drive1"]))
        with pytest.raises(ProcedureError, match="31 bytes of entropy are too few"):
            await channel.call(RESUME, ResumeArgs(now_ns, ENTROPY[:31], []))
