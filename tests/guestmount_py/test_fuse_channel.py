"""The channel between a kernel and a pyfuse3 that are sockets here."""

import errno
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import pytest
import trio
import trio.lowlevel

from guestmount_py import fuse_wire as wire
from guestmount_py.fuse_channel import NO_ANSWER, Answer, FuseChannel, Handler
from tests.guestmount_py.kernel import request

_LOOKUP: Final = 1


class _Ends(NamedTuple):
    kernel: socket.socket
    ours: socket.socket
    pyfuse3: socket.socket


def _answer_now(asked: wire.Request) -> Answer:
    return (b"now ", bytes(asked.body))


def _answer_later(asked: wire.Request) -> Awaitable[Answer]:
    body = bytes(asked.body)

    async def answer() -> Answer:
        await trio.sleep(0.01)
        if not body:
            raise KeyError("a bug")
        return (b"later ", body)

    return answer()


def _refuse(_asked: wire.Request) -> Answer:
    raise ValueError("a bug")


@asynccontextmanager
async def _channel() -> AsyncIterator[_Ends]:
    handlers: dict[int, Handler] = {
        wire.READ: _answer_now,
        wire.READDIR: _answer_later,
        wire.OPEN: _refuse,
        wire.READLINK: lambda _asked: None,
        wire.FORGET: lambda _asked: NO_ANSWER,
    }
    kernel, kernel_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours, pyfuse3 = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with kernel, kernel_end, ours, pyfuse3:
        for end in (kernel_end, ours):
            end.setblocking(False)
        for end in (kernel, pyfuse3):
            end.settimeout(5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(FuseChannel(kernel_end.fileno(), ours, handlers).serve)
            yield _Ends(kernel, ours, pyfuse3)
            nursery.cancel_scope.cancel()


async def _receive(end: socket.socket) -> bytes:
    return await trio.to_thread.run_sync(end.recv, 1 << 16)


async def test_answers_now_and_later_carry_their_numbers() -> None:
    async with _channel() as ends:
        ends.kernel.send(request(wire.READDIR, 7, body=b"first"))
        ends.kernel.send(request(wire.READ, 8, body=b"second"))
        for unique, text in ((8, b"now second"), (7, b"later first")):
            reply = await _receive(ends.kernel)
            assert reply == wire.REPLY_HEAD.pack(16 + len(text), 0, unique) + text


@pytest.mark.parametrize("opcode", [wire.OPEN, wire.READDIR])
async def test_bug_of_a_handler_is_eio_and_a_log_line(opcode: int, caplog: pytest.LogCaptureFixture) -> None:
    async with _channel() as ends:
        ends.kernel.send(request(opcode, 9))
        assert await _receive(ends.kernel) == wire.REPLY_HEAD.pack(16, -errno.EIO, 9)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


@pytest.mark.parametrize("opcode", [_LOOKUP, wire.READLINK])
async def test_all_else_is_pyfuse3s_and_its_answer_the_kernels(opcode: int) -> None:
    asked = request(opcode, 10, body=b"name\0")
    async with _channel() as ends:
        ends.kernel.send(asked)
        assert await _receive(ends.pyfuse3) == asked
        ends.pyfuse3.send(b"whatever it says")
        assert await _receive(ends.kernel) == b"whatever it says"


async def test_more_than_pyfuse3_takes_at_once_waits_for_it() -> None:
    body = os.urandom(8192)
    count = 300
    async with _channel() as ends, trio.open_nursery() as nursery:

        def send() -> None:
            for unique in range(count):
                ends.kernel.send(request(_LOOKUP, unique, body=body))

        nursery.start_soon(trio.to_thread.run_sync, send)
        for unique in range(count):
            assert await _receive(ends.pyfuse3) == request(_LOOKUP, unique, body=body)


async def test_nobody_is_told_of_what_needs_no_answer() -> None:
    async with _channel() as ends:
        for opcode in (wire.FORGET, wire.INTERRUPT):
            ends.kernel.send(request(opcode, 11))
        ends.kernel.send(request(wire.READ, 12))
        assert wire.REPLY_HEAD.unpack_from(await _receive(ends.kernel))[2] == 12
        ends.pyfuse3.setblocking(False)
        with pytest.raises(BlockingIOError):
            ends.pyfuse3.recv(1)


@pytest.mark.parametrize(
    ("offered", "wanted"),
    [(wire.CACHE_SYMLINKS | 1, wire.CACHE_SYMLINKS), (wire.ABORT_ERROR, wire.ABORT_ERROR), (1, 0)],
)
async def test_kernel_is_asked_for_what_it_offers(offered: int, wanted: int) -> None:
    reply = wire.REPLY_HEAD.pack(16 + 64, 0, 2) + bytes(12) + (2).to_bytes(4, "little") + bytes(48)
    async with _channel() as ends:
        ends.kernel.send(request(wire.INIT, 2, body=bytes(12) + offered.to_bytes(4, "little") + bytes(48)))
        await _receive(ends.pyfuse3)
        ends.pyfuse3.send(reply)
        assert await _receive(ends.kernel) == reply[:28] + (2 | wanted).to_bytes(4, "little") + bytes(48)
        ends.pyfuse3.send(reply)
        assert await _receive(ends.kernel) == reply


async def test_request_longer_than_the_socket_takes_is_eio(caplog: pytest.LogCaptureFixture) -> None:
    async with _channel() as ends:
        ends.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        ends.kernel.send(request(_LOOKUP, 13, body=bytes(60_000)))
        assert await _receive(ends.kernel) == wire.REPLY_HEAD.pack(16, -errno.EIO, 13)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_all_answers_of_pyfuse3_are_taken_before_it_goes_on() -> None:
    """It says them without waiting for anything but room in the socket, and would halt the process."""
    answers = [wire.REPLY_HEAD.pack(16, 0, unique) for unique in range(1, 26)]
    async with _channel() as ends:
        ends.kernel.setblocking(False)
        for answer in answers:
            ends.pyfuse3.send(answer)
        await trio.lowlevel.wait_readable(ends.kernel)
        assert [ends.kernel.recv(100) for _ in answers] == answers


async def test_notifications_of_pyfuse3_reach_the_kernel() -> None:
    notification = wire.REPLY_HEAD.pack(16, 3, 0)  # FUSE_NOTIFY_INVAL_ENTRY (linux/fuse.h)
    async with _channel() as ends:
        ends.pyfuse3.send(notification)
        assert await _receive(ends.kernel) == notification
