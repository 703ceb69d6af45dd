"""Run external programs: an argument list, no shell, output and errors captured."""

import os
from collections.abc import Sequence
from typing import Final

from daemon.session import CallError

_ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


def run(argv: Sequence[str | bytes], *, stdin: int | None = None, accept: Sequence[int] = (0,)) -> bytes:
    """Run a program and return its standard output.

    Raises:
        CallError: it is missing or ended with a status not in ``accept``; the text is what it wrote to standard error.
    """
    status, output, errors = run_status(argv, stdin=stdin)
    if status not in accept:
        text = " ".join(errors.decode("utf-8", "surrogateescape").split())
        raise CallError(text or f"{os.fsdecode(argv[0])} ended with status {status}")
    return output


def run_status(argv: Sequence[str | bytes], *, stdin: int | None = None) -> tuple[int, bytes, bytes]:
    """Run a program; return its exit status (128 + signal if killed), standard output and standard error."""
    out_read, out_write = os.pipe2(os.O_CLOEXEC)
    err_write = os.memfd_create("stderr", os.MFD_CLOEXEC)
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        actions = [
            (os.POSIX_SPAWN_DUP2, null if stdin is None else stdin, 0),
            (os.POSIX_SPAWN_DUP2, out_write, 1),
            (os.POSIX_SPAWN_DUP2, err_write, 2),
        ]
        try:
            child = os.posix_spawnp(argv[0], list(argv), _ENVIRONMENT, file_actions=actions)
        except FileNotFoundError as exc:
            raise CallError(f"{os.fsdecode(argv[0])}: not in this appliance") from exc
        finally:
            os.close(out_write)
        with open(out_read, "rb", closefd=False) as pipe:
            output = pipe.read()
        _, wait_status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(wait_status)
        errors = os.pread(err_write, 65536, 0)
    finally:
        os.close(out_read)
        os.close(err_write)
        os.close(null)
    return code if code >= 0 else 128 - code, output, errors
