"""What a mount is asked to be, checked."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, TypeAlias

from appliance.config import Drive
from guestmount_py.keys import KeySelector
from rpc.errors import UsageError
from rpc.mountables import SUBVOLUME, TOP_LEVEL, TOP_LEVEL_OPTION, mountable_of, volume_of

BLOCKSIZES: Final = (512, 4096)
DEFAULT_CACHE_MIB: Final = 256
MIN_CACHE_MIB: Final = 16
"""Two segments of a file that is read in order, and a little of everything else."""
_DISK: Final = re.compile(r"/dev/(sd|hd|vd|xvd)[a-z]+[0-9]*")
"""What disks and their partitions are called, see guestfs-protocol 4.1; /dev/vdata/root is a volume."""
Plane: TypeAlias = Literal["auto", "qemu", "guest"]
PLANES: Final[tuple[Plane, ...]] = ("auto", "qemu", "guest")
"""Where files' bytes come from: the image if possible; qemu, which holds the image; or the guest's daemon."""


@dataclass(frozen=True, slots=True)
class GuestMount:
    """One ``-m DEV[:MOUNTPOINT[:OPTIONS[:FSTYPE]]]``; an optional one may fail, and nothing else does then.

    Attributes:
        device: or a subvolume of it, ``btrfsvol:DEVICE/PATH``.
        root: of a system among others, the directory that links on the way to the mount point mean by ``/``.
        is_spare: it is mounted only if nothing before it shows that device; then its mount point is made.
    """

    device: str
    mountpoint: bytes = b"/"
    options: str = ""
    fstype: str = ""
    is_optional: bool = False
    root: bytes = b""
    is_spare: bool = False

    @classmethod
    def parse(cls, text: str) -> "GuestMount":
        """Take the option's value apart.

        Raises:
            UsageError: the device or the mount point is not absolute.
        """
        prefix = SUBVOLUME if text.startswith(SUBVOLUME) else ""
        device, mountpoint, options, fstype = [*text.removeprefix(prefix).split(":", 3), "", "", ""][:4]
        if not device.startswith("/dev/"):
            raise UsageError(f"-m {text}: {device or 'an empty name'} is no device: devices are /dev/sda1, /dev/sdb …")
        mountpoint = mountpoint or "/"
        if not mountpoint.startswith("/"):
            raise UsageError(f"-m {text}: the mount point {mountpoint} in the guest must begin with /")
        if prefix and not volume_of(prefix + device).subvolume:
            raise UsageError(f"-m {text}: the name of a subvolume is missing: write {SUBVOLUME}/dev/sda1/NAME")
        return cls(prefix + device, mountpoint.encode("utf-8", "surrogateescape"), options, fstype)

    def below(self, directory: bytes) -> "GuestMount":
        """Return the same in a directory, where it need not succeed: it is one of many."""
        place = (directory + self.mountpoint).rstrip(b"/")
        return replace(self, mountpoint=place, is_optional=True, root=directory)

    @property
    def is_on_disk(self) -> bool:
        """Tell whether it is a disk or a partition of one: there from the start, or never."""
        return _DISK.fullmatch(self.block_device) is not None

    @property
    def block_device(self) -> str:
        """Return the device that it is on: ``device`` may be a subvolume of it."""
        return volume_of(self.device).device

    def shows_all_of(self, device: str) -> bool:
        """Tell whether a device need not be mounted besides, if what is mounted by default is all of it."""
        return self.device in (device, mountable_of(device, TOP_LEVEL))

    @property
    def subvolume(self) -> str | None:
        """Return the path of a subvolume, ``/`` of the top level; None for that which is mounted if none is named."""
        path = volume_of(self.device).subvolume
        for word in self.options.split(","):
            name, _, value = word.partition("=")
            if name == "subvol":
                path = value.strip("/") or TOP_LEVEL
            elif word == TOP_LEVEL_OPTION:
                path = TOP_LEVEL
        return path or None

    @property
    def writing_options(self) -> str:
        """Return the mount options of one that is written to; access times stay as they are unless asked for."""
        words = [word for word in self.options.split(",") if word]
        if not {"atime", "noatime", "relatime", "strictatime"}.intersection(words):
            words.append("noatime")
        return ",".join(words)

    @property
    def read_only_options(self) -> str:
        """Return the mount options with ``ro`` among them and without ``rw``, which would win if it came later."""
        words = [word for word in self.options.split(",") if word not in ("", "rw")]
        return ",".join(words if "ro" in words else ["ro", *words])


@dataclass(frozen=True, slots=True, kw_only=True)
class MountConfig:
    """One run of guestmount-py.

    Attributes:
        fuse_options: words of ``-o``.
        ready_fd: ``--fd``: gets a byte when the mount is ready (as libguestfs's hidden option does for tests).
        trace: ``-x``: log every call.
        template: restore the appliance, unless the environment forbids it.
        stats: where the statistics are written.
        plane: how files' bytes are read.
        cache_mib: what listings, maps and contents may take together.
        writable: the guest's filesystems can be written to.
        overlays: of the drives, one each or none at all: what is written goes there.
        inspect: mount what an operating system on the disks mounts, before ``mounts``.
        root: which of several.
        everything: mount all systems and all filesystems, each in a directory of its own.
        keys: ``--key``, of encrypted devices.
        keys_from_stdin: other keys are lines of standard input.
        echo_keys: what is typed is shown.
    """

    drives: tuple[Drive, ...]
    mounts: tuple[GuestMount, ...]
    mountpoint: Path
    fuse_options: tuple[str, ...] = ()
    foreground: bool = False
    pid_file: Path | None = None
    ready_fd: int | None = None
    verbose: bool = False
    trace: bool = False
    template: bool = True
    stats: Path | None = None
    plane: Plane = "auto"
    cache_mib: int = DEFAULT_CACHE_MIB
    writable: bool = False
    overlays: tuple[Path, ...] = ()
    inspect: bool = False
    root: str | None = None
    everything: bool = False
    keys: tuple[KeySelector, ...] = ()
    keys_from_stdin: bool = False
    echo_keys: bool = False
