"""Who is measured: the command that mounts, and the one that unmounts, for each of the four."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

from bench import processes
from bench.image import Workload
from tests.guests.cache import CACHE_DIRECTORY, run

REPOSITORY: Final = Path(__file__).parent.parent
PACKAGES: Final = ("debootstrap", "e2fsprogs", "fdisk", "fuse2fs", "fuse3", "guestmount", "rsync")
COMMAND_TIMEOUT_S: Final = 300.0
GONE_TIMEOUT_S: Final = 60.0

OURS: Final = "guestmount-py"
THEIRS: Final = "guestmount"
KERNEL: Final = "kernel"

Command = tuple[str | Path, ...]


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to see the files of an image.

    Attributes:
        name: as on the command line and in the results.
        mount: builds the command that returns when the mount is ready.
        mount_qcow2: the same for the rows about mounting, as one would type it: a qcow2 image, its format guessed; None
            for one that reads only raw images.
        mount_by_guest: the same for the row about reading through the guest; None for one that has no choice.
        mount_inspected: the same for the row about inspection; None for one that cannot inspect.
        mount_writable: the same for the rows about writing.
        unmount: the command that takes the directory as its last argument.
        version: the command that prints a version.
        environment: added to ours for all of these.
        booting: added where an appliance must boot; None if there is none.
    """

    name: str
    mount: Callable[[Workload, Path], Command]
    mount_writable: Callable[[Workload, Path], Command]
    unmount: Command
    version: Command
    environment: Mapping[str, str] = field(default_factory=dict)
    booting: Mapping[str, str] | None = None
    mount_qcow2: Callable[[Workload, Path], Command] | None = None
    mount_by_guest: Callable[[Workload, Path], Command] | None = None
    mount_inspected: Callable[[Workload, Path], Command] | None = None

    @property
    def for_mounting(self) -> "Contender":
        """The same, as it is measured in the rows about mounting."""
        return replace(self, mount=self.mount_qcow2 or self.mount)

    @property
    def by_guest(self) -> "Contender":
        """The same, with the guest reading the files."""
        return replace(self, mount=self.mount_by_guest or self.mount)

    @property
    def writing(self) -> "Contender":
        """The same, mounting for writing."""
        return replace(self, mount=self.mount_writable)

    @contextmanager
    def mounted(self, workload: Workload, directory: Path) -> Iterator[float]:
        """Mount the workload's partition; afterwards nothing of it is left, whatever happened meanwhile.

        Yields:
            Seconds until the mount was ready: its files can be seen, not only a command has returned.

        Raises:
            RuntimeError: a command failed, or our own processes did not end after the unmount.
        """
        try:
            start_s = time.perf_counter()
            self.run(*self.mount(workload, directory))
            next(directory.iterdir())
            mount_s = time.perf_counter() - start_s
            try:
                yield mount_s
            finally:
                self.run(*self.unmount, directory)
            if not processes.wait_until_gone(GONE_TIMEOUT_S):
                said = f"{self.name}: processes left {GONE_TIMEOUT_S:.0f} s after the unmount"
                if self.name == OURS:
                    raise RuntimeError(said)
                print(f"  {said}: killed")  # guestmount does that now and then; what was measured stays true
        finally:
            processes.kill_all()
            if _is_mounted(directory):
                run("umount", "--lazy", directory)

    def describe(self) -> str:
        """Return the version, one line."""
        return self.run(*self.version).strip().splitlines()[0]

    def run(self, *command: str | Path) -> str:
        """Run a command and return what it says; RuntimeError if it fails."""
        # Output goes to a file: what stays in the background would hold a pipe open for ever.
        with tempfile.TemporaryFile() as output:
            finished = subprocess.run(
                command,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=COMMAND_TIMEOUT_S,
            )
            output.seek(0)
            said = output.read().decode(errors="replace").strip()
        if finished.returncode != 0:
            raise RuntimeError(f"{self.name}: {' '.join(map(str, command))}: status {finished.returncode}: {said}")
        return said


