"""Run the appliance's programs on the guest's tree, which may be made to mislead them.

A program gets a mount namespace and a PID namespace of its own. It sees the appliance's root read-only and nothing of
what is mounted on it (no devices, no /sys, of /proc only itself), and the guest's tree, which is all that it can
change. A link that leads out of the tree leads into the read-only rest. chroot(2) into the guest would not do: the
dynamic linker would then read the guest's /etc/ld.so.preload, and the program would run the guest's code.
"""

import os
import signal
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from errno import ENOTDIR, ENOTSUP
from io import FileIO
from typing import Any, Final, NoReturn, Self

from daemon.pieces import pieces_of_pipe
from daemon.session import CallError, Session
from rpc import constants

_DIRECTORIES: Final = ("/usr/sbin", "/usr/bin", "/sbin", "/bin")
_ENVIRONMENT: Final = {"PATH": ":".join(_DIRECTORIES), "LC_ALL": "C.UTF-8"}
_PLACE: Final = b"/sys"
"""A directory that every root has: the appliance's root is mounted there once more, and in that the guest's tree."""
_CLONE_NEWNS, _CLONE_NEWPID = 0x20000, 0x20000000
_MS_RDONLY, _MS_NODEV, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 4, 0x20, 0x1000, 0x4000, 0x40000
_PR_SET_PDEATHSIG: Final = 1
_ERRORS_BYTES: Final = 32 * 1024


def argument(session: Session, path: bytes, *, follow: bool = False) -> bytes:
    """Return a guest path as an argument of a program that runs in ``/``.

    The links before the last name are resolved, in the guest; the last one too, if ``follow`` and it leads somewhere.

    Raises:
        OSError: the directory it would be in is not there, or a slash is behind what is no directory but perhaps a link
            to one, for a program would follow that outside the guest's root.
    """
    plain = path.rstrip(b"/")
    name = os.path.basename(plain)
    with session.sysroot:
        if name in (b"", b".", b".."):
            os.stat(path)
            return b"." + os.path.join(os.path.realpath(path), b".")
        if follow and os.path.exists(path):
            return b"." + os.path.realpath(path)
        if plain != path and os.path.lexists(plain) and (os.path.islink(plain) or not os.path.isdir(plain)):
            raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR), path)
        head = os.path.dirname(plain)
        os.stat(os.path.join(head, b"."))  # realpath(3) would go on from a missing directory with ``..``
        return b"." + os.path.join(os.path.realpath(head), name)


def run_confined(
    session: Session, argv: Sequence[str | bytes], directory: bytes = b"/", *, stdin: int | None = None
) -> bytes:
    """Run a program in a directory of the guest and return its standard output.

    Args:
        session: whose guest.
        argv: program and arguments.
        directory: path in the guest.
        stdin: descriptor of what it reads; nothing without it.

    Raises:
        OSError: the directory does not open, or the appliance lacks the program (ENOTSUP).
        CallError: it failed; the text is what it wrote to standard error. Or it wrote more than a reply can carry.
    """
    pieces: list[bytes] = []
    size_bytes = 0
    with closing(stream_confined(session, argv, directory, stdin=stdin)) as stream:
        for data in stream:
            size_bytes += len(data)
            if size_bytes > constants.MESSAGE_MAX_BYTES:
                raise CallError(f"{os.fsdecode(argv[0])} wrote more than a reply can carry")
            pieces.append(data)
    return b"".join(pieces)


def stream_confined(
    session: Session, argv: Sequence[str | bytes], directory: bytes = b"/", *, stdin: int | None = None
) -> Generator[bytes, None, None]:
    """Run a program in a directory of the guest and yield its standard output as ``pieces_of_pipe`` does.

    Raises what ``run_confined`` raises.
    """
    with _Program(session, argv, directory, stdin=stdin) as program:
        program.stdin.close()
        yield from pieces_of_pipe(program.stdout.fileno())
        program.wait()


def feed_confined(
    session: Session,
    argv: Sequence[str | bytes],
    directory: bytes,
    pieces: Iterator[bytes],
    *,
    stdout: int | None = None,
) -> None:
    """Run a program in a directory of the guest, with a standard input; raises what ``run_confined`` raises.

    A program that has enough of its input may end before that does. Its output goes to ``stdout``, or nowhere.
    """
    with _Program(session, argv, directory, stdout=stdout) as program:
        program.stdout.close()
        try:
            for data in pieces:
                view = memoryview(data)
                while view:
                    view = view[program.stdin.write(view) :]
        except BrokenPipeError:
            pass
        program.stdin.close()
        program.wait()


