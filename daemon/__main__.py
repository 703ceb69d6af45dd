"""Start guestfsd.

python3 -m daemon --appliance [--verbose]                   serve the appliance's virtio-serial ports
python3 -m daemon --channel fd:N|PATH [--sysroot DIR]       serve one channel; DIR is the root as it is
"""

import os
import signal
import sys
from contextlib import suppress

from daemon import handlers, mounts
from daemon.ports import find_ports
from daemon.server import Server
from daemon.session import CallError, Session
from daemon.sysroot import Sysroot
from rpc.arguments import NoArgs

USAGE = "usage: python3 -m daemon (--appliance | --channel fd:N|PATH) [--sysroot DIR]"


def main(argv: list[str]) -> int:
    """Serve until the first channel is closed; return the exit status."""
    options = dict(zip(argv, [*argv[1:], ""], strict=True))
    os.umask(0o022)
    directory = options.get("--sysroot")
    sysroot = Sysroot(os.fsencode(directory), is_plain_directory=True) if directory else Sysroot()
    if "--appliance" in options:
        return _serve_appliance(sysroot)
    channel = options.get("--channel")
    if not channel:
        sys.stderr.write(USAGE + "\n")
        return 2
    _serve(sysroot, channel)
    return 0


def _serve(sysroot: Sysroot, channel: str) -> None:
    descriptor = int(channel[3:]) if channel.startswith("fd:") else os.open(channel, os.O_RDWR | os.O_CLOEXEC)
    Server(Session(sysroot), descriptor, descriptor).serve()


def _serve_appliance(sysroot: Sysroot) -> int:
    """Serve every channel from a process of its own; when the first one ends, unmount and return."""
    os.chdir("/")
    first, extra = find_ports()
    workers = [_fork_worker(sysroot, port) for port in extra]
    _serve(sysroot, first)
    for worker in workers:
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
    try:
        mounts.umount_all(Session(sysroot), NoArgs())
    except CallError as exc:
        sys.stderr.write(f"guestfsd: {exc}\n")
    os.sync()
    return 0


def _fork_worker(sysroot: Sysroot, port: str) -> int:
    worker = os.fork()
    if worker:
        return worker
    try:
        _serve(sysroot, port)
    finally:
        os._exit(0)


assert handlers  # imported to fill the registry

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
