"""One launch of a handle, from qemu's start to its end."""

import errno
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import trio

from appliance.config import ApplianceConfig
from appliance.launch import launch
from appliance.running import Appliance
from appliance.state import StateMachine
from guestmount_py.events import ConsoleOutput, Events, LogMessage, SubprocessQuit
from guestmount_py.observed_pool import ObservedPool
from rpc.errors import ConnectionLost, LaunchError, ProcedureError

_DEATH_S: Final = 2.0
"""How long a qemu that has hung up may take to end by itself."""


class Session:
    """An appliance and its channels, owned by the task that runs ``run``.

    Attributes:
        ended: set when nothing is left of it.
        orderly: the end was asked for, by ``shutdown`` or ``close``.
        status: qemu's exit status, negative for a signal; None as long as it runs or if it never ran.
    """

    def __init__(self, events: Events) -> None:
        self.ended: Final = trio.Event()
        self.orderly = False
        self.status: int | None = None
        self._events = events
        self._whole = trio.CancelScope()
        self._serving = trio.CancelScope()
        self._transfers: set[trio.CancelScope] = set()
        self._appliance: Appliance | None = None
        self._pool: ObservedPool | None = None

    async def run(self, config: ApplianceConfig, machine: StateMachine, task_status: "trio.TaskStatus[None]") -> None:
        """Launch, report that it is ready, and stay until qemu has gone or ``leave`` is called.

        Raises:
            DriveError, LaunchError: before it was ready.
        """
        try:
            with self._whole:
                await self._run(config, machine, task_status)
            if self._whole.cancelled_caught:
                raise LaunchError("the launch was broken off: the subprocess was killed")
        finally:
            self.ended.set()

    async def _run(self, config: ApplianceConfig, machine: StateMachine, task_status: "trio.TaskStatus[None]") -> None:
        async with launch(
            config,
            log=lambda text: self._events.emit(LogMessage(text)),
            console=lambda data: self._events.emit(ConsoleOutput(data)),
            machine=machine,
        ) as appliance:
            self._appliance = appliance
            self._pool = ObservedPool(appliance.channels, self._events)
            task_status.started()
            with self._serving:
                await appliance.gone.wait()
        self.status = await appliance.wait()
        if not self.orderly:
            self._events.emit(SubprocessQuit(self.status, appliance.console_tail))

    @property
    def is_launching(self) -> bool:
        """Tell whether it is not ready yet."""
        return self._pool is None

    @property
    def appliance(self) -> Appliance:
        """Return the appliance, which must be ready."""
        assert self._appliance is not None
        return self._appliance

    @property
    def pool(self) -> ObservedPool:
        """Return the channels, which must be ready."""
        assert self._pool is not None
        return self._pool

    def leave(self) -> None:
        """Hang up: the guest unmounts and powers off. A launch under way is broken off."""
        self.orderly = True
        if self.is_launching:
            self._whole.cancel()
        self._serving.cancel()

    def kill(self) -> None:
        """Kill qemu, or break the launch off."""
        if self.is_launching:
            self._whole.cancel()
        else:
            self.appliance.kill()

    @contextmanager
    def transfer(self, name: str) -> Iterator[None]:
        """Make the block one that ``cancel_transfers`` ends.

        Raises:
            ProcedureError: it was, with EINTR.
        """
        with trio.CancelScope() as scope:
            self._transfers.add(scope)
            try:
                yield
            finally:
                self._transfers.discard(scope)
        if scope.cancelled_caught:
            raise ProcedureError(name, errno.EINTR, "EINTR", "cancelled by the user")

    def cancel_transfers(self) -> None:
        """End every transfer that is under way."""
        for scope in self._transfers:
            scope.cancel()

    @asynccontextmanager
    async def calling(self, name: str) -> AsyncIterator[None]:
        """Make the block one whose ConnectionLost is raised when nothing is left of the appliance, and says why.

        What another handle lost in the block, which may copy from one to the other, passes.
        """
        try:
            yield
        except ConnectionLost as exc:
            if not self.appliance.gone.is_set() and not any(channel.is_lost for channel in self.appliance.channels):
                raise
            with trio.move_on_after(math.inf if self.orderly else _DEATH_S):
                await self.ended.wait()
            if not self.ended.is_set():
                self.appliance.kill()
                await self.ended.wait()
            raise ConnectionLost(f"{name}: the appliance went away: {self.last_words}") from exc

    @property
    def last_words(self) -> str:
        """Return how qemu ended and what the appliance said at last."""
        return f"qemu ended with status {self.status}: {self.appliance.console_tail}"
