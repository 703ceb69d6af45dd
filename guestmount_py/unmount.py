"""guestunmount-py: unmount, and return when the appliance is gone and the image is free."""

import argparse
import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

from guestmount_py import VERSION
from guestmount_py.printable import printable
from guestmount_py.serving import find_mount, server_of

UNMOUNTED: Final = 0
FAILED: Final = 1
STILL_MOUNTED: Final = 2
NOT_MOUNTED: Final = 3
_RETRIES: Final = 5
_DELAY_S: Final = 0.125
_EPILOG: Final = """\
Exit status: 0 unmounted and the appliance is gone, 1 not everything was written, or a program error, 2 still mounted
after all retries, 3 not mounted.
"""


def main() -> int:
    """Run guestunmount-py; return its exit status."""
    options = _parser().parse_args()
    if options.fd is not None:
        _wait_closed(options.fd)
    retries = 0 if options.no_retry else options.retry
    return unmount(options.mountpoint, retries=retries, quiet=options.quiet, verbose=options.verbose)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Exit with 1, as guestunmount does: argparse's 2 would say that it is still mounted."""
        self.exit(FAILED, f"{self.prog}: {message}: see '{self.prog} --help'\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="guestunmount-py", epilog=_EPILOG, allow_abbrev=False)
    parser.add_argument("mountpoint", metavar="DIRECTORY", type=Path, help="where the guest is mounted")
    parser.add_argument("--fd", metavar="N", type=int, help="first wait until the other end of this pipe is closed")
    parser.add_argument("--retry", metavar="N", type=_count, default=_RETRIES, help=f"try so often again ({_RETRIES})")
    parser.add_argument("--no-retry", action="store_true", help="try only once")
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing when it fails")
    parser.add_argument("-v", "--verbose", action="store_true", help="say what is done")
    parser.add_argument("-V", "--version", action="version", version=f"%(prog)s {VERSION}")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not a number of times")
    return int(text)


def _wait_closed(descriptor: int) -> None:
    poll = select.poll()
    poll.register(descriptor, 0)
    poll.poll()


def unmount(mountpoint: Path, *, retries: int = _RETRIES, quiet: bool = False, verbose: bool = False) -> int:
    """Unmount a directory and wait for the process that served it; return the exit status."""

    def say(text: str, *, wanted: bool = not quiet) -> None:
        if wanted:
            sys.stderr.write(f"guestunmount-py: {printable(text)}\n")

    mount = find_mount(mountpoint)
    if mount is None:
        say(f"{mountpoint}: not mounted")
        return NOT_MOUNTED
    with server_of(mount) as wait_gone:
        for attempt in range(retries + 1):
            if attempt:
                time.sleep(_DELAY_S * 2**attempt)
            problem = _try_unmount(mount.path)
            if problem is None:
                say("waiting for the appliance to go", wanted=verbose)
                failure = wait_gone()
                if failure is not None:
                    say(f"{mountpoint}: not everything was written: {failure}", wanted=True)
                    return FAILED
                return UNMOUNTED
            if "not installed" in problem:
                say(problem)
                return FAILED
            say(f"{mountpoint}: {problem}", wanted=verbose)
    say(f"{mountpoint}: still mounted: {problem}{_users(mount.path)}")
    return STILL_MOUNTED


def _try_unmount(mountpoint: Path) -> str | None:
    """Return None on success, otherwise what was wrong."""
    try:
        done = subprocess.run(
            ["fusermount3", "-u", "--", mountpoint],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError:
        return "fusermount3 is not installed: install the package fuse3"
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or ["fusermount3 failed"])[-1].rpartition(": ")[2]


def _users(mountpoint: Path) -> str:
    """Name the processes that have something open below a mount point, as far as they can be seen."""
    prefix = str(mountpoint)
    found = set()
    for link in Path("/proc").glob("[0-9]*/cwd"):
        candidates = [link]
        with suppress(OSError):  # somebody else's process
            candidates += list((link.parent / "fd").iterdir())
        for candidate in candidates:
            try:
                target = os.readlink(candidate)  # noqa: PTH115 - it need not be a path
            except OSError:
                continue
            if target == prefix or target.startswith(prefix + "/"):
                found.add(int(link.parent.name))
    return f": in use by process {', '.join(map(str, sorted(found)))}" if found else ""


if __name__ == "__main__":
    sys.exit(main())
