"""The channel to the kernel: what comes often is answered here, all else by pyfuse3.

pyfuse3 takes about 80 µs for each request, this loop 10, and pyfuse3 can say neither that directories may be cached nor
which file a READ without a handle means. So it stands behind a socket: what it shall answer is passed to it, and its
answers to the kernel (docs/decisions/0010).
"""

import errno
import math
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Final

import trio

from guestmount_py.errno_boundary import errno_of
from guestmount_py.fuse_wire import INIT, INTERRUPT, REPLY_HEAD, Request, add_wishes, init_flags, request_of
from guestmount_py.log import logger

Answer = Sequence[bytes | bytearray | memoryview]
"""What stands behind the head of a reply."""
Handler = Callable[[Request], Answer | Awaitable[Answer] | None]
"""Answers at once, or says what to wait for; None leaves the request to pyfuse3. Raises what ``errno_of`` knows."""
NO_ANSWER: Final = (b"",)
"""The kernel waits for none."""

_REQUEST_MAX_BYTES: Final = (1 << 20) + 4096
"""The largest that libfuse lets the kernel send; it refuses to be read with less room."""
_AT_ONCE: Final = 32
"""So many requests are taken before other tasks get their turn."""
_SOCKET_BYTES: Final = 1 << 20
_TASKS_MAX: Final = 32
_ANSWER_MAX_BYTES: Final = 12 << 10
"""More than an answer of pyfuse3's takes in the socket: the longest is the target of a link, of a page."""
_GONE: Final = (errno.ENODEV, errno.ECONNABORTED, errno.ENOTCONN)
_TAKEN_BACK: Final = (errno.ENOENT, errno.EINTR)
"""The request, or who made it, has gone."""