def install_packages() -> None:
    """Install what the contenders and the image need, where missing.

    guestmount builds its appliance around the kernel in /boot, so a machine without one there (a container, a guest
    booted from outside) gets Debian's.
    """
    kernel = () if any(Path("/boot").glob("vmlinuz-*")) else ("linux-image-amd64",)
    subprocess.run([REPOSITORY / "tools/install-debian-packages", *PACKAGES, *kernel], check=True)


def _is_mounted(directory: Path) -> bool:
    """Tell whether something is mounted there, without touching it: its server may be dead or stuck."""
    mounts = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    return any(line.split()[4] == str(directory) for line in mounts)


def _mount_ours(workload: Workload, directory: Path, mode: str = "--ro") -> Command:
    return _python("guestmount_py.cli", "--format=raw", "-a", workload.image, "-m", "/dev/sda1", mode, directory)


def _mount_ours_by_guest(workload: Workload, directory: Path) -> Command:
    return (*_mount_ours(workload, directory), "--plane=guest")


def _mount_qcow2_by(program: Command, *what: str) -> Callable[[Workload, Path], Command]:
    return lambda workload, directory: (*program, "-a", workload.qcow2, *what, "--ro", directory)


def mount_overlay(overlay: Path, directory: Path) -> Command:
    """Return the command that mounts, by this project, an image that is an overlay."""
    return _python("guestmount_py.cli", "--format=qcow2", "-a", overlay, "-m", "/dev/sda1", "--ro", directory)


def _mount_theirs(workload: Workload, directory: Path, mode: str = "--ro") -> Command:
    return ("guestmount", "--format=raw", "-a", workload.image, "-m", "/dev/sda1", mode, directory)


def _mount_theirs_writable(workload: Workload, directory: Path) -> Command:
    # Otherwise it makes inode numbers up, and others later: tar takes directories for renamed ones.
    return (*_mount_theirs(workload, directory, "--rw"), "-o", "use_ino")


def _mount_fuse2fs(workload: Workload, directory: Path, mode: str = "ro") -> Command:
    return ("fuse2fs", "-o", f"{mode},offset={workload.partition.start_bytes}", workload.image, directory)


def _mount_kernel(workload: Workload, directory: Path, mode: str = "ro") -> Command:
    where = f"offset={workload.partition.start_bytes},sizelimit={workload.partition.size_bytes}"
    return ("mount", "-t", "ext4", "-o", f"{mode},loop,{where}", workload.image, directory)


def _python(module: str, *arguments: str | Path) -> Command:
    return (sys.executable, "-m", module, *arguments)


# The same accelerator for both appliances, and one that works everywhere: /dev/kvm may be there and hang qemu.
_ACCELERATOR: Final = {"LIBGUESTFS_BACKEND_SETTINGS": os.environ.get("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg")}

CONTENDERS: Final = (
    Contender(
        OURS,
        _mount_ours,
        partial(_mount_ours, mode="--rw"),
        _python("guestmount_py.unmount"),
        _python("guestmount_py.cli", "--version"),
        _ACCELERATOR,
        {"GUESTMOUNT_PY_TEMPLATE": "0"},
        _mount_qcow2_by(_python("guestmount_py.cli"), "-m", "/dev/sda1"),
        _mount_ours_by_guest,
        _mount_qcow2_by(_python("guestmount_py.cli"), "-i"),
    ),
    Contender(
        THEIRS,
        _mount_theirs,
        _mount_theirs_writable,
        ("guestunmount", "--quiet"),
        ("guestmount", "--version"),
        {"LIBGUESTFS_BACKEND": "direct", "LIBGUESTFS_CACHEDIR": os.fspath(CACHE_DIRECTORY), **_ACCELERATOR},
        {},
        _mount_qcow2_by(("guestmount",), "-m", "/dev/sda1"),
        mount_inspected=_mount_qcow2_by(("guestmount",), "-i"),
    ),
    Contender("fuse2fs", _mount_fuse2fs, partial(_mount_fuse2fs, mode="rw"), ("umount",), ("fuse2fs", "-V")),
    Contender(KERNEL, _mount_kernel, partial(_mount_kernel, mode="rw"), ("umount",), ("uname", "-sr")),
)
