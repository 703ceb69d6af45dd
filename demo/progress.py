"""What the demonstration says while it works."""

import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_BEGAN: Final = time.monotonic()
_SHOWN_LINES: Final = 20


class DemoFailed(Exception):
    """Report that something is not as it should be."""


def say(text: str) -> None:
    """Say what is being done, with the seconds since the start."""
    sys.stdout.write(f"[{time.monotonic() - _BEGAN:6.1f} s] {text}\n")
    sys.stdout.flush()


def heading(text: str) -> None:
    """Begin a part."""
    sys.stdout.write(f"\n── {text} {'─' * max(0, 90 - len(text))}\n")
    sys.stdout.flush()


def show(*command: str | Path) -> str:
    """Run a command in front of the reader.

    Returns:
        All its output, of which long ones are shown only in part.

    Raises:
        DemoFailed: it failed.
    """
    words = [str(word) for word in command]
    sys.stdout.write(f"$ {shlex.join(words)}\n")
    output = _run(words)
    lines = output.splitlines()
    for line in lines[:_SHOWN_LINES]:
        sys.stdout.write(f"  {line}\n")
    if len(lines) > _SHOWN_LINES:
        sys.stdout.write(f"  … {len(lines) - _SHOWN_LINES} more lines\n")
    sys.stdout.flush()
    return output


def run(*command: str | Path, stdin: str | None = None) -> str:
    """Run a command without showing it; return its output.

    Raises:
        DemoFailed: it failed.
    """
    return _run([str(word) for word in command], stdin)


def _run(words: Sequence[str], stdin: str | None = None) -> str:
    try:
        finished = subprocess.run(
            words,
            input=stdin or "",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
        )
    except FileNotFoundError as exc:
        raise DemoFailed(f"{words[0]} is not installed: run 'make setup'") from exc
    if finished.returncode:
        raise DemoFailed(f"{shlex.join(words)}: status {finished.returncode}: {finished.stdout.strip()}")
    return finished.stdout


def check(what: str, found: object, expected: object) -> None:
    """Insist that something is as it should be, and say so.

    Raises:
        DemoFailed: it is not.
    """
    if found != expected:
        raise DemoFailed(f"{what} is {found!r}, should be {expected!r}")
    sys.stdout.write(f"  ✓ {what}: {found!r}\n")
