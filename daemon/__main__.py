"""Start guestfsd.

python3 -m daemon --appliance [-v]                          serve the appliance's virtio-serial ports
python3 -m daemon --channel fd:N|PATH [--sysroot DIR] [-v]  serve one channel; DIR is the guest's root as it stands
"""

import os
import signal
import sys
from contextlib import suppress
from typing import Final

from daemon import mounts
from daemon.channel import Channel
from daemon.ports import find_ports
from daemon.server import Server
from daemon.session import CallError, Session
from daemon.sysroot import Sysroot
from rpc.arguments import NoArgs
from rpc.constants import SAVE_WORD, VERBOSE_WORD

_USAGE: Final = "usage: python3 -m daemon (--appliance | --channel fd:N|PATH [--sysroot DIR]) [-v]\n"
_VALUED: Final = ("--channel", "--sysroot")
_FLAGS: Final = ("--appliance", "-v")


def main(arguments: list[str]) -> int:
    """Serve until the first channel is closed; return the exit status."""
    options = _parsed(arguments)
    if options is None or ("--appliance" in options) == ("--channel" in options):
        sys.stderr.write(_USAGE)
        return 2
    verbose = "-v" in options
    os.umask(0o022)
    if "--appliance" in options:
        os.chdir("/")
        words = _kernel_words()
        return _serve_appliance(verbose=verbose or VERBOSE_WORD in words, to_be_saved=SAVE_WORD in words)
    channel = _opened(options["--channel"])
    directory = options.get("--sysroot")
    sysroot = Sysroot(os.fsencode(os.path.realpath(directory)), is_plain_directory=True) if directory else Sysroot()
    os.chdir("/")
    Server(Session(sysroot), Channel(channel), verbose=verbose).serve()
    return 0


def _parsed(arguments: list[str]) -> dict[str, str] | None:
    """Return option and value, None if anything is wrong; argparse would cost a fifth of the start."""
    options = {}
    rest = iter(arguments)
    for name in rest:
        if name not in (*_VALUED, *_FLAGS):
            return None
        options[name] = next(rest, "") if name in _VALUED else "yes"
    return options if all(options.values()) else None


def _kernel_words() -> list[str]:
    with open("/proc/cmdline", encoding="utf-8", errors="surrogateescape") as file:
        return file.read().split()


def _opened(channel: str) -> int:
    return int(channel[3:]) if channel.startswith("fd:") else os.open(channel, os.O_RDWR | os.O_CLOEXEC)


def _serve_appliance(*, verbose: bool, to_be_saved: bool) -> int:
    """Serve every channel from a process of its own; when the first one ends, unmount and return."""
    sysroot = Sysroot()
    first, extra = find_ports()
    if to_be_saved:  # which the host does as soon as every port is open
        _prepare_to_be_saved()
    channel = Channel(_opened(first))
    workers = [_fork_worker(port, verbose=verbose) for port in extra]
    signal.signal(signal.SIGCHLD, lambda _signal, _frame: _end_with(workers))
    _end_with(workers)
    Server(Session(sysroot), channel, verbose=verbose).serve()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
    with suppress(CallError, OSError):
        mounts.umount_all(Session(sysroot), NoArgs())
    with suppress(OSError):  # nobody is left to be told
        mounts.sync(Session(sysroot), NoArgs())
    return 0


def _prepare_to_be_saved() -> None:
    """Rehearse, and hear from now on of disks that are added: this machine becomes a template."""
    from daemon.rehearsal import rehearse
    from daemon.resume import listen

    rehearse()
    listen()


def _fork_worker(port: str, *, verbose: bool) -> int:
    worker = os.fork()
    if worker:
        return worker
    status = 1
    try:
        Server(Session(Sysroot()), Channel(_opened(port)), verbose=verbose).serve()
        status = 0
    finally:
        os._exit(status)


def _end_with(workers: list[int]) -> None:
    """End, and the appliance with us, if a worker died: the host would wait for its answers for ever."""
    for worker in list(workers):
        try:
            ended, status = os.waitpid(worker, os.WNOHANG)
        except ChildProcessError:
            continue  # another SIGCHLD came meanwhile, and its handler has seen to this one
        if ended:
            workers.remove(worker)
            if status:
                sys.stderr.write(f"guestfsd: worker {worker} died with status {status}\n")
                os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
