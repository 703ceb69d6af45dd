"""All that is on the disks, side by side (``--all``): each system, and each filesystem that no system mounts.

Each file is in one place only, see ``repeated_subvolumes``: of a btrfs the whole is shown, and what of it a system
mounts is an empty directory there; a link leads to the system's.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import blake2b
from typing import Final

from guestmount_py.config import GuestMount
from guestmount_py.handle import Guest
from guestmount_py.inspection import GuestSystem
from guestmount_py.log import logger
from rpc.errors import GuestmountError, ProcedureError
from rpc.mountables import (
    TOP_LEVEL,
    TOP_LEVEL_ID,
    TOP_LEVEL_OPTION,
    mapping_of_volume,
    mountable_of,
    volume_of,
)

_SYSTEMS: Final = "/systems"
_FILESYSTEMS: Final = "/filesystems"
_NOT_MOUNTED: Final = ("unknown", "swap")
_BTRFS: Final = "btrfs"
_NAME_MAX_BYTES: Final = 255
_DIGEST_BYTES: Final = 16


async def shelves(guest: Guest, systems: Sequence[GuestSystem], report: Callable[[str], None]) -> list[GuestMount]:
    """Make the directories, in the guest's memory, that everything is to be mounted on; return the mounts.

    Raises:
        GuestmountError: there is no filesystem.
    """
    found = [(device, kind) for device, kind in await guest.files.filesystems() if kind not in _NOT_MOUNTED]
    if not found:
        raise GuestmountError("--all: no filesystem is on any disk")
    await guest.mkmountpoint(_SYSTEMS)
    await guest.mkmountpoint(_FILESYSTEMS)
    mounts = []
    for system in systems:
        shelf = f"{_SYSTEMS}/{name_of(system.root)}"
        await guest.mkmountpoint(shelf)
        mounts += [mount.below(shelf.encode("utf-8", "surrogateescape")) for mount in system.mounts()]
        for line in system.warnings(shelf):
            report(f"warning: {line}")
        for line in system.notes:
            logger.info("%s: %s", shelf, line)
    shown = {mount.device for mount in mounts}
    for device, kind in found:
        if volume_of(device).subvolume:
            continue
        shelf = f"{_FILESYSTEMS}/{name_of(device)}"
        whole = GuestMount(device, shelf.encode(), TOP_LEVEL_OPTION if kind == _BTRFS else "", is_optional=True)
        is_part = device in shown and kind == _BTRFS and mountable_of(device, TOP_LEVEL) not in shown
        if is_part and await _default_of(guest, device) != TOP_LEVEL_ID:
            await guest.mkmountpoint(shelf)
            mounts.append(whole)
        else:
            mounts.append(replace(whole, is_spare=True))
    return mounts


async def _default_of(guest: Guest, device: str) -> int:
    with suppress(ProcedureError):  # then to mount it will fail as well, and say why
        return await guest.btrfs_subvolume_get_default(device)
    return TOP_LEVEL_ID


async def label_shelves(guest: Guest, mounts: Iterable[GuestMount]) -> None:
    """Make links to the filesystems that systems mount, and to subvolumes; then nobody can change the directories.

    Args:
        guest: has them mounted.
        mounts: all that succeeded.
    """
    places: dict[str, str] = {}
    wholes = []
    for mount in mounts:
        place = mount.mountpoint.decode("utf-8", "surrogateescape")
        if place.startswith(_SYSTEMS):
            places.setdefault(mount.device, place)  # two systems may mount it
        elif mount.options == TOP_LEVEL_OPTION:
            wholes.append((mount.device, place))
    links: dict[str, str] = {}
    for device, whole in wholes:
        links |= await _subvolumes(guest, device, whole, places)
    shown = {device for device, _ in wholes}
    for device, place in places.items():
        if device not in shown:  # else it is the default subvolume, which was called by its path
            links.setdefault(name_of(device), f"..{place}")
    for name, target in links.items():
        await guest.ln_s(target, f"{_FILESYSTEMS}/{name}")
    await guest.remount("/", rw=False)


async def _subvolumes(guest: Guest, device: str, whole: str, places: dict[str, str]) -> dict[str, str]:
    """Return the links to the subvolumes of a btrfs that is mounted; one of no system within another has none."""
    default = await guest.btrfs_subvolume_get_default(whole)
    links: dict[str, str] = {}
    seen: list[str] = []
    for row in sorted(await guest.btrfs_subvolume_list(whole), key=lambda row: row.btrfssubvolume_path):
        path = row.btrfssubvolume_path
        name = name_of(mountable_of(device, path))
        place = places.get(mountable_of(device, path))
        if place is None and row.btrfssubvolume_id == default:
            place = places.get(device)
        if place is not None:
            links[name] = f"..{place}"
        elif not any(path.startswith(f"{other}/") for other in seen):
            links[name] = f"{name_of(device)}/{path}"
        seen.append(path)
    return links


def name_of(mountable: str) -> str:
    """Return a file's name for a device or a subvolume: ``sda1``, ``vg-lv``, ``sda2:@home``; no two have the same.

    One that would be too long ends with a digest of all of it.
    """
    device, subvolume = volume_of(mountable)
    parts = device.removeprefix("/dev/").removeprefix("mapper/").split("/")
    name = mapping_of_volume(*parts) if len(parts) == 2 else "-".join(part.replace("-", "--") for part in parts)
    if subvolume not in ("", TOP_LEVEL):
        name += ":" + subvolume.replace("%", "%25").replace("/", "%2F")
    data = name.encode("utf-8", "surrogateescape")
    if len(data) < _NAME_MAX_BYTES:
        return name
    digest = blake2b(data, digest_size=_DIGEST_BYTES).hexdigest()
    head = data[: _NAME_MAX_BYTES - len(digest) - 1].decode("utf-8", "ignore")
    return f"{head}{'~' * (_NAME_MAX_BYTES - len(head.encode()) - len(digest))}{digest}"
