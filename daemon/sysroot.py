"""Confinement: guest paths are resolved inside the guest's root and nowhere else."""

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

DEFAULT_SYSROOT: Final = b"/sysroot"
_PROC_MOUNTS: Final = "/proc/self/mountinfo"


class Sysroot:
    """The directory that guest filesystems are mounted on, as the root of every guest path.

    Handlers call the system with unchanged guest paths, but only inside ``entered``: there the process's root is the
    guest's root (chroot(2)), so that absolute links and ``..`` end where they would end in the guest. Nothing else runs
    meanwhile, because a daemon process does one call at a time.
    """

    def __init__(self, path: bytes = DEFAULT_SYSROOT, *, is_plain_directory: bool = False) -> None:
        """Take a directory to mount on, or one that already is the guest's root."""
        self.path: Final = path
        self._is_plain_directory = is_plain_directory
        self._mounts = open(_PROC_MOUNTS, "rb")  # noqa: SIM115 - kept for poll()
        self._changes = select.poll()
        self._changes.register(self._mounts, select.POLLPRI)
        self._is_mounted: bool | None = None
        self._real_root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Run the body with the guest's root as the process's root and working directory."""
        os.chroot(self.path)
        try:
            os.chdir("/")
            yield
        finally:
            os.fchdir(self._real_root)
            os.chroot(".")

    def is_mounted(self) -> bool:
        """Tell whether anything is mounted at or below the guest's root, by whichever process of the daemon.

        A change of the mount table makes its file poll readable (proc(5)), which costs far less than reading it.
        """
        if self._is_plain_directory:
            return True
        if self._is_mounted is None or self._changes.poll(0):
            prefix = self.path + b"/"
            self._is_mounted = any(point == self.path or point.startswith(prefix) for _, point in mount_points())
        return self._is_mounted

    def outside(self, guest_path: bytes) -> bytes:
        """Return the path outside the root of a guest directory, every link in it resolved inside the guest's root."""
        with self.entered():
            resolved = os.path.realpath(guest_path)
            if not os.path.isdir(resolved):
                raise NotADirectoryError(20, os.strerror(20))
        return self.path if resolved == b"/" else self.path + resolved


def mount_points() -> list[tuple[bytes, bytes]]:
    """Return (source, mount point) of every mount of this process, in mount order (proc(5), mountinfo)."""
    with open(_PROC_MOUNTS, "rb") as file:
        rows = [line.split() for line in file]
    return [(_unescape(row[row.index(b"-", 6) + 2]), _unescape(row[4])) for row in rows]


def _unescape(field: bytes) -> bytes:
    """Undo the octal escapes of space, tab, newline and backslash."""
    if b"\\" not in field:
        return field
    parts = field.split(b"\\")
    return parts[0] + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in parts[1:])
