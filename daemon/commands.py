"""The guest's own programs, run in the guest's root.

A command gets a mount namespace and process identifiers of its own: ``/dev``, ``/proc`` and ``/sys`` are there for it
as they are in the appliance. When it has ended its mounts are undone and whatever it left running is killed, so that
the guest's filesystems can be unmounted.
"""

from typing import Final

from daemon.command import run_status
from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import constants, procedures
from rpc.procedures.commands import CommandArgs, ShArgs

_SCRIPT: Final = """\
root=$1 dev=$2 proc=$3 sys=$4; shift 4
[ -z "$dev" ] || mount --rbind /dev "$dev"
[ -z "$proc" ] || mount -t proc proc "$proc"
[ -z "$sys" ] || mount --rbind /sys "$sys"
chroot "$root" "$@"
exit $?
"""
"""The shell stays, as the first of the namespace's processes, which no signal from inside can end."""
_MOST_BYTES: Final = constants.MESSAGE_MAX_BYTES
_NAMESPACES: Final = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child")


def _directory(session: Session, name: bytes) -> bytes:
    """Return where a directory of the guest is, empty if there is none."""
    try:
        return session.sysroot.outside(name)
    except OSError:
        return b""


def _run(session: Session, arguments: list[str]) -> bytes:
    """Run a program in the guest's root; return what it wrote.

    Raises:
        CallError: nothing is mounted, or it ended with another status than 0; the text is what it said of it.
    """
    if not arguments:
        raise CallError("no program is named")
    session.must_be_mounted()
    places = [_directory(session, name) for name in (b"/dev", b"/proc", b"/sys")]
    words = [argument.encode("utf-8", "surrogateescape") for argument in arguments]
    argv: list[str | bytes] = [*_NAMESPACES, "sh", "-c", _SCRIPT, "sh", session.sysroot.path, *places, *words]
    status, output, errors = run_status(argv, most_bytes=_MOST_BYTES)
    if len(output) == _MOST_BYTES:
        raise CallError(f"{arguments[0]} wrote more than an answer can hold, {_MOST_BYTES} bytes")
    if status:
        text = errors.decode("utf-8", "surrogateescape").strip()
        raise CallError(text or f"{arguments[0]} ended with status {status}")
    return output


def _text(session: Session, arguments: list[str]) -> str:
    return _run(session, arguments).decode("utf-8", "surrogateescape")


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    return lines if lines[-1] else lines[:-1]


def _shell(command: str) -> list[str]:
    return ["/bin/sh", "-c", command]


@handles(procedures.COMMAND)
def command(session: Session, args: CommandArgs) -> str:
    """Run a program and return what it wrote to standard output."""
    return _text(session, args.arguments)


@handles(procedures.COMMAND_LINES)
def command_lines(session: Session, args: CommandArgs) -> list[str]:
    """Run a program and return the lines it wrote."""
    return _lines(_text(session, args.arguments))


@handles(procedures.SH)
def sh(session: Session, args: ShArgs) -> str:
    """Run a command line of the guest's shell and return what it wrote."""
    return _text(session, _shell(args.command))


@handles(procedures.SH_LINES)
def sh_lines(session: Session, args: ShArgs) -> list[str]:
    """Run a command line of the guest's shell and return the lines it wrote."""
    return _lines(_text(session, _shell(args.command)))
