"""Which of our devices a guest means by a name of its own: its kernel, its udev and its mdadm called them otherwise."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from daemon.command import run_status
from daemon.devices import letters
from daemon.filesystems import Filesystem
from rpc.mountables import SUBVOLUME, volume_of, volume_of_mapping

_TAGS: Final = {"UUID": "UUID", "LABEL": "LABEL", "PARTUUID": "PART_ENTRY_UUID", "PARTLABEL": "PART_ENTRY_NAME"}
"""What fstab says, and libblkid's name of it."""
_BSD_TAGS: Final = {"gpt": "PARTLABEL", "gptid": "PARTUUID", "ufs": "LABEL", "ufsid": "UUID"}
_LETTERED: Final = r"/dev/(?:sd|hd|vd|xvd|ubd)([a-z]{1,2})(\d*)"
_NUMBERED: Final = (
    r"/dev/nvme(\d+)n\d+(?:p(\d+))?",
    r"/dev/mmcblk(\d+)(?:p(\d+))?",
    r"/dev/(?:cciss|ida)/c\d+d(\d+)(?:p(\d+))?",
    r"/dev/(?:ada|ad|da|vtbd|nda|nvd|mmcsd)(\d+)(?:p(\d+))?",
)
"""Disks by number, and partitions: of Linux, then of FreeBSD."""
_SLICED: Final = r"/dev/(?:ada|ad|da|vtbd|nda|nvd|mmcsd|wd|sd|ld|xbd)(\d+)(?:s\d+)?([a-p])"
"""Partitions within one of MBR, which Linux numbers from 5 on; ``c`` is the whole of it."""
_OPENBSD_ID: Final = r"[0-9a-f]{16}\.([a-p])"
_SLICES: Final = "abdefghijklmnop"
_FIRST_SLICE: Final = 5


