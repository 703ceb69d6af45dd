"""Run a host program and wait for it."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import trio

_SEARCH_PATH: Final = (*os.environ.get("PATH", os.defpath).split(os.pathsep), "/usr/sbin", "/sbin")
"""mke2fs sits where an ordinary user's PATH does not look."""


class ProgramFailed(Exception):
    """A program ended with a status other than 0, or is not there; the text is its last line of complaint.

    Attributes:
        messages: all that it complained of.
    """

    def __init__(self, text: str, messages: str = "") -> None:
        super().__init__(text)
        self.messages = messages


async def run_program(
    argv: Sequence[str | Path],
    *,
    timeout_s: float = 600.0,
    environment: Mapping[str, str] | None = None,
    inherited_fds: Sequence[int] = (),
) -> str:
    """Run a program to its end and return its standard output.

    Cancellation: the program is killed and waited for.

    Args:
        argv: the program and its arguments.
        timeout_s: how long it may take.
        environment: variables to add to ours.
        inherited_fds: descriptors it may use.

    Raises:
        ProgramFailed: it is missing, failed or did not end in time.
    """
    name = Path(argv[0]).name
    try:
        with trio.fail_after(timeout_s):
            done = await trio.run_process(
                [str(word) for word in argv],
                capture_stdout=True,
                capture_stderr=True,
                stdin=b"",
                check=False,
                env={**os.environ, "PATH": os.pathsep.join(_SEARCH_PATH), "LC_ALL": "C.UTF-8", **(environment or {})},
                pass_fds=tuple(inherited_fds),
            )
    except FileNotFoundError as exc:
        raise ProgramFailed(f"{name} is not installed") from exc
    except trio.TooSlowError as exc:
        raise ProgramFailed(f"{name} did not end within {timeout_s:.0f} s") from exc
    output, messages = (stream.decode("utf-8", "replace") for stream in (done.stdout, done.stderr))
    if done.returncode:
        lines = messages.split("\n") if messages.strip() else output.split("\n")
        last = next((line for line in reversed(lines) if line.strip()), None)
        text = f"{name}: {last.removeprefix(f'{name}: ')}" if last else f"{name} ended with status {done.returncode}"
        raise ProgramFailed(text, messages)
    return output
