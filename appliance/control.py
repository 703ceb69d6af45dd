"""qemu's control channel after launch: commands of many tasks, answered in any order, and events nobody waits for."""

from collections.abc import Mapping
from typing import Any, Final

import trio

from appliance.qmp import Qmp, QmpError, result_of

_ANSWER_S: Final = 20.0
"""qemu answers within a millisecond, unless it is stopped or is no qemu."""


class _Waiter:
    """One command under way, told of its answer or of the end."""

    def __init__(self) -> None:
        self.done: Final = trio.Event()
        self.answer: dict[str, Any] | None = None


class Control:
    """Commands of any number of tasks, told apart by their ids (qemu: docs/interop/qmp-spec.txt, section 2.3).

    Events are read and dropped all the time: qemu keeps in its memory what nobody reads.

    Args:
        qmp: the conversation; nobody else may use it once ``run`` runs.
    """

    def __init__(self, qmp: Qmp) -> None:
        self._qmp: Final = qmp
        self._begun = trio.Event()
        self._sending = trio.Lock()
        self._waiters: dict[int, _Waiter] = {}
        self._next_id = 1
        self._end: QmpError | None = None

    async def run(self) -> None:
        """Take qemu's answers until it hangs up or talks nonsense; after that every command fails."""
        try:
            if not self._qmp.is_greeted:
                await self._qmp.greet()
            self._begun.set()
            while True:
                self._take(await self._qmp.message())
        except QmpError as exc:
            self._end = exc
        finally:
            self._end = self._end or QmpError("qemu's control channel was closed", hung_up=True)
            self._begun.set()
            for waiter in self._waiters.values():
                waiter.done.set()

    def _take(self, message: dict[str, Any]) -> None:
        number = message.get("id")
        waiter = self._waiters.get(number) if isinstance(number, int) else None
        if waiter is not None:
            waiter.answer = message
            waiter.done.set()

    async def execute(self, command: str, arguments: Mapping[str, Any] | None = None, *, fd: int | None = None) -> Any:
        """Run a command and return what it returns; ``fd`` is passed along.

        Cancellation: the command may be carried out all the same.

        Raises:
            QmpError: qemu refused it, does not answer, or has ended.
        """
        try:
            with trio.fail_after(_ANSWER_S):
                return await self._executed(command, arguments or {}, fd)
        except trio.TooSlowError as exc:
            raise QmpError(f"{command}: qemu does not answer") from exc

    async def _executed(self, command: str, arguments: Mapping[str, Any], fd: int | None) -> Any:
        await self._begun.wait()
        number, waiter = self._next_id, _Waiter()
        self._next_id += 1
        self._waiters[number] = waiter
        try:
            if self._end is None:
                async with self._sending:
                    with trio.CancelScope(shield=True):  # half a command would spoil the next; it fits in the buffer
                        await self._qmp.send({"execute": command, "arguments": arguments, "id": number}, fd=fd)
                await waiter.done.wait()
        finally:
            del self._waiters[number]
        if waiter.answer is None:
            assert self._end is not None
            raise QmpError(f"{command}: {self._end}", hung_up=True) from self._end
        return result_of(command, waiter.answer)
