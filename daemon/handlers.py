"""All handler modules; importing this one fills the registry."""

from daemon import (
    checksums,
    control,
    devices,
    dirs,
    files,
    filesystems,
    listings,
    mounts,
    stat,
    transfers,
    walks,
    xattrs,
)

__all__ = [
    "checksums",
    "control",
    "devices",
    "dirs",
    "files",
    "filesystems",
    "listings",
    "mounts",
    "stat",
    "transfers",
    "walks",
    "xattrs",
]
