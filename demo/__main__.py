"""Run the demonstration: ``python -m demo``."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Final

import trio

from appliance.locate import find_appliance
from demo.guest import build_disk
from demo.progress import DemoFailed, check, heading, say, show
from demo.tour import copy_out, look_round
from rpc.errors import GuestmountError

_PROGRAMS: Final = Path(sys.executable).parent
"""Where guestmount-py and guestunmount-py were installed."""


def main() -> int:
    """Build, mount, look, copy, unmount; return 0 if all was as it should be."""
    # sfdisk, mke2fs and debugfs sit where an ordinary user's PATH does not look.
    os.environ["PATH"] = f"{_PROGRAMS}:{os.environ['PATH']}:/usr/sbin:/sbin"
    try:
        with tempfile.TemporaryDirectory(prefix="guestmount-demo-", dir="/var/tmp") as name:
            _demonstrate(Path(name))
    except (DemoFailed, GuestmountError) as exc:
        sys.stderr.write(f"demo: {exc}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("demo: interrupted\n")
        return 130
    say("everything is as it was built, and nothing is left behind")
    return 0


def _demonstrate(directory: Path) -> None:
    heading("Build the appliance and a guest disk, as an ordinary user")
    kernel = trio.run(_build, directory)
    mountpoint = Path("mnt")
    with chdir(directory):
        show("qemu-img", "info", "disk.qcow2")
        mountpoint.mkdir()
        with _mounted(mountpoint):
            look_round(mountpoint, kernel)
            copy_out(mountpoint, Path("copy"))
        check("what is left at the mount point", list(mountpoint.iterdir()), [])


async def _build(directory: Path) -> Path:
    files = await find_appliance(say)
    await build_disk(directory, files.kernel)
    return files.kernel


@contextmanager
def _mounted(mountpoint: Path) -> Iterator[None]:
    heading("Mount it; the command returns when the mount is ready")
    show("guestmount-py", "-a", "disk.qcow2", "-m", "/dev/sda2", "-m", "/dev/sda1:/boot", "--ro", mountpoint)
    say("mounted")
    try:
        yield
    finally:
        heading("Unmount it; the command returns when the appliance is gone")
        show("guestunmount-py", mountpoint)
        say("unmounted")


if __name__ == "__main__":
    sys.exit(main())
