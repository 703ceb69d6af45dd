"""What can be mounted: a device, or a btrfs subvolume written ``btrfsvol:`` device ``/`` subvolume."""

import os
from typing import Final, NamedTuple

from daemon.devices import checked_device, put_together, wire_name
from daemon.session import CallError

_BTRFS_VOLUME: Final = "btrfsvol:"


class Volume(NamedTuple):
    """A mountable taken apart; ``subvolume`` is empty for a whole device."""

    device: str
    subvolume: str


def checked_mountable(mountable: str) -> str:
    """Return a mountable with the kernel's name of its device; its errno if the device does not open."""
    if not mountable.startswith(_BTRFS_VOLUME):
        return checked_device(mountable)
    device, subvolume = _cut(mountable.removeprefix(_BTRFS_VOLUME))
    return f"{_BTRFS_VOLUME}{checked_device(device)}/{subvolume}"


def volume_of(mountable: str) -> Volume:
    """Take a checked mountable apart."""
    if not mountable.startswith(_BTRFS_VOLUME):
        return Volume(mountable, "")
    return Volume(*_cut(mountable.removeprefix(_BTRFS_VOLUME)))


def wire_mountable(mountable: str) -> str:
    """Return a checked mountable as named on the wire."""
    device, subvolume = volume_of(mountable)
    return f"{_BTRFS_VOLUME}{wire_name(device)}/{subvolume}" if subvolume else wire_name(device)


def subvolume_option(volume: Volume) -> str:
    """Return the mount option that chooses a subvolume, empty for none.

    A name that mount(8) would take for further options is looked up: its number says the same.
    """
    if not volume.subvolume:
        return ""
    if "," not in volume.subvolume and '"' not in volume.subvolume:
        return f"subvol={volume.subvolume}"
    from daemon.btrfs import number_of

    return f"subvolid={number_of(volume)}"


def _cut(text: str) -> tuple[str, str]:
    """Split device and subvolume: ``/dev/sda2/x`` behind sda2, ``/dev/mapper/y/x`` and ``/dev/VG/LV/x`` one later."""
    names = text.split("/")
    first = "/".join(names[:3])
    if not os.path.lexists(first):
        put_together(first)
    cut = 4 if os.path.isdir(first) else 3
    subvolume = "/".join(names[cut:])
    if not subvolume:
        raise CallError(f"{_BTRFS_VOLUME}{text}: the name of a subvolume is missing")
    return "/".join(names[:cut]), subvolume
