"""The guest's filesystems: mounted in it, and what a table of inodes has to know of them."""

import os
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

import trio

from appliance.patience import patience
from guestmount_py.config import GuestMount, MountConfig
from guestmount_py.entries import Entry
from guestmount_py.guest_files import GuestFiles
from guestmount_py.handle import Guest
from guestmount_py.inode_numbers import UNNUMBERED_ROOT, UNNUMBERED_TYPES
from rpc.errors import GuestmountError, ProcedureError, UsageError

_MOUNT_IN_GUEST_S: Final = 1200.0
"""A large journal may have to be replayed first, under emulation."""


class GuestRoot(NamedTuple):
    """What is mounted in the guest.

    Attributes:
        root: the directory at the root.
        devices: st_dev of all mounts, in their order.
        unnumbered: those of filesystems without inode numbers, see ``InodeNumbers``.
    """

    root: Entry
    devices: Sequence[int]
    unnumbered: Collection[int]


async def mount_in_guest(guest: Guest, config: MountConfig, report: Callable[[str], None]) -> GuestRoot:
    """Mount the guest's filesystems.

    Raises:
        GuestmountError: one cannot be mounted as it is wanted, or nothing is on ``/``.
        UsageError: two of them are the same.
    """
    files, mounts = guest.files, config.mounts
    try:
        async with patience(_MOUNT_IN_GUEST_S, lambda: report("the guest is still mounting its filesystems")):
            for mount in mounts:
                await _mount(files, mount, writable=config.writable)
            if config.writable:
                await _check_writable(files, mounts)
            return await guest_root(files, mounts)
    except trio.TooSlowError as exc:
        raise GuestmountError(f"the guest did not mount its filesystems within {_MOUNT_IN_GUEST_S:g} s") from exc


async def _mount(files: GuestFiles, mount: GuestMount, *, writable: bool) -> None:
    options = mount.writing_options if writable else mount.read_only_options
    try:
        await files.mount(mount.device, mount.mountpoint, options, mount.fstype)
    except ProcedureError as exc:
        found = ""
        with suppress(GuestmountError):  # the reason of the first failure is what counts
            found = ", ".join(f"{device} ({kind})" for device, kind in await files.filesystems() if kind != "unknown")
        hint = f"the filesystems are {found}" if found else "no filesystem was found on any disk"
        reason = exc.message.partition(";")[0].rstrip(".")  # the rest is mount(8)'s pointer to dmesg(1)
        raise GuestmountError(f"cannot mount {mount.device}: {reason}: {hint}") from exc


async def _check_writable(files: GuestFiles, mounts: Sequence[GuestMount]) -> None:
    """Insist that what was mounted for writing can be written to.

    Raises:
        GuestmountError: the guest mounted it read-only.
    """
    for mount in mounts:
        asked_for = "ro" in mount.options.split(",")
        found = await files.statvfs(mount.mountpoint)
        if found.flag & os.ST_RDONLY and not asked_for:
            raise GuestmountError(
                f"{mount.device}: the guest can mount it only read-only: it was not unmounted cleanly or has a feature "
                "that the appliance cannot write: use --ro"
            )


async def guest_root(files: GuestFiles, mounts: Sequence[GuestMount]) -> GuestRoot:
    """Return what is mounted in the guest.

    Raises:
        GuestmountError: nothing is mounted on ``/``.
        UsageError: two of the mounts are the same.
    """
    try:
        root = await files.lstat(b"/", b"")
    except ProcedureError as exc:
        raise GuestmountError(
            f"nothing is mounted on / in the guest: {exc.message}: give one -m without a path"
        ) from exc
    points = [(await files.lstat(mount.mountpoint, b"")).fields for mount in mounts]
    seen: dict[tuple[int, ...], GuestMount] = {}
    for mount, point in zip(mounts, points, strict=True):
        other = seen.setdefault(point[:2], mount)
        if other is not mount:
            raise UsageError(
                f"-m {mount.device} and -m {other.device} show the same filesystem: give each place only once"
            )
    unnumbered = {
        point[0] for mount, point in zip(mounts, points, strict=True) if await _is_unnumbered(files, mount, point)
    }
    return GuestRoot(root, [point[0] for point in points], unnumbered)


async def _is_unnumbered(files: GuestFiles, mount: GuestMount, root: tuple[int, ...]) -> bool:
    """Tell whether a filesystem has no inode numbers of its own."""
    if root[1] != UNNUMBERED_ROOT:  # so most need not be asked about
        return False
    with suppress(ProcedureError):
        return mount.fstype in UNNUMBERED_TYPES or await files.vfs_type(mount.device) in UNNUMBERED_TYPES
    return False
