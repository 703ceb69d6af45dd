import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from appliance.qmp import Qmp, QmpError

GREETING: dict[str, Any] = {"QMP": {"version": {}, "capabilities": []}}


@asynccontextmanager
async def scripted(*answers: dict[str, Any] | bytes) -> AsyncIterator[tuple[Qmp, socket.socket]]:
    """A client, and the end of a qemu that has already said all it will say."""
    ours, theirs = socket.socketpair()
    with theirs:
        for answer in answers:
            theirs.sendall(answer if isinstance(answer, bytes) else json.dumps(answer).encode() + b"\r\n")
        async with trio.SocketStream(trio.socket.from_stdlib_socket(ours)) as stream:
            yield Qmp(stream), theirs


async def test_command_is_sent_and_its_return_value_returned() -> None:
    async with scripted(GREETING, {"return": {}}, {"return": {"status": "paused"}}) as (qmp, theirs):
        await qmp.greet()
        assert await qmp.execute("query-status", {"a": 1}) == {"status": "paused"}
        requests = [json.loads(line) for line in theirs.recv(4096).splitlines()]
    assert requests == [
        {"execute": "qmp_capabilities", "arguments": {}},
        {"execute": "query-status", "arguments": {"a": 1}},
    ]


async def test_refusal_carries_the_command_and_qemus_own_words() -> None:
    refusal = {"error": {"class": "GenericError", "desc": 'Failed to get "write" lock'}}
    async with scripted(refusal) as (qmp, _):
        with pytest.raises(QmpError, match=r'^blockdev-add: Failed to get "write" lock$') as caught:
            await qmp.execute("blockdev-add")
    assert not caught.value.hung_up


async def test_event_between_command_and_answer_is_kept() -> None:
    event = {"event": "MIGRATION", "data": {"status": "completed"}}
    async with scripted({"event": "STOP"}, event, {"return": {}}) as (qmp, _):
        assert await qmp.execute("migrate") == {}
        assert await qmp.event("MIGRATION") == {"status": "completed"}


async def test_descriptor_passes_with_a_command() -> None:
    read_end, write_end = os.pipe()
    async with scripted({"return": {}}) as (qmp, theirs):
        await qmp.execute("getfd", {"fdname": "state"}, fd=write_end)
        data, fds, _, _ = socket.recv_fds(theirs, 4096, 1)
    assert json.loads(data)["arguments"] == {"fdname": "state"}
    os.close(write_end)
    os.write(fds[0], b"passed")
    os.close(fds[0])
    assert os.read(read_end, 100) == b"passed"
    os.close(read_end)


@pytest.mark.parametrize("said", [b"Segmentation fault\n", b"[1, 2]\n", b'{"unfinished\n'])
async def test_nonsense_is_an_error(said: bytes) -> None:
    async with scripted(said) as (qmp, _):
        with pytest.raises(QmpError, match="no JSON"):
            await qmp.greet()


async def test_other_protocol_is_an_error() -> None:
    async with scripted({"SSH": "2.0"}) as (qmp, _):
        with pytest.raises(QmpError, match="greeting"):
            await qmp.greet()


async def test_end_of_qemu_is_an_error_that_says_so() -> None:
    async with scripted(GREETING) as (qmp, theirs):
        theirs.close()
        with pytest.raises(QmpError, match="hung up") as caught:
            await qmp.greet()
    assert caught.value.hung_up


async def test_endless_line_is_an_error() -> None:
    async with scripted() as (qmp, theirs):

        async def flood() -> None:
            sender = trio.socket.from_stdlib_socket(theirs.dup())
            with sender:
                try:
                    while True:
                        await sender.send(b"x" * 65536)
                except BrokenPipeError:
                    return

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            with pytest.raises(QmpError, match="more than a line"):
                await qmp.greet()
            nursery.cancel_scope.cancel()
