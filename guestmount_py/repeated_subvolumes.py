"""Subvolumes of btrfs that a second mount shows as well, such as openSUSE's root below its ``/.snapshots``.

A directory in two places would be one inode with two paths, which FUSE's kernel side moves to and fro, and an error
where the root is met again. So there is an empty directory in the second place.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from guestmount_py.config import GuestMount
from guestmount_py.handle import Guest
from guestmount_py.system_paths import path_within
from rpc.arguments import PathArgs
from rpc.codec import GuestPath
from rpc.errors import ProcedureError
from rpc.mountables import TOP_LEVEL
from rpc.procedures.mounting import COVER


class Shown(NamedTuple):
    """Where a subvolume is mounted, and its path below the top level: both without a slash at the end."""

    place: bytes
    path: bytes


async def cover_repeated(guest: Guest, mounts: Sequence[GuestMount], report: Callable[[str], None]) -> None:
    """Cover what is shown twice of each btrfs; needs our daemon."""
    known: dict[str, list[GuestMount]] = {}
    for mount in mounts:
        if mount.subvolume is not None or "subvolid=" not in mount.options:
            known.setdefault(mount.block_device, []).append(mount)
    repeating = {device: same for device, same in known.items() if len({each.subvolume for each in same}) > 1}
    if not repeating or not guest.files.extended:
        return
    places = {mount.mountpoint: await path_within(guest.files, b"", mount.mountpoint) for mount in mounts}
    for device, same in repeating.items():
        default = await _default_of(guest, device) if any(mount.subvolume is None for mount in same) else TOP_LEVEL
        shown = [Shown(places[mount.mountpoint], _path(mount.subvolume or default)) for mount in same]
        for place in repeated(shown, [*places.values()]):
            try:
                await guest.call(COVER, PathArgs(GuestPath(place)))
            except ProcedureError as exc:
                report(f"warning: {place.decode('utf-8', 'replace')} is there twice: {exc.message}")


def _path(subvolume: str) -> bytes:
    return f"/{subvolume}".encode("utf-8", "surrogateescape").rstrip(b"/")


async def _default_of(guest: Guest, device: str) -> str:
    number = await guest.btrfs_subvolume_get_default(device)
    rows = await guest.btrfs_subvolume_list(device)
    return next((row.btrfssubvolume_path for row in rows if row.btrfssubvolume_id == number), TOP_LEVEL)


def repeated(shown: Iterable[Shown], places: Sequence[bytes]) -> list[bytes]:
    """Return where one of some mounts of a btrfs shows what another one is.

    Args:
        shown: the mounts.
        places: of all mounts, which may hide that.
    """
    found: list[bytes] = []
    ordered = sorted(shown, key=lambda each: each.path)
    for inner in ordered:
        for outer in ordered:
            place = outer.place + inner.path[len(outer.path) :]
            owner = max((each for each in places if (place + b"/").startswith(each + b"/")), key=len, default=b"")
            if not inner.path.startswith(outer.path + b"/") or owner != outer.place:
                continue
            if not any(place.startswith(each + b"/") for each in found):
                found.append(place)
    return found
