"""Run external programs: an argument list, no shell, output and errors captured."""

import os
import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from daemon.session import CallError

ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "BLKID_FILE": "/dev/null"}
"""libblkid's cache would tell for two seconds what was on a disk before."""
NOT_RECOGNISED: Final = (0, 2, 8)
"""How blkid(8) ends: well, with nothing recognised, or with several things at once, which is nothing that is sure."""
EXTRA_FILE: Final = "/proc/self/fd/3"
"""Where a program finds the file that it is given besides its standard input."""


def run(
    argv: Sequence[str | bytes], *, stdin: int | None = None, extra: int | None = None, accept: Sequence[int] = (0,)
) -> bytes:
    """Run a program and return its standard output.

    Raises:
        CallError: it is missing or ended with a status not in ``accept``; the text is what it wrote to standard error.
    """
    status, output, errors = run_status(argv, stdin=stdin, extra=extra)
    if status not in accept:
        raise failure(os.fsdecode(argv[0]), status, errors)
    return output


def failure(program: str, status: int, errors: bytes) -> CallError:
    """Return the error of a program that failed: its message, with the disks called what the caller calls them."""
    text = " ".join(errors.decode("utf-8", "surrogateescape").split())
    return CallError(wire_names(text) or f"{program} ended with status {status}")


def wire_names(text: str) -> str:
    """Return a message with the disks called what the caller calls them."""
    from daemon.devices import wire_name

    return re.sub(r"/dev/[sv]d[a-z]+\d*\b", lambda match: wire_name(match[0]), text)


def text_of(argv: Sequence[str | bytes], *, accept: Sequence[int] = (0,)) -> str:
    """Run a program and return what it wrote, without the newline at the end."""
    return run(argv, accept=accept).decode("utf-8", "surrogateescape").rstrip("\n")


def lines_of(argv: Sequence[str | bytes], *, accept: Sequence[int] = (0,)) -> list[str]:
    """Run a program and return the lines it wrote, without blanks around them."""
    return [line.strip() for line in text_of(argv, accept=accept).splitlines() if line.strip()]


def run_status(
    argv: Sequence[str | bytes], *, stdin: int | None = None, extra: int | None = None, most_bytes: int = -1
) -> tuple[int, bytes, bytes]:
    """Run a program; return its exit status (128 + signal if killed), standard output and standard error.

    Args:
        argv: program and arguments.
        stdin: what it reads, nothing if None.
        extra: what it finds as descriptor 3.
        most_bytes: it is killed if it writes more than that; -1 for no limit.
    """
    out_read, out_write = os.pipe2(os.O_CLOEXEC)
    err_write = os.memfd_create("stderr", os.MFD_CLOEXEC)
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        actions = [
            (os.POSIX_SPAWN_DUP2, null if stdin is None else stdin, 0),
            (os.POSIX_SPAWN_DUP2, out_write, 1),
            (os.POSIX_SPAWN_DUP2, err_write, 2),
        ]
        if extra is not None:
            actions.append((os.POSIX_SPAWN_DUP2, extra, 3))
        try:
            child = os.posix_spawnp(argv[0], list(argv), ENVIRONMENT, file_actions=actions)
        except FileNotFoundError as exc:
            raise CallError(f"{os.fsdecode(argv[0])}: not in this appliance") from exc
        finally:
            os.close(out_write)
        with open(out_read, "rb", closefd=False) as pipe:
            output = pipe.read(most_bytes)
            if pipe.read(1):
                os.kill(child, signal.SIGKILL)
        _, wait_status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(wait_status)
        errors = os.pread(err_write, 65536, 0)
    finally:
        os.close(out_read)
        os.close(err_write)
        os.close(null)
    return code if code >= 0 else 128 - code, output, errors


@contextmanager
def secret(text: str) -> Iterator[int]:
    """Own a descriptor that a program reads a secret from: it is on no command line and on no disk."""
    descriptor = os.memfd_create("secret", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, text.encode("utf-8", "surrogateescape"))
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def option(flag: str, value: object) -> list[str]:
    """Return the words of an option that is given only if its value is: nothing for None."""
    return [] if value is None else [flag, str(value)]
