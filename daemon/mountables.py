"""What can be mounted: a device, or a btrfs subvolume, with the kernel's names of devices and with the wire's."""

from daemon.devices import checked_device, wire_name
from daemon.session import CallError
from rpc.mountables import SUBVOLUME, Volume, mountable_of, volume_of


def checked_mountable(mountable: str) -> str:
    """Return a mountable with the kernel's name of its device; its errno if the device does not open."""
    device, subvolume = volume_of(mountable)
    if mountable.startswith(SUBVOLUME) and not subvolume:
        raise CallError(f"{mountable}: the name of a subvolume is missing")
    return mountable_of(checked_device(device), subvolume)


def wire_mountable(mountable: str) -> str:
    """Return a checked mountable as named on the wire."""
    device, subvolume = volume_of(mountable)
    return mountable_of(wire_name(device), subvolume)


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
