"""Which systems the guest's disks hold, which of them is wanted, and what it mounts (``-i``)."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

import trio

from appliance.patience import patience
from appliance.state import State
from guestmount_py.config import GuestMount
from guestmount_py.handle import Guest
from guestmount_py.unlocking import encrypted_devices
from rpc.codec import Pairs
from rpc.errors import GuestmountError, RemoteProtocolError, StateError

FIRST: Final = "first"
SINGLE: Final = "single"
_HINT: Final = "mount one of them with -m"
_FIND_S: Final = 1200.0
"""Twice what the daemon lets itself look for systems, which may first replay journals under emulation."""


class GuestSystem(NamedTuple):
    """One operating system.

    Attributes:
        root: what its root filesystem is on.
        title: what it calls itself.
        mountpoints: where it mounts what, the root first.
        absent: what else it mounts, in its own words, and where: nothing of that is on the disks.
        guessed: names of its own that may mean another disk's partition, and what they were taken for.
        notes: a line on each entry of its fstab that is not mounted, and need not be.
    """

    root: str
    title: str
    mountpoints: Pairs
    absent: Pairs
    guessed: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()

    def warnings(self, shelf: str = "") -> list[str]:
        """Return a line on each thing that is not, or may not be, as its fstab has it.

        Args:
            shelf: the directory that it is mounted on.
        """
        lines = [f"{shelf}{place} is left out: {device} is on none of the disks" for device, place in self.absent]
        return lines + [
            f"{device} is a guess for {name}: the name tells the model of a disk, and this is the only one"
            for name, device in self.guessed
        ]

    def mounts(self) -> list[GuestMount]:
        """Return what is to be mounted, each behind what it is mounted in.

        Raises:
            RemoteProtocolError: a place of it is none.
        """
        found = []
        for place, device in sorted(self.mountpoints, key=lambda pair: (pair[0] != "/", pair[0].count("/"))):
            if not place.startswith("/") or "\0" in place:
                raise RemoteProtocolError(f"a mount point {place[:300]!r}")
            point = place.encode("utf-8", "surrogateescape")
            found.append(GuestMount(device, point, is_optional=place != "/"))
        return found


class Found(NamedTuple):
    """What inspection found.

    Attributes:
        encrypted: devices that may hold more.
        unread: a line on each device that could not be looked at, and why.
    """

    systems: list[GuestSystem]
    encrypted: Sequence[str] = ()
    unread: Mapping[str, str] = {}


async def find_systems(guest: Guest, report: Callable[[str], None]) -> Found:
    """Look at all disks; nothing is mounted afterwards.

    Args:
        guest: launched.
        report: takes a line when it takes long.

    Raises:
        GuestmountError: it takes too long, though the daemon itself should have ended it. The appliance is killed: who
            is still looking would mount something else below what is mounted meanwhile.
    """
    try:
        async with patience(_FIND_S, lambda: report("the guest is still looking for operating systems")):
            return await _found(guest)
    except trio.TooSlowError as exc:
        with suppress(StateError):  # it may have died meanwhile
            await guest.kill_subprocess()
        raise GuestmountError(
            f"the guest did not find out within {_FIND_S:g} s which operating systems there are: mount with -m"
        ) from exc


async def find_systems_if_possible(guest: Guest, report: Callable[[str], None]) -> Found:
    """Look at all disks; if it takes too long say so, launch again and return nothing: other things can be mounted."""
    try:
        return await find_systems(guest, report)
    except GuestmountError as exc:
        if guest.state is State.READY:
            raise
        report(f"warning: {exc}")
        await guest.launch()
        return Found([])


async def _found(guest: Guest) -> Found:
    if not guest.files.extended:
        systems = [await _standard(guest, root) for root in await guest.inspect_os()]
        return Found(systems, [each.device for each in await encrypted_devices(guest, set())])
    answer = await guest.find_systems()
    unread = {device: f"{device} was not looked at: {_words(device, reason)}" for device, reason in answer.unread}
    systems = [
        GuestSystem(
            found.root,
            _title(found.system.product_name, found.system.distro),
            found.mountpoints,
            found.absent,
            found.guessed,
            found.notes,
        )
        for found in answer.systems
    ]
    return Found(systems, answer.encrypted, unread)


def _words(device: str, reason: str) -> str:
    """Return what a mount failed of, without what was to be mounted, and without mount(8)'s pointer to dmesg(1)."""
    return reason.removeprefix(f"{device} on /: ").partition(";")[0].rstrip(".")


async def _standard(guest: Guest, root: str) -> GuestSystem:
    """Describe a system by libguestfs's own calls."""
    title = _title(await guest.inspect_get_product_name(root), await guest.inspect_get_distro(root))
    return GuestSystem(root, title, await guest.inspect_get_mountpoints(root), [])


def _title(product_name: str, distro: str) -> str:
    return product_name if product_name not in ("", "unknown") else distro


async def chosen_system(
    guest: Guest, systems: Sequence[GuestSystem], wanted: str | None, hidden: Sequence[str] = ()
) -> GuestSystem:
    """Return the system that ``--root`` means.

    Args:
        guest: knows what there is instead.
        systems: those found.
        wanted: ``first``, ``single``, its number from 1, or what its root is on; None: there must be one only.
        hidden: lines on what may hold one but could not be looked at.

    Raises:
        GuestmountError: it is none of them, or several; the text names them.
    """
    if not systems:
        reasons = "; ".join([*hidden, await _other_filesystems(guest)])
        raise GuestmountError(f"no operating system was found: {reasons}")
    listed = "; ".join(f"{number}: {found.root} ({found.title})" for number, found in enumerate(systems, start=1))
    if wanted == FIRST or (wanted in (None, SINGLE) and len(systems) == 1):
        return systems[0]
    if wanted in (None, SINGLE):
        choices = "--root first, its number or its device" if wanted is None else "its number or its device with --root"
        raise GuestmountError(f"there are {len(systems)} operating systems: {listed}: choose one by {choices}")
    for number, found in enumerate(systems, start=1):
        if wanted in (str(number), found.root):
            return found
    raise GuestmountError(f"--root {wanted}: there is no such operating system: there are {listed}")


async def _other_filesystems(guest: Guest) -> str:
    found: list[tuple[str, str]] = []
    with suppress(GuestmountError):
        found = [(device, kind) for device, kind in await guest.files.filesystems() if kind != "unknown"]
    if not found:
        return "no filesystem is on any disk"
    return f"the filesystems are {', '.join(f'{device} ({kind})' for device, kind in found)}: {_HINT}"
