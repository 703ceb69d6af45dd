"""Handles whose guest is a directory of this machine: everything real but the virtual machine."""

import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.state import State
from guestmount_py.events import StateChanged
from guestmount_py.handle import Guest
from tests.system.sandbox import REPOSITORY


@dataclass(frozen=True, slots=True)
class Bench:
    """What a handle needs for a launch without a virtual machine.

    Attributes:
        root: the guest's root directory.
        image: the drive; nothing reads it but what looks at its format.
        directory: for whatever else.
    """

    root: Path
    image: Path
    directory: Path

    def hypervisor(self, name: str, script: str) -> str:
        """Make a program that is started in place of qemu."""
        path = self.directory / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return str(path)

    def processes(self) -> list[int]:
        """Return what still runs of it: hypervisors and daemons."""
        mark = f"GUEST_ROOT={self.root}".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
        return [number for number in found if number != os.getpid()]

    def is_deserted(self) -> bool:
        """Tell whether nothing runs any more; daemons end a moment after their hypervisor."""
        deadline = time.monotonic() + 5
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.01)
        return not self.processes()


@asynccontextmanager
async def launched(bench: Bench) -> AsyncIterator[Guest]:
    """Own a handle that is ready."""
    async with Guest() as g:
        g.add_drive(bench.image)
        await g.launch()
        yield g


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Make launches go without a virtual machine; at the end no process, descriptor or temporary file may be left."""
    if os.geteuid():
        pytest.skip("not root: the daemon confines itself with chroot(2)")
    root, appliance, scratch = (tmp_path / name for name in ("guest", "appliance", "scratch"))
    for directory in (root, appliance, scratch):
        directory.mkdir()
    superblock = bytearray(0x480)
    superblock[0x438:0x43A] = b"\x53\xef"
    (appliance / "root").write_bytes(superblock)
    for name in ("kernel", "initrd", "README.fixed"):
        (appliance / name).touch()
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(1 << 20))
    made = Bench(root, image, tmp_path)
    qemu = made.hypervisor("qemu", f'cd {REPOSITORY} && exec {sys.executable} -m tests.guestmount_py.hypervisor "$@"')
    monkeypatch.setenv("GUEST_ROOT", str(root))
    monkeypatch.setenv("LIBGUESTFS_PATH", str(appliance))
    monkeypatch.setenv("LIBGUESTFS_HV", qemu)
    monkeypatch.setenv("LIBGUESTFS_TMPDIR", str(scratch))
    monkeypatch.setenv("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg")
    before = _descriptors()
    yield made
    assert made.is_deserted()
    assert list(scratch.iterdir()) == []
    assert _descriptors() == before


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def state_of(g: Guest) -> State:
    """Return the state; mypy takes it for one that cannot change behind an assertion."""
    return g.state


def states_of(g: Guest) -> list[State]:
    """Return a list that grows with each state the handle comes to."""
    states: list[State] = []
    g.subscribe(StateChanged, lambda event: states.append(event.state))
    return states


async def fall_silent(bench: Bench, g: Guest) -> None:
    """Stop the daemons, so that calls wait for ever."""
    for number in bench.processes():
        if number != g.pid:
            os.kill(number, signal.SIGSTOP)


def wake(bench: Bench) -> None:
    """Let the daemons go on."""
    for number in bench.processes():
        os.kill(number, signal.SIGCONT)
