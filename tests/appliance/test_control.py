import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from appliance.control import Control
from appliance.qmp import Qmp, QmpError

GREETING: dict[str, Any] = {"QMP": {"version": {}, "capabilities": []}}


class Peer:
    """Stands where qemu stands: it answers as a test tells it to."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._buffer = b""

    async def command(self) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            self._buffer += await self._stream.receive_some()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return dict(json.loads(line))

    async def say(self, message: dict[str, Any] | bytes) -> None:
        await self._stream.send_all(message if isinstance(message, bytes) else json.dumps(message).encode() + b"\r\n")

    async def greet(self) -> None:
        await self.say(GREETING)
        assert (await self.command())["execute"] == "qmp_capabilities"
        await self.say({"return": {}})

    async def hang_up(self) -> None:
        await self._stream.aclose()


@asynccontextmanager
async def conversation() -> AsyncIterator[tuple[Control, Peer]]:
    ours, theirs = (trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in socket.socketpair())
    async with ours, theirs, trio.open_nursery() as nursery:
        control = Control(Qmp(ours))
        nursery.start_soon(control.run)
        yield control, Peer(theirs)
        nursery.cancel_scope.cancel()


async def test_answers_find_their_commands_in_any_order() -> None:
    answers = {}

    async def ask(control: Control, command: str) -> None:
        answers[command] = await control.execute(command)

    async with conversation() as (control, peer), trio.open_nursery() as nursery:
        await peer.greet()
        for command in ("a", "b", "c"):
            nursery.start_soon(ask, control, command)
        commands = [await peer.command() for _ in range(3)]
        for each in reversed(commands):
            await peer.say({"event": "RTC_CHANGE", "data": {}})
            await peer.say({"return": each["execute"].upper(), "id": each["id"]})
    assert answers == {"a": "A", "b": "B", "c": "C"}


async def test_refusal_is_for_the_one_who_asked() -> None:
    async with conversation() as (control, peer), trio.open_nursery() as nursery:
        await peer.greet()

        async def refuse() -> None:
            command = await peer.command()
            await peer.say({"error": {"class": "GenericError", "desc": "not now"}, "id": command["id"]})

        nursery.start_soon(refuse)
        with pytest.raises(QmpError, match=r"^cont: not now$") as caught:
            await control.execute("cont")
    assert not caught.value.hung_up


async def test_answer_to_a_cancelled_command_is_nobodys() -> None:
    async with conversation() as (control, peer):
        await peer.greet()
        with trio.move_on_after(0) as scope:
            await control.execute("first")
        assert scope.cancelled_caught
        async with trio.open_nursery() as nursery:

            async def answer() -> None:
                while (command := await peer.command())["execute"] != "second":
                    await peer.say({"return": "wrong", "id": command["id"]})
                await peer.say({"return": "right", "id": command["id"]})

            nursery.start_soon(answer)
            assert await control.execute("second") == "right"


@pytest.mark.parametrize("is_greeted", [False, True])
async def test_end_of_qemu_ends_every_command(is_greeted: bool) -> None:
    async with conversation() as (control, peer):
        if is_greeted:
            await peer.greet()

        async def ask() -> None:
            with pytest.raises(QmpError, match="hung up") as caught:
                await control.execute("query-status")
            assert caught.value.hung_up

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            await peer.hang_up()
        await ask()


async def test_nonsense_ends_the_conversation() -> None:
    async with conversation() as (control, peer):
        await peer.greet()
        await peer.say(b"Segmentation fault\n")
        with pytest.raises(QmpError, match="no JSON"):
            await control.execute("query-status")


async def test_program_that_speaks_no_qmp_is_not_waited_for_for_ever(autojump_clock: MockClock) -> None:
    async with conversation() as (control, _):
        with pytest.raises(QmpError, match="query-status: qemu does not answer"):
            await control.execute("query-status")
