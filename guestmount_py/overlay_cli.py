"""guestmount-py overlay: what to do with an overlay that ``--overlay`` has filled."""

import argparse
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import trio

from guestmount_py.config import BLOCKSIZES, GuestMount
from guestmount_py.drive_options import Parser
from guestmount_py.interruption import interruptible
from guestmount_py.overlay import discard_overlay
from guestmount_py.overlay_commit import commit_overlay
from guestmount_py.overlay_diff import compare_overlay
from guestmount_py.printable import printable
from guestmount_py.tree_diff import Change
from rpc.errors import GuestmountError, UsageError

ACTIONS: Final = ("diff", "commit", "discard")
_EPILOG: Final = """\
diff prints a line for each file: added, removed, changed or unreadable; its type, or what changed (type, content,
target, device, mode, owner, times, xattrs); and its path, behind the device unless -m was given. Tabs are between them.
A commit may be interrupted in any way and done again; until it has ended, use the image through the overlay only.

Exit status: 0 done, 1 something failed, 2 the command line was wrong, 130 interrupted.
"""


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="guestmount-py overlay",
        usage="%(prog)s diff [-m DEVICE[:MOUNTPOINT[:OPTIONS[:FSTYPE]]] ...] [-0] FILE\n"
        "       %(prog)s commit FILE\n"
        "       %(prog)s discard FILE",
        description="Show what an overlay changes, merge it into its image, or drop it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("action", choices=ACTIONS, help="list changed files, merge into the image and remove FILE, or remove FILE")
    add("file", metavar="FILE", type=Path, help="the overlay")
    add("-m", "--mount", metavar="DEV", action="append", default=[], help="diff: compare what is mounted like this")
    add("--blocksize", metavar="512|4096", type=int, choices=BLOCKSIZES, help="diff: sector size of the disk")
    add("-0", "--null", action="store_true", help="diff: end lines with NUL and write paths as they are")
    return parser


def _run(arguments: Sequence[str]) -> int:
    """Do what the command line says; return the exit status.

    Raises:
        GuestmountError: it failed.
        KeyboardInterrupt: it was interrupted, by SIGTERM or SIGHUP too.
    """
    options = _parser().parse_args(arguments)
    if options.action != "diff" and (options.mount or options.blocksize or options.null):
        raise UsageError(f"overlay {options.action}: -m, --blocksize and --null belong to diff")
    mounts = [GuestMount.parse(text) for text in options.mount]
    try:
        if options.action == "diff":
            return _print_changes(partial(compare_overlay, options.file, mounts, options.blocksize), options.null)
        if options.action == "commit":
            trio.run(interruptible, partial(commit_overlay, options.file, _progress(sys.stderr.isatty())))
        else:
            trio.run(interruptible, partial(discard_overlay, options.file))
    except KeyboardInterrupt:
        advice = ": run the commit again, and until it has ended use no image below it"
        _say(f"{options.file}: interrupted{advice if options.action == 'commit' else ''}")
        raise
    return 0


def _print_changes(compare: Callable[..., Awaitable[None]], null: bool) -> int:
    """Print changes as they are found; return 1 if something could not be compared."""
    status = 0

    def tell(device: str, change: Change) -> None:
        nonlocal status
        status |= change.kind == "unreadable"
        sys.stdout.buffer.write(line_of(device, change, null=null))

    try:
        trio.run(interruptible, partial(compare, tell=tell, log=_say))
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # head has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def line_of(device: str, change: Change, *, null: bool) -> bytes:
    """Return a change as a line; unless it ends with NUL, what is not printable and backslashes are octal escapes."""
    place = f"{device}:".encode() + change.path if device else change.path
    if not null:
        place = b"".join(_shown(letter) for letter in place.decode("utf-8", "surrogateescape"))
    return b"\t".join((change.kind.encode(), ",".join(change.what).encode(), place)) + (b"\0" if null else b"\n")


def _shown(letter: str) -> bytes:
    """Return a letter, or its bytes in octal if a terminal might obey it."""
    data = letter.encode("utf-8", "surrogateescape")
    return data if letter.isprintable() and letter != "\\" else b"".join(b"\\%03o" % byte for byte in data)


def _progress(is_terminal: bool) -> Callable[[int, int], None]:
    def show(done: int, whole: int) -> None:
        if is_terminal and whole:
            sys.stderr.write(f"\rmerging: {100 * done // whole} %" + ("\n" if done == whole else ""))
            sys.stderr.flush()

    return show


def _say(text: str) -> None:
    sys.stderr.write(f"guestmount-py: {printable(text)}\n")
    sys.stderr.flush()


def main(arguments: Sequence[str]) -> int:
    """Do what the command line behind ``guestmount-py overlay`` says; return the exit status."""
    try:
        return _run(arguments)
    except GuestmountError as exc:
        _say(str(exc))
        return exc.exit_code
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
