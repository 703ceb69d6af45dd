"""The files that an overlay changes.

Base and overlay have the same UUIDs, which XFS, btrfs and LVM refuse to have twice in one kernel; so each gets an
appliance of its own.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import trio

from appliance.image_use import RESIZE, WRITE, denied
from appliance.patience import lone_leaf
from guestmount_py.config import GuestMount
from guestmount_py.events import LogMessage
from guestmount_py.handle import Guest
from guestmount_py.overlay import Overlay, check_base, check_no_commit, read_overlay
from guestmount_py.tree_diff import Change, TreeDiff
from rpc import procedures
from rpc.arguments import NoArgs
from rpc.errors import GuestmountError, ProcedureError

_NO_FILES: Final = ("unknown", "swap", "crypto_LUKS", "LVM2_member", "linux_raid_member")


async def compare_overlay(
    path: Path,
    mounts: Sequence[GuestMount],
    blocksize_bytes: int | None,
    *,
    tell: Callable[[str, Change], None],
    log: Callable[[str], None],
) -> None:
    """Tell the changes of files that an overlay brings, each with its device.

    Args:
        path: the overlay.
        mounts: what to mount in the guests, once for all; then the device is empty. None: each filesystem by itself.
        blocksize_bytes: of the disk's sectors, see ``Drive``.
        tell: takes the device and a change.
        log: takes a line for each thing that takes long, or cannot be compared.

    Raises:
        GuestmountError: the overlay is in use or does not fit its base, a guest cannot be launched, or mount it.
    """
    overlay = await read_overlay(path)
    with denied(overlay.path, WRITE, RESIZE), denied(overlay.base, WRITE, RESIZE):
        check_no_commit(overlay)
        check_base(overlay)
        async with _two_guests(overlay, blocksize_bytes, log) as guests:
            if mounts:
                await _mount(guests, mounts)
                await _compare(guests, partial(tell, ""))
                return
            for device in await _common_filesystems(guests, log):
                try:
                    await _mount(guests, [GuestMount(device)])
                except GuestmountError as exc:
                    log(f"{exc}: not compared")
                    continue
                await _compare(guests, partial(tell, device))
                for guest in guests:
                    await guest.call(procedures.UMOUNT_ALL, NoArgs())


async def _compare(guests: tuple[Guest, Guest], tell: Callable[[Change], None]) -> None:
    old, new = guests
    async with aclosing(TreeDiff(old.files, new.files).changes()) as changes:
        async for change in changes:
            tell(change)


async def _mount(guests: tuple[Guest, Guest], mounts: Sequence[GuestMount]) -> None:
    for guest in guests:
        for mount in mounts:
            try:
                await guest.files.mount(mount.device, mount.mountpoint, mount.read_only_options, mount.fstype)
            except ProcedureError as exc:
                reason = exc.message.partition(";")[0].rstrip(".")  # the rest is mount(8)'s pointer to dmesg(1)
                raise GuestmountError(f"cannot mount {mount.device}: {reason}") from exc


async def _common_filesystems(guests: tuple[Guest, Guest], log: Callable[[str], None]) -> list[str]:
    """Return the devices whose filesystem is of the same type on both sides, and tell of the others."""
    were, are = [dict(await guest.files.filesystems()) for guest in guests]
    common = []
    for device in sorted(were.keys() | are.keys()):
        was, is_now = were.get(device), are.get(device)
        if was != is_now:
            log(f"{device}: was {was or 'not there'}, is {is_now or 'not there'}")
        elif was not in _NO_FILES:
            common.append(device)
    return common


@asynccontextmanager
async def _two_guests(
    overlay: Overlay, blocksize_bytes: int | None, log: Callable[[str], None]
) -> AsyncIterator[tuple[Guest, Guest]]:
    """Own a guest that sees the base alone and one that sees the overlay, launched side by side."""
    drives = (
        (overlay.base, overlay.base_format),
        (overlay.path, "qcow2"),
    )
    async with AsyncExitStack() as stack:
        old, new = [await stack.enter_async_context(Guest()) for _ in drives]
        try:
            async with trio.open_nursery() as nursery:
                for guest, (path, kind) in zip((old, new), drives, strict=True):
                    guest.add_drive(path, format=kind, blocksize_bytes=blocksize_bytes)
                    guest.subscribe(LogMessage, lambda event: log(event.text))
                    nursery.start_soon(guest.launch)
        except BaseExceptionGroup as group:
            raise lone_leaf(group) from None
        yield old, new
