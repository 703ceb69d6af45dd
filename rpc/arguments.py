"""Arguments that calls of several groups take; those of one group stand beside its rows in ``rpc.procedures``.

Field order is wire order. Names of calls and fields are libguestfs's (guestfs-procedures.tsv); FileIn and FileOut
parameters take no space on the wire and have no field. A default marks an optional argument; the first one's bit is 0.
"""

from typing import Final, NamedTuple

from rpc.codec import Device, FileName, GuestPath, Mountable

OPAQUE_TEXTS: Final = frozenset(("val", "content"))
"""Arguments that may be any bytes, NUL included, though the protocol calls them text."""


class NoArgs(NamedTuple):
    """Carry nothing."""


class PathArgs(NamedTuple):
    """Carry the one path that many calls take."""

    path: GuestPath


class PathNamesArgs(NamedTuple):
    """Carry a directory and names in it."""

    path: GuestPath
    names: list[FileName]


class DeviceArgs(NamedTuple):
    """Carry the one device that many calls take."""

    device: Device


class MountableArgs(NamedTuple):
    """Carry the one mountable that many calls take."""

    mountable: Mountable
