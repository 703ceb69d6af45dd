"""Stand where qemu stands: start the real guestfsd, on a directory of this machine, for each channel given.

GUEST_ROOT=DIR [GUEST_IS_STOCK=1] python -m tests.guestmount_py.hypervisor QEMU-ARGUMENTS

Like the appliance it ends with status 0 when the first daemon has ended. Its daemons do not outlive it. A stock guest
is like libguestfs's: its daemon knows no extensions, and nobody listens at any channel but the first.
"""

import os
import subprocess
import sys


def main(words: list[str]) -> int:
    """Serve until the first channel is closed."""
    channels = [int(word.rpartition("fd=")[2]) for word in words if word.startswith("socket,id=channel")]
    command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "daemon", "--sysroot", os.environ["GUEST_ROOT"]]
    if os.environ.get("GUEST_IS_STOCK"):
        command[5] = "tests.guestmount_py.stock_daemon"
        channels = channels[:1]
    daemons = [subprocess.Popen([*command, "--channel", f"fd:{number}"], pass_fds=[number]) for number in channels]
    for number in channels:
        os.close(number)
    sys.stdout.write("guestfsd started\n")
    sys.stdout.flush()
    daemons[0].wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