class FuseChannel:
    """Requests of the kernel's, from its own descriptor.

    Args:
        kernel: the descriptor.
        pyfuse3_end: our end of the socket that pyfuse3 takes for it.
        handlers: by opcode.
        pyfuse3_tasks: how many tasks pyfuse3 may have.

    Attributes:
        pyfuse3_tasks: the same.
        is_aborted: the kernel gave the connection up, and the mount may still be there.
    """

    def __init__(
        self, kernel: int, pyfuse3_end: socket.socket, handlers: Mapping[int, Handler], pyfuse3_tasks: int = _TASKS_MAX
    ) -> None:
        self.pyfuse3_tasks: Final = pyfuse3_tasks
        self.is_aborted = False
        self._kernel: Final = kernel
        self._pyfuse3: Final = pyfuse3_end
        self._handlers: Final = handlers
        self._init: tuple[int, int] | None = None
        """Of INIT: its number, and the flags that the kernel offers."""

    async def serve(self) -> None:
        """Answer until the filesystem is unmounted."""
        send, receive = trio.open_memory_channel[bytes](math.inf)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pass_answers, send)
            nursery.start_soon(self._notify, receive)
            await self._take_requests(nursery)
            nursery.cancel_scope.cancel()

    async def _take_requests(self, nursery: trio.Nursery) -> None:
        buffer = bytearray(_REQUEST_MAX_BYTES)
        view = memoryview(buffer)
        while True:
            await trio.lowlevel.wait_readable(self._kernel)
            for _ in range(_AT_ONCE):
                try:
                    size_bytes = os.readv(self._kernel, (buffer,))
                except BlockingIOError:
                    break
                except OSError as exc:
                    if exc.errno in _TAKEN_BACK:
                        continue
                    if exc.errno in _GONE:
                        self.is_aborted = exc.errno == errno.ECONNABORTED
                        return
                    raise
                if not self._answer(request_of(view[:size_bytes]), nursery):
                    await self._leave_to_pyfuse3(view[:size_bytes])

    def _answer(self, request: Request, nursery: trio.Nursery) -> bool:
        """Answer a request, now or soon; False if it is pyfuse3's."""
        handler = self._handlers.get(request.opcode)
        if handler is None:
            if request.opcode == INIT:
                self._init = request.unique, init_flags(request.body)
            return request.opcode == INTERRUPT  # nothing is given up half way; libfuse would keep it for ever
        try:
            answer = handler(request)
        except Exception as exc:
            self._reply_error(request.unique, errno_of(exc, handler.__name__))
            return True
        if answer is None:
            return False
        if not isinstance(answer, Sequence):
            nursery.start_soon(self._answer_later, request.unique, answer, handler.__name__)
        elif answer is not NO_ANSWER:
            self._reply(request.unique, answer)
        return True

    async def _answer_later(self, unique: int, answer: Awaitable[Answer], name: str) -> None:
        try:
            self._reply(unique, await answer)
        except Exception as exc:
            self._reply_error(unique, errno_of(exc, name))

    def _reply(self, unique: int, answer: Answer) -> None:
        size_bytes = REPLY_HEAD.size + sum(map(len, answer))
        self._write((REPLY_HEAD.pack(size_bytes, 0, unique), *answer))

    def _reply_error(self, unique: int, number: int) -> None:
        self._write((REPLY_HEAD.pack(REPLY_HEAD.size, -number, unique),))

    def _write(self, buffers: Answer) -> None:
        try:
            os.writev(self._kernel, buffers)
        except OSError as exc:
            if exc.errno not in (*_TAKEN_BACK, *_GONE):
                logger.error("the kernel does not take an answer: %s", exc.strerror)

    async def _leave_to_pyfuse3(self, request: memoryview) -> None:
        while True:
            try:
                self._pyfuse3.send(request)
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._pyfuse3)
            except OSError as exc:
                logger.error("a request of %d bytes is too large to be passed on: %s", len(request), exc.strerror)
                self._reply_error(request_of(request).unique, errno.EIO)
                return
            else:
                return

    async def _notify(self, notifications: trio.MemoryReceiveChannel[bytes]) -> None:
        """Pass on what forgets names; the kernel first waits for whoever waits for us with the directory locked."""
        async for notification in notifications:
            await trio.to_thread.run_sync(self._write, (notification,), abandon_on_cancel=True)

    async def _pass_answers(self, notifications: trio.MemorySendChannel[bytes]) -> None:
        buffer = bytearray(_SOCKET_BYTES)
        view = memoryview(buffer)
        while True:
            await trio.lowlevel.wait_readable(self._pyfuse3)
            with suppress(BlockingIOError):
                while size_bytes := self._pyfuse3.recv_into(buffer):  # all: pyfuse3 waits for room with all else halted
                    _, number, unique = REPLY_HEAD.unpack_from(buffer)
                    if not unique:
                        notifications.send_nowait(bytes(view[:size_bytes]))
                        continue
                    if self._init is not None and (number, unique) == (0, self._init[0]):
                        add_wishes(buffer, self._init[1])
                        self._init = None
                    self._write((view[:size_bytes],))
                return


@contextmanager
def opened_channel(descriptor: int, handlers: Mapping[int, Handler]) -> Iterator[FuseChannel]:
    """Own a channel in pyfuse3's place: the descriptor that it reads is a socket meanwhile.

    Args:
        descriptor: libfuse's, of ``/dev/fuse``.
        handlers: by opcode.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    kernel = os.dup(descriptor)
    try:
        with ours, theirs:
            for end in (ours, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
            ours.setblocking(False)
            os.set_blocking(kernel, False)
            os.dup2(theirs.fileno(), descriptor, inheritable=False)
            room_bytes = theirs.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
            # libfuse waits in write(2), with this thread: what all tasks have to say at once must fit
            yield FuseChannel(kernel, ours, handlers, min(room_bytes // _ANSWER_MAX_BYTES, _TASKS_MAX))
    finally:
        os.dup2(kernel, descriptor, inheritable=False)  # libfuse asks it whether it is mounted still
        os.close(kernel)
