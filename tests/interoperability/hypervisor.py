"""Stands where libguestfs expects a hypervisor: starts our daemon on this machine instead of a virtual machine.

The library first asks a hypervisor about itself; any answer will do, and so does none. Then it gives the whole command
line, of which only the channel's socket matters. The guest's root is the directory that GUESTFSD_SYSROOT names. The
devices of this machine are hidden from the daemon, in a mount namespace of its own.
"""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

_REPOSITORY: Final = Path(__file__).parents[2]
_WITHOUT_DEVICES: Final = """
mount --make-rprivate / && mount -t tmpfs none /sys/block && mount -t tmpfs none /dev || exit 1
for node in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 /dev/${node%:*} c 1 ${node#*:} || exit 1; done
exec "$@"
"""


def main() -> int:
    """Serve until the library hangs up or sends SIGTERM."""
    found = re.search(r"socket,path=([^, ]+),id=channel0", " ".join(sys.argv))
    if found is None:
        return 0
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect(found[1])
        daemon = subprocess.Popen(
            [
                *("unshare", "--mount", "sh", "-c", _WITHOUT_DEVICES, "sh"),
                *(sys.executable, "-m", "daemon", "--channel", f"fd:{channel.fileno()}"),
                *("--sysroot", os.environ["GUESTFSD_SYSROOT"]),
            ],
            cwd=_REPOSITORY,
            pass_fds=[channel.fileno()],
        )

    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    try:
        return daemon.wait()
    finally:
        daemon.kill()


if __name__ == "__main__":
    sys.exit(main())
