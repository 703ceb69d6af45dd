"""A guest's fstab(5): what it mounts where."""

import os
import posixpath
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

_NETWORK: Final = frozenset(
    ("nfs", "nfs4", "cifs", "smbfs", "smb3", "ceph", "glusterfs", "sshfs", "fuse.sshfs", "9p", "afs", "davfs")
)
_REMOVABLE: Final = r"/dev/(sr\d+|scd\d+|cdrom\d*|dvd\w*|cd\w+|acd\d+\w*|fd\d+\w*|floppy\w*|fuse)"
"""What a medium may be put into."""
_TAGS: Final = ("UUID", "LABEL", "PARTUUID", "PARTLABEL", "ID", "NAME")
_OPENBSD_ID: Final = r"[0-9a-f]{16}\.[a-p]"
_MOST: Final = 200
"""Entries that are looked at: no machine has so many, and each is mounted."""
_OPTIONAL: Final = frozenset(("noauto", "nofail"))


class Entry(NamedTuple):
    """One line, its escapes undone."""

    device: str
    place: str
    fstype: str
    options: list[str]

    @property
    def is_optional(self) -> bool:
        """Tell whether the system starts without it."""
        return bool(_OPTIONAL.intersection(self.options))

    @property
    def subvolume(self) -> str:
        """Return the path of a subvolume of btrfs; empty if none is named."""
        return next((word.partition("=")[2] for word in self.options if word.startswith("subvol=")), "").strip("/")

    @property
    def subvolume_number(self) -> int:
        """Return the number of a subvolume of btrfs; 0 if none is given."""
        number = next((word.partition("=")[2] for word in self.options if word.startswith("subvolid=")), "")
        return int(number) if number.isdecimal() and number.isascii() and len(number) < 20 else 0


def entries(text: str) -> list[Entry]:
    """Return the lines that mount a disk's filesystem below the guest's root."""
    found = []
    for line in text.split("\n"):
        fields = [_unescaped(field) for field in line.split()]
        if "\0" in "".join(fields):
            continue  # no program could be told
        if len(fields) < 2 or fields[0].startswith("#") or not fields[1].startswith("/"):
            continue
        fstype, options = [*fields[2:4], "", ""][:2]
        place = posixpath.normpath("/" + fields[1].lstrip("/"))
        entry = Entry(fields[0].replace('"', ""), place, fstype, options.split(","))
        if _is_of_a_disk(entry):
            found.append(entry)
    return found


def sifted(table: Sequence[Entry]) -> tuple[list[Entry], list[str]]:
    """Return the entries to be mounted, of several on one place the first, and a line on each other one."""
    by_place: dict[str, Entry] = {}
    lines = []
    for entry in table[:_MOST]:
        first = by_place.setdefault(entry.place, entry)
        if first is not entry:
            lines.append(f"{entry.device} is left out: fstab has {first.device} on {entry.place} already")
    if others := table[_MOST:]:
        lines.append(f"{len(others)} entries of fstab after the first {_MOST} are left out, from {others[0].place} on")
    return list(by_place.values()), lines


def _is_of_a_disk(entry: Entry) -> bool:
    """Tell whether an entry mounts a filesystem of a disk that stays in the machine."""
    if entry.fstype in _NETWORK or entry.fstype == "swap" or {"bind", "rbind"}.intersection(entry.options):
        return False
    tag, equals, _ = entry.device.partition("=")
    if equals and tag in _TAGS:
        return True
    if re.fullmatch(_OPENBSD_ID, entry.device) or entry.fstype == "zfs":
        return True
    return entry.device.startswith("/dev/") and not re.fullmatch(_REMOVABLE, entry.device)


def _unescaped(field: str) -> str:
    data = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8) & 0xFF]), os.fsencode(field))
    return os.fsdecode(data)
