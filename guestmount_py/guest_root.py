"""The guest's filesystems: mounted in it, and what a table of inodes has to know of them."""

import os
import re
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final, NamedTuple

import trio

from appliance.patience import patience
from guestmount_py.config import GuestMount, MountConfig
from guestmount_py.entries import Entry
from guestmount_py.guest_files import GuestFiles
from guestmount_py.handle import Guest
from guestmount_py.inode_numbers import UNNUMBERED_ROOT, UNNUMBERED_TYPES
from guestmount_py.ntfs import OVERRIDING, why_unsafe
from guestmount_py.repeated_subvolumes import cover_repeated
from guestmount_py.system_paths import path_within
from guestmount_py.unlocking import ENCRYPTED_TYPES, Encrypted
from rpc.errors import GuestmountError, ProcedureError, UsageError

_MOUNT_IN_GUEST_S: Final = 1200.0
"""A large journal may have to be replayed first, under emulation."""
_HINT_S: Final = 60.0
"""How long may be looked for what could be mounted instead: a chain of partitions may be endless."""
_UNKNOWN: Final = re.compile(r"unknown filesystem type '(.+?)'")
"""What mount(8) says."""


class GuestRoot(NamedTuple):
    """What is mounted in the guest.

    Attributes:
        root: the directory at the root.
        devices: ``mounted``, if it is by their order that inode numbers are told apart.
        unnumbered: those of filesystems without inode numbers, see ``InodeNumbers``.
        mounted: st_dev of all mounts, in their order.
    """

    root: Entry
    devices: Sequence[int]
    unnumbered: Collection[int]
    mounted: Sequence[int]


async def mount_in_guest(
    guest: Guest, config: MountConfig, report: Callable[[str], None]
) -> tuple[GuestRoot, tuple[GuestMount, ...]]:
    """Mount the guest's filesystems; return the root, and the mounts that were made.

    Raises:
        GuestmountError: one cannot be mounted as it is wanted, or nothing is on ``/``.
        UsageError: two of them are the same.
    """
    files = guest.files
    try:
        async with patience(_MOUNT_IN_GUEST_S, lambda: report("the guest is still mounting its filesystems")):
            shown: dict[tuple[int, ...], GuestMount] = {}
            mounts: list[GuestMount] = []
            for mount in config.mounts:
                if mount.is_spare:
                    if any(other.shows_all_of(mount.device) for other in mounts):
                        continue
                    await guest.mkmountpoint(mount.mountpoint.decode("utf-8", "surrogateescape"))
                made = await _made(guest, mount, shown, config, report)
                if made is not None:
                    mounts.append(made)
            await cover_repeated(guest, mounts, report)
            if config.writable:
                await _check_writable(files, mounts, report)
            return await guest_root(files, mounts), tuple(mounts)
    except trio.TooSlowError as exc:
        raise GuestmountError(f"the guest did not mount its filesystems within {_MOUNT_IN_GUEST_S:g} s") from exc


async def _made(
    guest: Guest,
    mount: GuestMount,
    shown: dict[tuple[int, ...], GuestMount],
    config: MountConfig,
    report: Callable[[str], None],
) -> GuestMount | None:
    """Mount a filesystem; return how that was done, or None: an optional one may fail, or be there already.

    Args:
        guest: where it is mounted.
        mount: what.
        shown: what was mounted before, by what tells one root from another; it is added.
        config: says how.
        report: takes a line on what is left out.

    Raises:
        GuestmountError: it has to be mounted, and cannot be.
    """
    mount = await _made_safe(guest, mount, config, report)
    try:
        if mount.root:
            place = await path_within(guest.files, mount.root, mount.mountpoint.removeprefix(mount.root))
            mount = replace(mount, mountpoint=place)
        await _mount(guest.files, mount, writable=config.writable)
    except ProcedureError as exc:
        words = exc.message.removeprefix(f"{mount.device} on {_text(mount.mountpoint)}: ")
        reason = words.partition(";")[0].rstrip(".")  # the rest is mount(8)'s pointer to dmesg(1)
        unknown = _UNKNOWN.search(exc.message)
        if unknown:
            reason = f"the appliance's kernel has no {unknown[1]}"
        if mount.is_optional:
            report(f"warning: {_text(mount.mountpoint)} is left out: cannot mount {mount.device}: {reason}")
            return None
        await _refuse_encrypted(guest.files, mount)
        hint = "" if unknown else f": {await _hint(guest.files)}"
        raise GuestmountError(f"cannot mount {mount.device}: {reason}{hint}") from exc
    other = shown.setdefault((await _point(guest.files, mount))[:2], mount)
    if other is not mount and mount.is_optional:
        await guest.umount(mount.mountpoint)
        report(f"warning: {_text(mount.mountpoint)} is left out: it is what {_text(other.mountpoint)} shows")
        return None
    return mount


