"""qemu-storage-daemon: qemu's block layer without a machine, asked over its control channel."""

import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import trio

from appliance.qemu_process import QemuProcess
from appliance.qmp import Qmp, QmpError
from rpc.errors import DriveError

_PROGRAM: Final = "qemu-storage-daemon"
_IF_WE_LIVE: Final = ("sh", "-c", '[ "$PPID" = "$1" ] || exit; shift; exec "$@"', "sh")
"""Who is killed while it starts a process leaves one that was not told yet to die with it: this one sees to that."""
_END_S: Final = 60.0
"""How long writing out may take at the end."""
_WORDS_MAX_BYTES: Final = 4096


class StorageDaemon:
    """A running qemu-storage-daemon, for one task.

    Args:
        qmp: its control channel, greeted.
    """

    def __init__(self, qmp: Qmp) -> None:
        self._qmp: Final = qmp

    async def execute(self, command: str, **arguments: Any) -> Any:
        """Run a command and return what it returns; underscores in names of arguments stand for hyphens.

        Raises:
            DriveError: it was refused.
        """
        try:
            return await self._qmp.execute(
                command, {name.replace("_", "-"): value for name, value in arguments.items()}
            )
        except QmpError as exc:
            raise DriveError(" ".join(str(exc).split())) from exc  # qemu puts hints on lines of their own

    async def event(self, name: str) -> dict[str, Any]:
        """Wait for an event; others that come are dropped.

        Raises:
            DriveError: the program has ended.
        """
        try:
            return await self._qmp.event(name)
        except QmpError as exc:
            raise DriveError(str(exc)) from exc


@asynccontextmanager
async def storage_daemon() -> AsyncIterator[StorageDaemon]:
    """Own a qemu-storage-daemon; when the block ends without an error, everything has been written out.

    Otherwise, and when it is cancelled, jobs are broken off, and what was done so far is written out. It dies with us.

    Raises:
        DriveError: it is not installed, or failed at the end.
    """
    if shutil.which(_PROGRAM) is None:
        raise DriveError(f"{_PROGRAM} is not installed: install the package qemu-system-common")
    ours, theirs = socket.socketpair()
    output, messages = os.pipe2(os.O_CLOEXEC)
    try:
        argv = [*_IF_WE_LIVE, str(os.getpid()), _PROGRAM]
        argv += ["--chardev", f"socket,id=control,fd={theirs.fileno()}", "--monitor", "chardev=control"]
        process = QemuProcess(argv, [theirs.fileno()], messages)
    except BaseException:
        ours.close()
        os.close(output)
        raise
    finally:
        theirs.close()
        os.close(messages)
    try:
        async with trio.SocketStream(trio.socket.from_stdlib_socket(ours)) as stream:
            qmp = Qmp(stream)
            try:
                await qmp.greet()
                yield StorageDaemon(qmp)
                await qmp.execute("quit")
                status = await process.wait()
            except BaseException as exc:
                await _break_off(process)
                if isinstance(exc, QmpError):
                    raise DriveError(f"{_PROGRAM}: {exc}{_last_words(output)}") from exc
                raise
        if status:
            raise DriveError(f"{_PROGRAM} ended with status {status}{_last_words(output)}")
    finally:
        process.close()
        os.close(output)


async def _break_off(process: QemuProcess) -> None:
    """Make it end in order, so that it closes the images; kill it if it does not."""
    with trio.CancelScope(shield=True), trio.move_on_after(_END_S):
        os.kill(process.pid, signal.SIGTERM)
        await process.wait()


def _last_words(output: int) -> str:
    """Return the last line it complained of, behind a colon."""
    os.set_blocking(output, False)
    try:
        lines = os.read(output, _WORDS_MAX_BYTES).decode("utf-8", "replace").split("\n")
    except BlockingIOError:
        lines = []
    last = next((line for line in reversed(lines) if line.strip()), "")
    return f": {last}" if last else ""
