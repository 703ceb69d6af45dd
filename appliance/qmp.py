"""qemu's control channel: one JSON object a line (qemu: docs/interop/qmp-spec.txt)."""

import json
import socket
from array import array
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

import trio

from rpc.errors import LaunchError

_LINE_MAX_BYTES: Final = 1 << 20
_RECEIVE_BYTES: Final = 64 * 1024


class QmpError(LaunchError):
    """qemu refused a command, in its own words, or hung up.

    Attributes:
        hung_up: there is nobody to talk to any more.
    """

    def __init__(self, message: str, *, hung_up: bool = False) -> None:
        super().__init__(message)
        self.hung_up = hung_up


class Qmp:
    """A conversation with qemu, for one task at a time.

    Args:
        stream: our end of a socketpair whose other end qemu has inherited.

    Attributes:
        is_greeted: it has begun.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self._socket: Final = stream.socket
        self._buffer = bytearray()
        self._events: deque[dict[str, Any]] = deque()
        self.is_greeted = False

    async def greet(self) -> str:
        """Wait for qemu, begin, and return its version.

        Raises:
            QmpError: it has ended, or speaks something else.
        """
        greeting = (await self.message()).get("QMP")
        if not isinstance(greeting, dict):
            raise QmpError("qemu's control channel does not begin with its greeting")
        await self.execute("qmp_capabilities")
        self.is_greeted = True
        return json.dumps(greeting.get("version"))

    async def execute(self, command: str, arguments: Mapping[str, Any] | None = None, *, fd: int | None = None) -> Any:
        """Run a command and return what it returns; ``fd`` is passed along.

        Raises:
            QmpError: qemu refused it, or has ended.
        """
        await self.send({"execute": command, "arguments": arguments or {}}, fd=fd)
        while "event" in (answer := await self.message()):
            self._events.append(answer)
        return result_of(command, answer)

    async def event(self, name: str) -> dict[str, Any]:
        """Wait for an event and return its data; others that come are dropped.

        Raises:
            QmpError: qemu has ended.
        """
        while True:
            message = self._events.popleft() if self._events else await self.message()
            if message.get("event") == name:
                return dict(message.get("data", {}))

    async def send(self, request: Mapping[str, Any], *, fd: int | None = None) -> None:
        """Send a command as it stands; its answer is one of the messages to come.

        Cancellation: half of it may have been sent; nothing more can be then.

        Raises:
            QmpError: qemu has ended.
        """
        data = json.dumps(request).encode() + b"\n"
        try:
            if fd is not None:
                ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [fd]))]
                data = data[await self._socket.sendmsg([data], ancillary) :]
            while data:
                data = data[await self._socket.send(data) :]
        except (OSError, trio.ClosedResourceError) as exc:
            raise QmpError(f"qemu hung up: {exc}", hung_up=True) from exc

    async def message(self) -> dict[str, Any]:
        """Return what qemu says next: an answer or an event.

        Raises:
            QmpError: it has ended, or talks nonsense.
        """
        while (end := self._buffer.find(b"\n")) < 0:
            data = await self._receive()
            if not data or len(self._buffer) > _LINE_MAX_BYTES:
                raise QmpError("qemu hung up" if not data else "qemu says more than a line may hold", hung_up=True)
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        try:
            message = json.loads(line)
        except ValueError as exc:
            raise QmpError(f"qemu says something that is no JSON: {line[:100]!r}") from exc
        if not isinstance(message, dict):
            raise QmpError(f"qemu says something that is no JSON object: {line[:100]!r}")
        return message

    async def _receive(self) -> bytes:
        try:
            return bytes(await self._socket.recv(_RECEIVE_BYTES))
        except (OSError, trio.ClosedResourceError) as exc:
            raise QmpError(f"qemu hung up: {exc}", hung_up=True) from exc


def result_of(command: str, answer: Mapping[str, Any]) -> Any:
    """Return what a command returned.

    Raises:
        QmpError: qemu refused it.
    """
    if "return" in answer:
        return answer["return"]
    error = answer.get("error")
    words = error.get("desc") if isinstance(error, dict) else None
    raise QmpError(f"{command}: {words or 'refused without a word'}")
