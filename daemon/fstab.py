"""A guest's fstab(5): what it mounts where, as far as the guest's disks hold it."""

import os
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from daemon.command import run_status
from daemon.devices import wire_name

_TAGS: Final = ("UUID", "LABEL", "PARTUUID", "PARTLABEL")


class Entry(NamedTuple):
    """One line, its escapes undone."""

    device: str
    place: str
    fstype: str
    options: list[str]


def entries(text: str) -> Iterator[Entry]:
    """Yield the lines that mount something below the guest's root."""
    for line in text.split("\n"):
        fields = [_unescaped(field) for field in line.split()]
        if "\0" in "".join(fields):
            continue  # no program could be told
        if len(fields) >= 2 and not fields[0].startswith("#") and fields[1].startswith("/"):
            fstype, options = [*fields[2:4], "", ""][:2]
            yield Entry(fields[0], fields[1], fstype, options.split(","))


def _unescaped(field: str) -> str:
    data = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8) & 0xFF]), os.fsencode(field))
    return os.fsdecode(data)


def mountable_of(entry: Entry, known: list[str]) -> str | None:
    """Return what an entry mounts, as named on the wire; None if that is not one of the ``known`` devices."""
    device = _device_of(entry.device, known)
    if device is None:
        return None
    subvolume = next((word.partition("=")[2] for word in entry.options if word.startswith("subvol=")), "").strip("/")
    if entry.fstype == "btrfs" and subvolume:
        return f"btrfsvol:{device}/{subvolume}"
    return device


def _device_of(spec: str, known: list[str]) -> str | None:
    tag, equals, value = spec.partition("=")
    if equals and tag in _TAGS:
        status, output, _ = run_status(["findfs", f"{tag}={value.strip(chr(34))}"])
        return wire_name(output.decode("utf-8", "surrogateescape").strip()) if not status else None
    if not spec.startswith("/dev/"):
        return None
    by_uuid = re.fullmatch(r"/dev/disk/by-(uuid|label|partuuid|partlabel)/(.+)", spec)
    if by_uuid:
        return _device_of(f"{by_uuid[1].upper()}={by_uuid[2]}", known)
    disk = re.fullmatch(r"/dev/(?:sd|hd|vd|xvd)([a-z]+\d*)", spec)
    mapped = re.fullmatch(r"/dev/mapper/([^/]+)", spec)
    if disk:
        name = f"/dev/sd{disk[1]}"
    elif mapped:
        parts = mapped[1].replace("--", "\0").split("-", 1)
        name = spec if spec in known else "/dev/" + "/".join(part.replace("\0", "-") for part in parts)
    else:
        name = spec
    return name if name in known else None
