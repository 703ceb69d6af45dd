"""All that is on the disks, side by side (``--all``): each system, and each filesystem that no system mounts."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final

from guestmount_py.config import GuestMount
from guestmount_py.handle import Guest
from guestmount_py.inspection import GuestSystem
from guestmount_py.log import logger
from rpc.errors import GuestmountError, ProcedureError

_SYSTEMS: Final = "/systems"
_FILESYSTEMS: Final = "/filesystems"
_SUBVOLUME: Final = "btrfsvol:"
_NOT_MOUNTED: Final = ("unknown", "swap")


async def shelves(guest: Guest, systems: Sequence[GuestSystem], report: Callable[[str], None]) -> list[GuestMount]:
    """Make the directories, in the guest's memory, that everything is to be mounted on; return the mounts.

    Raises:
        GuestmountError: there is no filesystem.
    """
    found = [device for device, kind in await guest.files.filesystems() if kind not in _NOT_MOUNTED]
    if not found:
        raise GuestmountError("--all: no filesystem is on any disk")
    await guest.mkmountpoint(_SYSTEMS)
    await guest.mkmountpoint(_FILESYSTEMS)
    mounts = []
    for system in systems:
        shelf = f"{_SYSTEMS}/{name_of(system.root)}"
        await guest.mkmountpoint(shelf)
        mounts += [mount.below(shelf.encode()) for mount in system.mounts()]
        for line in system.warnings(shelf):
            report(f"warning: {line}")
        for line in system.notes:
            logger.info("%s: %s", shelf, line)
    shown = [mount.device for mount in mounts]
    for device in found:
        if device in shown or _is_shown_within(device, shown):
            continue
        if not device.startswith(_SUBVOLUME) and any(other.startswith(f"{_SUBVOLUME}{device}/") for other in found):
            report(f"warning: {device} itself is left out: its subvolumes are shown")
            continue
        shelf = f"{_FILESYSTEMS}/{name_of(device)}"
        await guest.mkmountpoint(shelf)
        mounts.append(GuestMount(device, shelf.encode(), is_optional=True))
        shown.append(device)
    return mounts


async def label_shelves(guest: Guest, mounts: Iterable[GuestMount]) -> None:
    """Make links to the filesystems that systems mount; from then on nobody can change the directories."""
    for mount in mounts:
        place = mount.mountpoint.decode("utf-8", "surrogateescape")
        if place.startswith(_SYSTEMS):
            with suppress(ProcedureError):  # it is there already: two systems mount it
                await guest.ln_s(f"..{place}".rstrip("/"), f"{_FILESYSTEMS}/{name_of(mount.device)}")
    await guest.remount("/", rw=False)


def name_of(mountable: str) -> str:
    """Return a file's name for a device or a subvolume: ``sda1``, ``vg-lv``, ``sda2:@home``; no two have the same."""
    if not mountable.startswith(_SUBVOLUME):
        return "-".join(part.replace("-", "--") for part in _parts(mountable))
    parts = mountable.removeprefix(f"{_SUBVOLUME}/dev/").split("/")
    count = 1 if len(parts) == 2 or parts[0].startswith(("sd", "md")) else 2
    device = name_of("/dev/" + "/".join(parts[:count]))
    subvolume = "/".join(parts[count:]).replace("%", "%25").replace("/", "%2F")
    return f"{device}:{subvolume}"


def _parts(device: str) -> list[str]:
    return device.removeprefix("/dev/").removeprefix("mapper/").split("/")


def _is_shown_within(device: str, shown: Iterable[str]) -> bool:
    """Tell whether a subvolume is a directory of one that is shown, or of the whole filesystem."""
    if not device.startswith(_SUBVOLUME):
        return False
    plain = device.removeprefix(_SUBVOLUME)
    return any(device.startswith(f"{other}/") or plain.startswith(f"{other}/") for other in shown)
