"""Disks that are mounted for writing, and whose power is cut: by the host's kernel, the reference, and by us."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

from guestmount_py.serving import find_mount
from tests.guests.cache import run
from tests.posix.syscalls import shut_down
from tests.system.conftest import open_sandbox
from tests.system.sandbox import REPOSITORY, Sandbox, gone_within

GONE_S: Final = 20.0
NAMESPACES_S: Final = 300.0
SIZES_MIB: Final = {"ext4": 64, "xfs": 320, "btrfs": 256}
_FORCED: Final = {"ext4": ("-F",), "xfs": ("-f",), "btrfs": ("-f",)}


def make_image(path: Path, filesystem: str, format_: str = "raw") -> Path:
    """Make an image that is one filesystem, without a partition table."""
    raw = path if format_ == "raw" else path.with_suffix(".raw")
    with raw.open("wb") as file:
        file.truncate(SIZES_MIB[filesystem] << 20)
    run(f"mkfs.{filesystem}", "-q", *_FORCED[filesystem], raw)
    if format_ != "raw":
        run("qemu-img", "convert", "-f", "raw", "-O", format_, raw, path)
        raw.unlink()
    return path


class Machine(Protocol):
    """A disk that can be mounted, and whose power can be cut while it is."""

    image: Path
    lies_when_cut: bool

    def mount(self) -> Path:
        """Mount it and return where."""

    def cut(self) -> str:
        """Cut the power; return what was done."""

    def clear(self) -> None:
        """Unmount what a cut has left."""


class KernelMachine:
    """The host's kernel, with a loop device; the power is cut by the filesystem's own shutdown call.

    An fsync that it interrupts may succeed, which no power cut could do.
    """

    lies_when_cut = True

    def __init__(self, image: Path) -> None:
        self.image = image
        self._root = image.with_name(f"{image.name}-mounted")
        self._root.mkdir()

    def mount(self) -> Path:
        """Mount it and return where."""
        run("mount", "-o", "loop", self.image, self._root)
        return self._root

    def cut(self) -> str:
        """Stop the filesystem with all that it has not written."""
        shut_down(self._root)
        return "shut down"

    def clear(self) -> None:
        """Unmount what a cut has left."""
        _unmount(self.image, self._root)


class DaemonsMachine:
    """A mount that writes through real daemons, all of ours but qemu: dozens of cuts in the time of one.

    All that serves it is killed. Before that, for every other cut, the filesystem below is shut down: what no fsync was
    made for is lost then too.
    """

    lies_when_cut = False

    def __init__(self, image: Path, seed: int) -> None:
        self.image = image
        self._disk = image.with_name(f"{image.name}-mounted")
        self._root = image.with_name("mnt")
        self._log = image.with_name("log")
        self._disk.mkdir()
        self._root.mkdir()
        self._random = random.Random(seed)
        self._server: subprocess.Popen[str] | None = None
        self._daemons: list[int] = []

    def mount(self) -> Path:
        """Mount it and return where."""
        run("mount", "-o", "loop", self.image, self._disk)
        self.lies_when_cut = self._random.random() < 0.5
        command = [sys.executable, "-m", "tests.mount.server", str(self._disk), str(self._root), "--rw"]
        command += ["--log", str(self._log)]
        self._server = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        assert self._server.stdout is not None
        self._daemons = [int(word) for word in self._server.stdout.readline().split()]
        assert self._daemons
        return self._root

    def cut(self) -> str:
        """Cut the power; return what was done."""
        if self.lies_when_cut:
            shut_down(self._disk)
        self._kill()
        return "shut down" if self.lies_when_cut else "killed"

    def _kill(self) -> None:
        if self._server is not None:
            for pid in (self._server.pid, *self._daemons):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            assert gone_within(self._daemons, GONE_S)
            with self._server:
                self._server = None

    def clear(self) -> None:
        """Unmount what a cut has left."""
        self._kill()
        if find_mount(self._root) is not None:
            run("umount", self._root)
        if find_mount(self._disk) is not None:
            _unmount(self.image, self._disk)
        self._log.unlink(missing_ok=True)


class OurMachine:
    """guestmount-py --rw; the power is cut by killing it, qemu, or both."""

    lies_when_cut = False

    def __init__(self, sandbox: Sandbox, image: Path, format_: str, seed: int) -> None:
        self.image = image
        self._sandbox = sandbox
        self._options = (f"--format={format_}", "--rw")
        self._random = random.Random(seed)

    def mount(self) -> Path:
        """Mount it and return where."""
        words = (*self._options, "-a", self.image, "-m", "/dev/sda", self._sandbox.mountpoint)
        started = self._sandbox.guestmount(*words)
        assert started.returncode == 0, started.stderr + self._sandbox.log()
        return self._sandbox.mountpoint

    def cut(self) -> str:
        """Kill the program, qemu, or both; nothing of them may be left."""
        programs = self._sandbox.processes("guestmount_py.cli")
        machines = self._sandbox.processes("qemu-system")
        assert programs
        assert machines
        name, victims = self._random.choice(
            (
                ("the program", programs),
                ("qemu", machines),
                ("both", programs + machines),
                ("both", machines + programs),
            )
        )
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        if name == "qemu":
            assert gone_within(machines, GONE_S)
        else:
            assert gone_within(programs + machines, GONE_S)
        return f"killed {name}"

    def clear(self) -> None:
        """Unmount what a cut has left, and wait until the image is free; what is said does not matter then."""
        self._sandbox.guestunmount()
        assert self._sandbox.left() == []


@contextmanager
def our_machine(appliance: Path, filesystem: str, format_: str, seed: int) -> Iterator[OurMachine]:
    """Make a disk of its own for a machine of ours, in a sandbox of its own."""
    with open_sandbox(appliance) as sandbox:
        image = make_image(sandbox.directory / f"disk.{format_}", filesystem, format_)
        yield OurMachine(sandbox, image, format_, seed)


def check_image(image: Path, filesystem: str, format_: str = "raw") -> None:
    """Replay the journal of a copy of an image, and let its own checker look at it.

    Raises:
        RuntimeError: the checker has something to say.
    """
    copy = image.with_name(f"{image.name}.copy")
    try:
        if format_ == "raw":
            run("cp", "--sparse=auto", image, copy)
        else:
            _run_with_status((0, 3), "qemu-img", "check", "-f", format_, image)  # 3: clusters that a cut left unused
            run("qemu-img", "convert", "-f", format_, "-O", "raw", image, copy)
        match filesystem:
            case "ext4":
                _run_with_status((0, 1), "e2fsck", "-E", "journal_only", "-y", copy)
                run("e2fsck", "-fn", copy)
            case "xfs":
                _replay(copy)
                run("xfs_repair", "-n", copy)
            case _:
                _replay(copy)
                run("btrfs", "check", "--readonly", copy)
    finally:
        copy.unlink(missing_ok=True)


def _run_with_status(allowed: tuple[int, ...], *command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in allowed:
        raise RuntimeError(f"{' '.join(map(str, command))}: status {done.returncode}: {done.stdout}{done.stderr}")


def _replay(image: Path) -> None:
    """Let the host's kernel replay the log of a filesystem of our own: its checker cannot."""
    root = image.with_name(f"{image.name}-replayed")
    root.mkdir()
    try:
        run("mount", "-o", "loop", image, root)
        _unmount(image, root)
    finally:
        root.rmdir()


def _unmount(image: Path, root: Path) -> None:
    """Unmount an image, and wait until the kernel has done with it: other mount namespaces may hold copies a while."""
    run("umount", root)
    end_s = time.monotonic() + NAMESPACES_S
    while run("losetup", "--associated", image):
        assert time.monotonic() < end_s, f"{image} is still mounted in another namespace"
        time.sleep(0.01)
