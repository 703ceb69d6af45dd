"""Looking into files: their kind, their first and last lines, their words."""

import os
import stat as modes
from typing import Final

from daemon.command import run
from daemon.confined import argument, run_confined
from daemon.devices import checked_device, names_device
from daemon.files import opened
from daemon.registry import handles
from daemon.session import Session
from rpc import procedures
from rpc.arguments import PathArgs
from rpc.procedures.texts import EqualArgs, FileArgs, HeadNArgs

_KINDS: Final = {
    modes.S_IFDIR: "directory",
    modes.S_IFCHR: "character device",
    modes.S_IFBLK: "block device",
    modes.S_IFIFO: "FIFO",
    modes.S_IFLNK: "symbolic link",
    modes.S_IFSOCK: "socket",
}
_LINES: Final = 10
_BLOCK_BYTES: Final = 256 * 1024


@handles(procedures.FILE)
def file(session: Session, args: FileArgs) -> str:
    """Say in words what a regular file or a device holds; of anything else, what kind of file it is."""
    if names_device(args.path):
        output = run(["file", "-zbsL", "--", checked_device(os.fsdecode(args.path))])
    else:
        with session.sysroot:
            kind = modes.S_IFMT(os.lstat(args.path).st_mode)
        if kind != modes.S_IFREG:
            return _KINDS.get(kind, "unknown, not a regular file")
        output = run_confined(session, ["file", "-zb", "--", argument(session, args.path)])
    return os.fsdecode(output).rstrip("\n")


@handles(procedures.HEAD)
def head(session: Session, args: PathArgs) -> list[str]:
    """Return the first ten lines of a file."""
    return head_n(session, HeadNArgs(_LINES, args.path))


@handles(procedures.HEAD_N)
def head_n(session: Session, args: HeadNArgs) -> list[str]:
    """Return the first lines of a file; of a negative number, all but so many at its end."""
    return _lines(session, args.path, "head", str(args.nrlines))


@handles(procedures.TAIL)
def tail(session: Session, args: PathArgs) -> list[str]:
    """Return the last ten lines of a file."""
    return tail_n(session, HeadNArgs(_LINES, args.path))


@handles(procedures.TAIL_N)
def tail_n(session: Session, args: HeadNArgs) -> list[str]:
    """Return the last lines of a file; of a negative number, those from the line of that number on."""
    return _lines(session, args.path, "tail", str(args.nrlines) if args.nrlines >= 0 else f"+{-args.nrlines}")


def _lines(session: Session, path: bytes, program: str, count: str) -> list[str]:
    with opened(session, path) as descriptor:
        output = run_confined(session, [program, "-n", count], stdin=descriptor)
    lines = os.fsdecode(output).split("\n")
    return lines if lines[-1] else lines[:-1]


@handles(procedures.WC_L)
def wc_l(session: Session, args: PathArgs) -> int:
    """Count the lines of a file."""
    return _count(session, args.path, "-l")


@handles(procedures.WC_W)
def wc_w(session: Session, args: PathArgs) -> int:
    """Count the words of a file."""
    return _count(session, args.path, "-w")


@handles(procedures.WC_C)
def wc_c(session: Session, args: PathArgs) -> int:
    """Count the bytes of a file."""
    return _count(session, args.path, "-c")


def _count(session: Session, path: bytes, what: str) -> int:
    with opened(session, path) as descriptor:
        return int(run_confined(session, ["wc", what], stdin=descriptor))


@handles(procedures.EQUAL)
def equal(session: Session, args: EqualArgs) -> bool:
    """Tell whether two files hold the same."""
    with opened(session, args.file1) as one, opened(session, args.file2) as other:
        if os.fstat(one).st_size != os.fstat(other).st_size:
            return False
        while (data := os.read(one, _BLOCK_BYTES)) == os.read(other, _BLOCK_BYTES):
            if not data:
                return True
            session.progress(0, 1)
        return False
