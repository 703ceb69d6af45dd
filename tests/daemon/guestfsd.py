"""A real guestfsd on a directory of this machine, and a blocking client that shows every unit it sends."""

import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

from rpc import constants, framing, procedures
from rpc.connection import Connection, Phase, Role
from rpc.errno_names import errno_number
from rpc.errors import ProcedureError
from rpc.events import CancelWord, Chunk, Event, Launch, Message, NeedData, Progress
from rpc.procedure import Procedure, Transfer
from rpc.procedures.extensions import HelloArgs
from rpc.types import Hello
from rpc.xdr import Reader

ArgsT = TypeVar("ArgsT")
RetT = TypeVar("RetT")
ROOT: Final = Path(__file__).parents[2]
WAIT_S: Final = 30


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


class Guestfsd:
    """One daemon, its process and our end of its channel."""

    def __init__(self, process: "subprocess.Popen[bytes]", channel: socket.socket) -> None:
        self.process = process
        self.channel = channel
        self.connection = Connection(Role.CLIENT)
        self.progress: list[Progress] = []

    def next_event(self) -> Event:
        while isinstance(event := self.connection.next_event(), NeedData):
            data = self.channel.recv(1 << 16)
            if not data:
                raise EOFError("the daemon closed the channel")
            self.connection.receive_data(data)
        if isinstance(event, Progress):
            self.progress.append(event)
        return event

    def reply(self) -> Message:
        while not isinstance(event := self.next_event(), Message):
            pass
        return event

    def result(self, procedure: Procedure[Any, RetT], reply: Message) -> RetT:
        if reply.header.status == constants.STATUS_OK:
            return procedure.result.decode(Reader(reply.body))
        name, text = framing.decode_error(reply.body)
        raise ProcedureError(procedure.name, errno_number(name), name, text)

    def call(self, procedure: Procedure[ArgsT, RetT], args: ArgsT) -> RetT:
        self.channel.sendall(self.connection.send_call(procedure, args))
        return self.result(procedure, self.reply())

    def hello(self, chunk_max_bytes: int = constants.EXTENDED_CHUNK_MAX_BYTES) -> Hello:
        answer = self.call(procedures.HELLO, HelloArgs(constants.EXTENSION_VERSION, chunk_max_bytes))
        self.connection.chunk_max_bytes = answer.chunk_max_bytes
        return answer

    def start_download(self, procedure: Procedure[ArgsT, None], args: ArgsT) -> None:
        self.call(procedure, args)
        assert self.connection.phase is Phase.DOWNLOADING

    def chunks(self) -> Iterator[Chunk]:
        """Yield the chunks of the transfer under way, the last one included."""
        while self.connection.phase is Phase.DOWNLOADING:
            event = self.next_event()
            if isinstance(event, Chunk):
                yield event

    def download(self, procedure: Procedure[ArgsT, None], args: ArgsT) -> bytes:
        self.start_download(procedure, args)
        *pieces, end = self.chunks()
        assert not end.cancelled
        return b"".join(piece.data for piece in pieces)

    def upload(
        self,
        procedure: Procedure[ArgsT, None],
        args: ArgsT,
        data: bytes = b"",
        *,
        cancelled: bool = False,
        hint: int = 0,
    ) -> None:
        """Make a FileIn call; the chunks end early if the daemon wants it.

        Args:
            procedure: the call.
            args: its arguments.
            data: the file.
            cancelled: give up at its end.
            hint: the length that the call announces.
        """
        self.channel.sendall(self.connection.send_call(procedure, args, hint))
        for start in range(0, len(data), self.connection.chunk_max_bytes):
            if self._cancel_word_came():
                cancelled = True
                break
            self.channel.sendall(self.connection.send_chunk(data[start : start + self.connection.chunk_max_bytes]))
        self.channel.sendall(self.connection.send_end(cancelled=cancelled))
        self.result(procedure, self.reply())

    def _cancel_word_came(self) -> bool:
        waiting = select.poll()
        waiting.register(self.channel, select.POLLIN)
        while waiting.poll(0):
            if isinstance(self.next_event(), CancelWord):
                return True
        return False

    def error(self, procedure: Procedure[Any, Any], args: Any) -> tuple[str, str]:
        """Make a call that must fail; return the errno's name, empty for none, and the text."""
        with pytest.raises(ProcedureError) as caught:
            (self.upload if procedure.transfer is Transfer.FILE_IN else self.call)(procedure, args)
        return caught.value.errno_name, caught.value.message

    def finish(self) -> tuple[int, str]:
        """Close the channel; return the daemon's exit status and what it wrote to standard error."""
        self.channel.close()
        _, errors = self.process.communicate(timeout=WAIT_S)
        return self.process.returncode, errors.decode()


@contextmanager
def started(sysroot: Path | None, *options: str, prelude: str = "") -> Iterator[Guestfsd]:
    """Start a daemon, launched when the body begins; it is killed at the end if it is still there.

    Args:
        sysroot: the guest's root, None for one that nothing is mounted on.
        options: more of its options.
        prelude: Python to run in it before it starts.
    """
    ours, theirs = socket.socketpair()
    ours.settimeout(WAIT_S)
    arguments = ["--channel", f"fd:{theirs.fileno()}", *options]
    if sysroot is not None:
        arguments += ["--sysroot", os.fspath(sysroot)]
    program = f"import sys, daemon.__main__ as d\n{prelude}\nsys.exit(d.main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, *arguments]
    with ours, theirs:
        process = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=ROOT
        )
        theirs.close()
        with process:
            try:
                guestfsd = Guestfsd(process, ours)
                assert isinstance(guestfsd.next_event(), Launch)
                yield guestfsd
            finally:
                process.kill()
