"""The qemu process: started, watched, ended; it never outlives us."""

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from typing import Final

import trio

from rpc.errors import LaunchError

_POWER_OFF_S: Final = 10.0
_TERMINATE_S: Final = 5.0


class QemuProcess:
    """A running qemu.

    It is started from the calling thread, the one that runs trio: the kernel kills it when that thread is gone
    (PR_SET_PDEATHSIG follows the thread that spawned; trio's worker threads end after ten idle seconds).
    """

    def __init__(
        self,
        argv: Sequence[str],
        inherited_fds: Sequence[int],
        console_fd: int,
        stdin_fd: int = subprocess.DEVNULL,
    ) -> None:
        program = shutil.which(argv[0])
        if program is None:
            raise LaunchError(f"{argv[0]} is not installed: install the package qemu-system-x86")
        guard = shutil.which("setpriv")
        prefix = [guard, "--pdeathsig", "KILL"] if guard else []
        try:
            self._process: Final = subprocess.Popen(
                [*prefix, program, *argv[1:]],
                stdin=stdin_fd,
                stdout=console_fd,
                stderr=console_fd,
                pass_fds=tuple(inherited_fds),
                start_new_session=True,
                env={**os.environ, "LC_ALL": "C"},
            )
        except OSError as exc:
            raise LaunchError(f"cannot start {program}: {exc.strerror}") from exc
        self._pidfd: Final = os.pidfd_open(self._process.pid)

    @property
    def pid(self) -> int:
        """Return the process's id."""
        return self._process.pid

    async def wait(self) -> int:
        """Wait until the process has gone; return its exit status, negative for a signal."""
        if self._process.poll() is None:
            own = os.dup(self._pidfd)  # trio lets only one task wait for a descriptor
            try:
                await trio.lowlevel.wait_readable(own)
            finally:
                trio.lowlevel.notify_closing(own)
                os.close(own)
        return self._process.wait()

    def kill(self) -> None:
        """Kill the process; who waits for it sees it go."""
        self._process.send_signal(signal.SIGKILL)

    async def end(self) -> int:
        """Wait for the guest to power off, then insist; return the exit status."""
        for patience_s, number in ((_POWER_OFF_S, signal.SIGTERM), (_TERMINATE_S, signal.SIGKILL)):
            with trio.move_on_after(patience_s):
                return await self.wait()
            self._process.send_signal(number)
        return await self.wait()

    def close(self) -> None:
        """Kill the process if it is still there, and free what watches it."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._pidfd)
