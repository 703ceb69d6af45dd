"""What ``guestmount-py list``, virt-filesystems and virt-inspector tell of the same disks, in the same words."""

import csv
import json
import os
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from tests.guests.cache import cached, run
from tests.interoperability.appliances import their_appliance, with_appliance

Listing: TypeAlias = dict[tuple[str, str], dict[str, str]]
"""Fields by kind and name; a volume group's name is without /dev/ here, a physical volume has its UUID for one."""
_FIELDS: Final = {"VFS": "type", "Label": "label", "MBR": "part_type", "Size": "size_bytes", "UUID": "uuid"}
_KINDS: Final = {
    "disks": "device",
    "partitions": "partition",
    "physical_volumes": "pv",
    "volume_groups": "vg",
    "logical_volumes": "lv",
}
"""What virt-filesystems calls them."""


def from_filesystems(text: str) -> Listing:
    """Return what virt-filesystems tells."""
    found: Listing = {}
    for fields in csv.DictReader(text.splitlines()):
        kind, name = fields.pop("Type"), fields["Name"]
        if kind == "pv":
            name = fields["UUID"]
            del fields["Name"]  # the kernel's name of a disk, not libguestfs's: it differs from run to run
        if kind == "vg":
            name = name.removeprefix("/dev/")
            del fields["Parent"]  # the name of the last physical volume of all, as often as this group has some
        assert found.setdefault((kind, name), fields) == fields
    return found


def from_inspector(text: str) -> Listing:
    """Return what virt-inspector tells of systems, and of the filesystems that they mount."""
    found: Listing = {}
    for system in ET.fromstring(text).iterfind("operatingsystem"):
        places = {place.text: place.get("dev") for place in system.iterfind("mountpoints/mountpoint")}
        found["system", system.findtext("root", "")] = {
            "Label": system.findtext("product_name", ""),
            "Mountpoints": json.dumps(places, sort_keys=True),
        }
        for each in system.iterfind("filesystems/filesystem"):
            found["mounted", each.get("dev", "")] = {
                "VFS": each.findtext("type", ""),
                "Label": each.findtext("label", ""),
                "UUID": each.findtext("uuid", ""),
            }
    return found


def from_list(text: str) -> Listing:
    """Return what ``guestmount-py list --json`` tells."""
    listed: dict[str, list[dict[str, Any]]] = json.loads(text)
    found: Listing = {}
    for plural, things in listed.items():
        for thing in things:
            kind = _KINDS.get(plural, plural.removesuffix("s").replace("_", " "))
            fields = {name: str(thing.get(ours) or "") for name, ours in _FIELDS.items()}
            fields |= {"Name": thing["name"], "Parent": ",".join(thing["parents"])}
            found[kind, fields["UUID"].replace("-", "") if kind == "pv" else thing["name"]] = fields
    for system in listed["systems"]:
        fields = found["system", system["name"]]
        fields["Mountpoints"] = json.dumps(system["mountpoints"], sort_keys=True)
        for device in system["parents"]:
            found["mounted", device] = found["filesystem", device]
    return found


class Program(NamedTuple):
    """One of libguestfs's programs.

    Attributes:
        command: its name and options.
        understood: what it prints, understood.
        kinds: of what it tells.
    """

    command: tuple[str, ...]
    understood: Callable[[str], Listing]
    kinds: tuple[str, ...]

    def told_of(self, images: Sequence[Path]) -> Listing:
        """Return what it tells of raw images; what it prints is kept until one of them is made anew.

        These programs wait for udev all the time, and mount each filesystem to tell its size.
        """

        def build(directory: Path) -> None:
            environment = {**os.environ, **with_appliance(their_appliance())}
            words = [*self.command, "--format=raw", *(word for image in images for word in ("-a", str(image)))]
            with (directory / "told").open("wb") as file:
                subprocess.run(words, env=environment, stdout=file, check=True)

        facts = [run("dpkg-query", "--show", "libguestfs-tools", "libguestfs0"), *self.command]
        facts += [f"{image} {image.stat().st_mtime_ns}" for image in images]
        name = f"{self.command[0]}-of-{images[0].stem}"
        return self.understood((cached(name, "\n".join(facts), build) / "told").read_text())


VIRT_FILESYSTEMS: Final = Program(
    ("virt-filesystems", "--all", "--long", "--uuid", "--csv"),
    from_filesystems,
    ("filesystem", "array", "mapping", "encrypted device", *_KINDS.values()),
)
VIRT_INSPECTOR: Final = Program(
    ("virt-inspector", "--no-applications", "--no-icon"),
    from_inspector,
    ("system", "mounted"),
)
