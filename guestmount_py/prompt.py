"""Asking for keys: on the terminal, or from standard input line by line."""

import sys
from pathlib import Path
from typing import Final

from guestmount_py.keys import Ask, forbid_core_dumps
from guestmount_py.printable import printable
from rpc.errors import GuestmountError

_TERMINAL: Final = Path("/dev/tty")


def asking(*, from_stdin: bool, echo: bool) -> Ask:
    """Return what asks for keys."""
    answer = _from_stdin if from_stdin else _on_terminal(echo=echo)

    def ask(prompt: str) -> str:
        forbid_core_dumps()
        return answer(printable(prompt))

    return ask


def _from_stdin(_prompt: str) -> str:
    """Return the next line of standard input.

    Raises:
        GuestmountError: there is none.
    """
    line = sys.stdin.readline()
    if not line:
        raise GuestmountError("standard input has no further key: give a line for each device")
    return line.removesuffix("\n")


def _on_terminal(*, echo: bool) -> Ask:
    """Return what asks on the terminal, whatever standard input is; what is typed is not shown, unless ``echo``."""

    def ask(prompt: str) -> str:
        try:
            with _TERMINAL.open("r+b", buffering=0) as terminal:
                if not echo:
                    return _unseen(f"{prompt} ")
                terminal.write(f"{prompt} ".encode())
                return terminal.readline().decode("utf-8", "surrogateescape").removesuffix("\n")
        except (OSError, EOFError) as exc:
            raise GuestmountError(
                "there is no terminal to ask for it: give it with --key or --keys-from-stdin"
            ) from exc

    return ask


def _unseen(prompt: str) -> str:
    from getpass import getpass

    return getpass(prompt)
