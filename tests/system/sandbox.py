"""The two programs, run as a user runs them but in private directories, and the proof that they leave nothing."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import trio

REPOSITORY: Final = Path(__file__).parents[2]
COMMAND_TIMEOUT_S: Final = 300.0
GUESTMOUNT: Final = (sys.executable, "-m", "guestmount_py.cli")
GUESTUNMOUNT: Final = (sys.executable, "-m", "guestmount_py.unmount")
SLOW: Final = re.compile(
    r"^guestmount-py: (?:the (?:appliance|guest) is still .*|another process is .*; waiting for it)\n", re.MULTILINE
)
"""What is said now and then of what takes its time, which depends on what else the machine does."""


class Sandbox:
    """A directory that holds everything a run of the programs makes.

    Attributes:
        directory: free for the test, but for ``run``, ``tmp`` and ``state``.
        mountpoint: an empty directory to mount on.
        environment: what the programs see.
    """

    def __init__(self, directory: Path, appliance: Path) -> None:
        self.directory = directory
        self.mountpoint = directory / "mnt"
        self.mountpoint.mkdir()
        self._left_over = [directory / name for name in ("run/guestmount-py", "tmp")]
        for path in (directory / "run", *self._left_over, directory / "state"):
            path.mkdir(mode=0o700)
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "XDG_RUNTIME_DIR": str(directory / "run"),
            "TMPDIR": str(directory / "tmp"),
            "XDG_STATE_HOME": str(directory / "state"),
            "LIBGUESTFS_PATH": str(appliance),
        }

    def guestmount(
        self, *arguments: str | Path, prefix: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run guestmount-py; it returns when the mount is ready or has failed. That it takes long is left out.

        Args:
            arguments: of the program.
            prefix: a command that runs it, such as unshare or setpriv.
            environment: variables to add.
        """
        done = self._run((*prefix, *GUESTMOUNT, *arguments), environment or {})
        done.stderr = SLOW.sub("", done.stderr)
        return done

    def guestunmount(self) -> subprocess.CompletedProcess[str]:
        """Run guestunmount-py on the mount point."""
        return self._run((*GUESTUNMOUNT, self.mountpoint), {})

    def _run(self, command: Sequence[str | Path], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env={**self.environment, **environment},
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
        )

    @contextmanager
    def mounted(
        self, image: Path, mounts: Sequence[str], *options: str | Path, prefix: Sequence[str] = (), warning: str = ""
    ) -> Iterator[Path]:
        """Mount partitions of an image for as long as the block runs; nothing must be left afterwards.

        Args:
            image: the disk, ``/dev/sda`` in the guest.
            mounts: arguments of ``-m``.
            options: further options, put before ``-a``.
            prefix: a command that runs the program.
            warning: part of the one line that it prints; none if empty.
        """
        selected = [word for mount in mounts for word in ("-m", mount)]
        started = self.guestmount(*options, "-a", image, *selected, "--ro", self.mountpoint, prefix=prefix)
        assert started.returncode == 0, started.stderr + self.log()
        try:
            assert started.stderr.count("\n") == bool(warning)
            assert warning in started.stderr
            yield self.mountpoint
        finally:
            ended = self.guestunmount()
        assert (ended.returncode, ended.stderr) == (0, ""), self.log()
        assert self.left() == []

    def processes(self, program: str = "") -> list[int]:
        """Return the processes that run in this sandbox's environment, or those of them running one program."""
        mark = f"XDG_RUNTIME_DIR={self.directory / 'run'}".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    command = (entry / "cmdline").read_bytes().decode(errors="replace")
                    if program in command:
                        found.append(int(entry.name))
            except OSError:
                continue
        return found

    def left(self) -> list[str]:
        """Return what is still there: processes, mounts, runtime records and temporary files."""
        found = [f"process {number}" for number in self.processes()]
        found += [
            line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f" {self.mountpoint} " in line
        ]
        return found + [str(path) for directory in self._left_over for path in directory.rglob("*")]

    def log(self) -> str:
        """Return the programs' own logs."""
        return "\n".join(path.read_text() for path in (self.directory / "state").rglob("*.log"))


def gone_within(pids: Sequence[int], limit_s: float) -> bool:
    """Wait until processes have ended, without polling; False if one is still there at the limit."""

    async def wait() -> bool:
        with trio.move_on_after(limit_s) as scope:
            for pid in pids:
                try:
                    descriptor = os.pidfd_open(pid)
                except ProcessLookupError:
                    continue
                try:
                    await trio.lowlevel.wait_readable(descriptor)
                finally:
                    os.close(descriptor)
        return not scope.cancelled_caught

    return trio.run(wait)
