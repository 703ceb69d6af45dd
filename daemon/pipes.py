"""External programs that write, or read, a whole transfer."""

import os
import signal
from collections.abc import Generator, Iterator, Sequence

from daemon.command import ENVIRONMENT, failure
from daemon.pieces import pieces_of_pipe
from daemon.session import CallError


def stream(argv: Sequence[str]) -> Generator[bytes, None, None]:
    """Run a program and yield what it writes; it is killed if nobody wants the rest.

    While it is silent, empty pieces let the caller look whether anybody still does.

    Raises:
        CallError: it failed; the text is what it wrote to standard error.
    """
    read, write = os.pipe2(os.O_CLOEXEC)
    program = _Program(argv, stdout=write)
    os.close(write)
    with open(read, "rb", buffering=0) as pipe:
        try:
            yield from pieces_of_pipe(pipe.fileno())
        except BaseException:
            program.kill()
            raise
    program.check()


def feed(argv: Sequence[str], pieces: Iterator[bytes]) -> None:
    """Run a program on what ``pieces`` yields; it is killed if they break off.

    Raises:
        CallError: it failed; the text is what it wrote to standard error.
    """
    read, write = os.pipe2(os.O_CLOEXEC)
    program = _Program(argv, stdin=read)
    os.close(read)
    with open(write, "wb", buffering=0) as pipe:
        try:
            for data in pieces:
                view = memoryview(data)
                while view:
                    view = view[pipe.write(view) :]
        except BrokenPipeError:
            pass  # it has enough, or has failed: its status tells
        except BaseException:
            program.kill()
            raise
    program.check()


class _Program:
    """A running program; what is not redirected is /dev/null, its errors are kept."""

    def __init__(self, argv: Sequence[str], *, stdin: int | None = None, stdout: int | None = None) -> None:
        self._name = argv[0]
        self._errors = os.memfd_create("stderr", os.MFD_CLOEXEC)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        places = (null if stdin is None else stdin, null if stdout is None else stdout, self._errors)
        actions = [(os.POSIX_SPAWN_DUP2, source, number) for number, source in enumerate(places)]
        try:
            self._pid = os.posix_spawnp(argv[0], list(argv), ENVIRONMENT, file_actions=actions)
        except FileNotFoundError as exc:
            os.close(self._errors)
            raise CallError(f"{argv[0]}: not in this appliance") from exc
        finally:
            os.close(null)

    def kill(self) -> None:
        """End it at once."""
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._errors)

    def check(self) -> None:
        """Wait for its end, which must be a good one."""
        _, status = os.waitpid(self._pid, 0)
        errors = os.pread(self._errors, 65536, 0)
        os.close(self._errors)
        if status:
            raise failure(self._name, os.waitstatus_to_exitcode(status), errors)