async def _made_safe(guest: Guest, mount: GuestMount, config: MountConfig, report: Callable[[str], None]) -> GuestMount:
    """Return how to mount a filesystem so that nothing is written to one that Windows has not finished with.

    Raises:
        GuestmountError: it was to be written to.
    """
    words = mount.options.split(",")
    if OVERRIDING.intersection(words) or not (reason := await why_unsafe(guest, mount.device)):
        return mount
    if config.writable and "ro" not in words and not mount.is_optional:
        raise GuestmountError(f"cannot mount {mount.device} for writing: {reason}: use --ro")
    report(f"warning: {mount.device} is only read, and may be inconsistent: {reason}")
    return replace(mount, options=mount.read_only_options)


async def _point(files: GuestFiles, mount: GuestMount) -> tuple[int, ...]:
    """Return the attributes of the root of a mounted filesystem; a link may lead to the mount point."""
    return (await files.lstat(mount.mountpoint + b"/.", b"")).fields


def _text(place: bytes) -> str:
    return place.decode("utf-8", "replace")


async def _mount(files: GuestFiles, mount: GuestMount, *, writable: bool) -> None:
    options = mount.writing_options if writable else mount.read_only_options
    await files.mount(mount.device, mount.mountpoint, options, mount.fstype)


async def _hint(files: GuestFiles) -> str:
    found = None
    with suppress(GuestmountError), trio.move_on_after(_HINT_S):  # the reason of the first failure is what counts
        found = ", ".join(f"{device} ({kind})" for device, kind in await files.filesystems() if kind != "unknown")
    if found is None:
        return "the guest does not say what else there is"
    return f"the filesystems are {found}" if found else "no filesystem was found on any disk"


async def _refuse_encrypted(files: GuestFiles, mount: GuestMount) -> None:
    """Say what to mount in the place of an encrypted device.

    Raises:
        GuestmountError: it is one.
    """
    with suppress(ProcedureError):
        if await files.vfs_type(mount.device) in ENCRYPTED_TYPES:
            opened = Encrypted(mount.device, await files.vfs_uuid(mount.device)).opened
            raise GuestmountError(
                f"cannot mount {mount.device}: it is encrypted: mount {opened}, or a volume on it, with --key"
            )


async def _check_writable(files: GuestFiles, mounts: Sequence[GuestMount], report: Callable[[str], None]) -> None:
    """Insist that what was mounted for writing can be written to; of an optional one, say so.

    Raises:
        GuestmountError: the guest mounted it read-only.
    """
    for mount in mounts:
        asked_for = "ro" in mount.options.split(",")
        found = await files.statvfs(mount.mountpoint)
        if found.flag & os.ST_RDONLY and not asked_for:
            reason = (
                f"{mount.device}: the guest can mount it only read-only: it was not unmounted cleanly or has a feature "
                "that the appliance cannot write"
            )
            if not mount.is_optional:
                raise GuestmountError(f"{reason}: use --ro")
            report(f"warning: {_text(mount.mountpoint)} cannot be written to: {reason}")


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
    points = [await _point(files, mount) for mount in mounts]
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
    mounted = [point[0] for point in points]
    return GuestRoot(root, mounted, unnumbered, mounted)


async def _is_unnumbered(files: GuestFiles, mount: GuestMount, root: tuple[int, ...]) -> bool:
    """Tell whether a filesystem has no inode numbers of its own."""
    if root[1] != UNNUMBERED_ROOT:  # so most need not be asked about
        return False
    with suppress(ProcedureError):
        return mount.fstype in UNNUMBERED_TYPES or await files.vfs_type(mount.device) in UNNUMBERED_TYPES
    return False
