"""What mounting needs, looked at without libfuse."""

import shutil
from pathlib import Path

from rpc.errors import GuestmountError


def check_fuse(mountpoint: Path) -> None:
    """Insist on what mounting needs, before anything expensive is done.

    Raises:
        GuestmountError: no /dev/fuse, no fusermount3, or no directory to mount on.
    """
    device = Path("/dev/fuse")
    if not device.is_char_device():
        raise GuestmountError("/dev/fuse: not there: load the kernel module fuse, or give the container this device")
    if shutil.which("fusermount3") is None:
        raise GuestmountError("fusermount3 is not installed: install the package fuse3")
    try:
        if not mountpoint.is_dir():
            what = "is not a directory" if mountpoint.exists() else "no such directory: create it first"
            raise GuestmountError(f"{mountpoint}: {what}")
    except OSError as exc:
        raise GuestmountError(f"{mountpoint}: {exc.strerror}: 'fusermount3 -u' may free a dead mount") from exc
