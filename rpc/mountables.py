"""Names of devices and subvolumes, as both ends take them apart.

A logical volume is ``/dev/VG/LV``, its mapping ``/dev/mapper/VG-LV``; a subvolume of btrfs is ``btrfsvol:DEVICE/PATH``.
The one that all others are below has the path ``/``, whichever is mounted when none is named.
"""

import re
from typing import Final, NamedTuple

SUBVOLUME: Final = "btrfsvol:"
TOP_LEVEL: Final = "/"
TOP_LEVEL_ID: Final = 5
TOP_LEVEL_OPTION: Final = f"subvolid={TOP_LEVEL_ID}"
"""The option of mount(8) that shows all of a btrfs."""
_DEVICE: Final = (
    r"(/dev/(?:(?:sd|hd|vd|xvd)[a-z]{1,2}\d*|md\d+(?:p\d+)?|(?:dm-|loop)\d+|disk/guestfs/[^/]+|[^/]+/[^/]+))/(.+)"
)
"""A device that a path follows: all that have one name only, then those with two. Compiled when it is first used."""


class Volume(NamedTuple):
    """A mountable taken apart; ``subvolume`` is empty for a whole device."""

    device: str
    subvolume: str


def volume_of(mountable: str) -> Volume:
    """Take a mountable apart; of a subvolume without a name, and of what is none at all, everything is the device."""
    if not mountable.startswith(SUBVOLUME):
        return Volume(mountable, "")
    text = mountable[len(SUBVOLUME) :]
    match = re.fullmatch(_DEVICE, text, re.DOTALL)
    return Volume(match[1], match[2]) if match else Volume(text, "")


def mountable_of(device: str, subvolume: str) -> str:
    """Return the name of a subvolume, of a device if that is empty."""
    return f"{SUBVOLUME}{device}/{subvolume}" if subvolume else device


def mapping_of_volume(group: str, volume: str) -> str:
    """Return the name of a logical volume's mapping: each dash is doubled, so that the single one stands between."""
    return "-".join(name.replace("-", "--") for name in (group, volume))


def volume_of_mapping(mapping: str) -> tuple[str, str] | None:
    """Return the group and the name of the logical volume that has a mapping; None if it cannot be one's."""
    parts = [part.replace("\0", "-") for part in mapping.replace("--", "\0").split("-")]
    return (parts[0], parts[1]) if len(parts) == 2 else None