class _Program:
    """A program at work; at the end of the context it is killed, with what it started, unless it was waited for."""

    def __init__(
        self,
        session: Session,
        argv: Sequence[str | bytes],
        directory: bytes,
        *,
        stdin: int | None = None,
        stdout: int | None = None,
    ) -> None:
        import ctypes  # too slow to import at each boot

        name = os.fsdecode(argv[0])
        path = located(name)
        sysroot = session.sysroot.path
        place = session.sysroot.outside(directory)[len(sysroot) :]
        libc = ctypes.CDLL(None, use_errno=True)
        self._name = name
        self._errors = os.memfd_create("stderr", os.MFD_CLOEXEC)
        in_read, in_write = os.pipe2(os.O_CLOEXEC)
        out_read, out_write = os.pipe2(os.O_CLOEXEC)
        self._pid = _fork_apart(libc)
        if self._pid == 0:
            streams = (in_read if stdin is None else stdin, out_write if stdout is None else stdout, self._errors)
            _become(libc, sysroot, place, streams, path, argv)
        os.close(in_read)
        os.close(out_write)
        self.stdin = FileIO(in_write, "wb")
        self.stdout = FileIO(out_read, "rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stdin.close()
        self.stdout.close()
        os.close(self._errors)
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)

    def wait(self) -> None:
        """Wait for its end; CallError if it failed."""
        _, wait_status = os.waitpid(self._pid, 0)
        self._pid = 0
        if wait_status:
            text = os.pread(self._errors, _ERRORS_BYTES, 0).decode("utf-8", "surrogateescape")
            ended = f"{self._name} ended with status {os.waitstatus_to_exitcode(wait_status)}"
            raise CallError(" ".join(text.replace("'./", "'/").split()) or ended)


def located(name: str) -> str:
    """Return where a program of the appliance is; OSError with ENOTSUP if it has none of that name."""
    for directory in _DIRECTORIES:
        if os.access(f"{directory}/{name}", os.X_OK):
            return f"{directory}/{name}"
    raise OSError(ENOTSUP, f"{name} is not in this appliance")


def _done(result: int) -> None:
    """Raise the error of a system call that failed."""
    import ctypes

    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _fork_apart(libc: Any) -> int:
    """Fork into a new PID namespace: with its first process all end that were started there (pid_namespaces(7))."""
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    pid = -1
    try:
        _done(libc.unshare(_CLONE_NEWPID))
        pid = os.fork()
        return pid
    finally:
        if pid:  # our next child is to be in our own again
            _done(libc.setns(own, _CLONE_NEWPID))
        os.close(own)


def _become(
    libc: Any, sysroot: bytes, place: bytes, streams: tuple[int, int, int], path: str, argv: Sequence[str | bytes]
) -> NoReturn:
    """Turn this process, a child of the daemon, into a confined program."""
    try:
        _done(libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL))
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
        _confine(libc, sysroot)
        os.chdir(_PLACE + place)
        os.execve(path, list(argv), _ENVIRONMENT)
    except OSError as exc:
        os.write(2, f"{os.fsdecode(argv[0])} cannot be confined: {exc}".encode())
    finally:
        os._exit(126)


def _confine(libc: Any, sysroot: bytes) -> None:
    """Enter a mount namespace of read-only root and guest's tree (mount_namespaces(7), mount(2)).

    The C library changes modes without following links by way of /proc/self/fd.
    """
    read_only = _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NODEV
    _done(libc.unshare(_CLONE_NEWNS))
    _done(libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None))
    _done(libc.mount(b"/", _PLACE, None, _MS_BIND, None))
    _done(libc.mount(sysroot, _PLACE + _PLACE, None, _MS_BIND | _MS_REC, None))
    _done(libc.mount(b"proc", _PLACE + b"/proc", b"proc", _MS_RDONLY, b"subset=pid"))
    _done(libc.mount(None, _PLACE, None, read_only, None))
    os.chroot(_PLACE)
