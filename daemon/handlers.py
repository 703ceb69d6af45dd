"""All handler modules; importing this one fills the registry."""

from daemon import control, devices, dirs, files, filesystems, mounts, stat, transfers, xattrs

__all__ = ["control", "devices", "dirs", "files", "filesystems", "mounts", "stat", "transfers", "xattrs"]
