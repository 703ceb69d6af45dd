"""The only caller of pyfuse3's module-wide functions."""

import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pyfuse3
import trio

from guestmount_py.operations import ReadOnlyOperations
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


@asynccontextmanager
async def fuse_mounted(
    operations: ReadOnlyOperations, mountpoint: Path, options: Sequence[str], source: str
) -> AsyncIterator[trio.Nursery]:
    """Own a mount that answers requests until it is unmounted; then the body is cancelled.

    At the end it is unmounted if it still is mounted.

    Raises:
        GuestmountError: the kernel or fusermount3 refused.
    """
    words = {"ro", f"fsname={source}", "subtype=guestmount-py", "nosuid", "nodev"} - {"fsname="}
    if any(word.startswith("fsname=") for word in options):
        words = {word for word in words if not word.startswith("fsname=")}
    words |= set(options)
    if "allow_other" in words:
        words.add("default_permissions")
    try:
        pyfuse3.init(operations, str(mountpoint), words)
    except RuntimeError as exc:
        raise GuestmountError(f"{mountpoint}: cannot be mounted ({exc}): see fusermount3's message above") from exc
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_serve, nursery)
            yield nursery
    finally:
        pyfuse3.close(unmount=True)


async def _serve(nursery: trio.Nursery) -> None:
    await pyfuse3.main(min_tasks=2, max_tasks=32)
    nursery.cancel_scope.cancel()