class GuestNames:
    """The devices that there are, to be found by any name.

    Args:
        filesystems: what may be mounted.
        root: the mountable that names are of; of clones, the one on its disk is meant.
        opened: names of encrypted devices in the guest, and in its words what they are on (crypttab(5)).
        arrays: names of arrays in the guest, and their UUIDs (mdadm.conf(5)).
        disks: how many there are.

    Attributes:
        guessed: names that tell nothing but the number of a partition, and what they were taken for.
    """

    def __init__(
        self,
        filesystems: Iterable[Filesystem],
        root: str,
        opened: Mapping[str, str] | None = None,
        arrays: Mapping[str, str] | None = None,
        disks: int = 0,
    ) -> None:
        disk = disk_of(root)
        devices = [found for found in filesystems if not found.mountable.startswith(SUBVOLUME)]
        self._devices: Final = sorted(devices, key=lambda found: disk_of(found.mountable) != disk)
        self._names: Final = {found.mountable for found in devices}
        self._root_disk: Final = disk
        self._opened: Final = opened or {}
        self._arrays: Final = arrays or {}
        self._disks: Final = disks
        self.guessed: Final[dict[str, str]] = {}

    def device(self, spec: str) -> str | None:
        """Return the device that a name means, as named on the wire; None if it is none of the known ones."""
        tag, equals, value = spec.partition("=")
        if equals and tag in _TAGS:
            return self._tagged(tag, value)
        if equals and tag == "NAME":  # NetBSD's
            return self._tagged("PARTLABEL", value)
        linked = re.fullmatch(r"/dev/disk/by-(uuid|label|partuuid|partlabel|id|path)/(.+)", spec)
        if linked:
            value = re.sub(r"\\x([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), linked[2])
            return self._by_id(spec, value) if linked[1] in ("id", "path") else self._tagged(linked[1].upper(), value)
        if spec.startswith("/dev/mapper/"):
            return self._mapped(spec)
        bsd = re.fullmatch(r"/dev/(gpt|gptid|ufs|ufsid)/(.+)", spec)
        if bsd:
            return self._tagged(_BSD_TAGS[bsd[1]], bsd[2])
        if re.fullmatch(r"/dev/md[/\d].*", spec):
            return self._array(spec)
        name = self._translated(spec)
        return name if name in self._names else None

    def _tagged(self, tag: str, value: str) -> str | None:
        wanted = value if tag.endswith("LABEL") else value.lower()
        for found in self._devices:
            text = found.tags.get(_TAGS[tag], "")
            if text and (text if tag.endswith("LABEL") else text.lower()) == wanted:
                return found.mountable
        return None

    def _translated(self, spec: str) -> str:
        match = re.fullmatch(_LETTERED, spec)
        if match:
            return f"/dev/sd{match[1]}{match[2]}"
        for pattern in _NUMBERED:
            match = re.fullmatch(pattern, spec)
            if match and len(match[1]) < 4:
                return f"/dev/sd{letters(int(match[1]))}{match[2] or ''}"
        match = re.fullmatch(_SLICED, spec)
        if match and match[2] in _SLICES and len(match[1]) < 4:
            return f"/dev/sd{letters(int(match[1]))}{_SLICES.index(match[2]) + _FIRST_SLICE}"
        match = re.fullmatch(_OPENBSD_ID, spec)
        if match and match[1] in _SLICES:
            return f"{self._root_disk}{_SLICES.index(match[1]) + _FIRST_SLICE}"
        return spec

    def _mapped(self, spec: str) -> str | None:
        """Find a volume by the name of its mapping, or an encrypted device by that which it was opened as."""
        name = spec.removeprefix("/dev/mapper/")
        for known in (spec, "/dev/" + "/".join(volume_of_mapping(name) or ())):
            if known in self._names:
                return known
        uuid = self._opened.get(name, "").partition("UUID=")[2] or name.removeprefix("luks-")
        known = f"/dev/mapper/luks-{uuid.lower()}"
        return known if known in self._names else None

    def _by_id(self, spec: str, name: str) -> str | None:
        """Find a partition by a name that tells the model of its disk: only its number means something here.

        Of several disks it may be any, or one that was not given.
        """
        if name.startswith("dm-name-"):
            return self._mapped("/dev/mapper/" + name.removeprefix("dm-name-"))
        if name.startswith(("md-uuid-", "md-name-")):
            return self._array(name)
        part = re.search(r"-part(\d+)$", name)
        guess = f"/dev/sda{part[1] if part else ''}"
        if self._disks != 1 or guess not in self._names or name.startswith(("dm-", "lvm-")):
            return None
        self.guessed[spec] = guess
        return guess

    def _array(self, spec: str) -> str | None:
        """Find an array by its name, with or without the host's, or by its UUID, which the guest's mdadm.conf tells."""
        wanted = re.sub(r"^/dev/md/?|^md-(name|uuid)-", "", spec)
        uuid = self._arrays.get(spec, "") or wanted
        for device in sorted(name for name in self._names if re.fullmatch(r"/dev/md\d+(p\d+)?", name)):
            array, _, part = device.removeprefix("/dev/md").partition("p")
            facts = _array_facts(f"/dev/md{array}")
            name = facts.get("MD_NAME", "")
            ending = f"p{part}" if part else ""
            names = {f"{known}{ending}" for known in (name, name.rpartition(":")[2], facts.get("MD_UUID", "")) if known}
            if wanted in names or uuid in names:
                return device
        return spec if spec in self._names else None


def _array_facts(device: str) -> dict[str, str]:
    status, output, _ = run_status(["mdadm", "--detail", "--export", device])
    lines = output.decode("utf-8", "surrogateescape").splitlines() if not status else []
    return {key: value for key, _, value in (line.partition("=") for line in lines)}


def disk_of(mountable: str) -> str:
    """Return the disk of a partition, a device's own name for what is none."""
    match = re.match("/dev/sd[a-z]+", volume_of(mountable).device)
    return match[0] if match else mountable
