"""Confinement: guest paths are resolved inside the guest's root and nowhere else."""

import os
import select
from functools import cache
from typing import Final, NamedTuple

DEFAULT_SYSROOT: Final = b"/sysroot"
_PROC_MOUNTS: Final = "/proc/self/mountinfo"


class MountPoint(NamedTuple):
    """One mount of a guest's filesystem: its device as the kernel names it and its place in the guest."""

    device: str
    guest_path: bytes


class Sysroot:
    """The directory that guest filesystems are mounted on, as the root of every guest path.

    Handlers call the system with unchanged guest paths, but only in ``with sysroot:``. There the process's root is the
    guest's root (chroot(2)), so that absolute links and ``..`` end where they would end in the guest. Nothing else runs
    meanwhile, because a daemon process does one call at a time.

    Invariant: nothing is imported in such a block, for it would be the guest's Python that is found.

    Args:
        path: absolute path of the directory.
        is_plain_directory: it is the guest's root as it stands and needs no mount.
    """

    def __init__(self, path: bytes = DEFAULT_SYSROOT, *, is_plain_directory: bool = False) -> None:
        self.path: Final = path
        self._is_plain_directory = is_plain_directory
        self._changes = select.poll()
        if not is_plain_directory:
            self._changes.register(os.open(_PROC_MOUNTS, os.O_RDONLY | os.O_CLOEXEC), select.POLLPRI)
        self._is_mounted: bool | None = None
        self._real_root = _real_root()

    def __enter__(self) -> None:
        os.chroot(self.path)
        os.chdir("/")

    def __exit__(self, *_: object) -> None:
        os.fchdir(self._real_root)
        os.chroot(".")

    def is_mounted(self) -> bool:
        """Tell whether a guest filesystem is mounted, by whichever process of the daemon.

        A change of the mount table makes its file poll readable (proc(5)), which costs far less than reading it.
        """
        if self._is_plain_directory:
            return True
        if self._is_mounted is None or self._changes.poll(0):
            self._is_mounted = bool(self.mount_points())
        return self._is_mounted

    def mount_points(self) -> list[MountPoint]:
        """Return the guest's mounts in mount order (proc(5), mountinfo).

        What has no device is the appliance's own, and below a plain directory all mounts are somebody else's.
        """
        if self._is_plain_directory:
            return []
        with open(_PROC_MOUNTS, "rb") as file:
            rows = [line.split() for line in file]
        found = []
        for row in rows:
            source, place = (_unescaped(field) for field in (row[row.index(b"-", 6) + 2], row[4]))
            if source.startswith(b"/dev/") and (place + b"/").startswith(self.path + b"/"):
                found.append(MountPoint(os.fsdecode(source), place[len(self.path) :] or b"/"))
        return found

    def outside(self, guest_path: bytes) -> bytes:
        """Return the path of a guest directory as programs outside the guest's root need it.

        The kernel resolves it inside the root, every link included, and then tells where it ended.
        """
        with self:
            directory = os.open(guest_path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return os.readlink(b"/proc/self/fd/%d" % directory)
        finally:
            os.close(directory)


@cache
def _real_root() -> int:
    """Open the process's root, which is where it stays but for ``with sysroot:``."""
    return os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _unescaped(field: bytes) -> bytes:
    """Undo the octal escapes of space, tab, newline and backslash."""
    first, *rest = field.split(b"\\")
    return first + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in rest)
