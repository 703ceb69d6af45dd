"""Where ``guestmount-py list`` tells otherwise than virt-filesystems and virt-inspector, and why: on purpose."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from tests.formats.told import Listing

ALL: Final = "all"


class Difference(NamedTuple):
    """One field of one thing that the two tell differently; ``all`` of a thing that only one of them lists."""

    kind: str
    name: str
    field: str
    theirs: str
    ours: str


@dataclass(frozen=True, slots=True)
class Reason:
    """Why some things differ.

    Attributes:
        kinds: of those things, in virt-filesystems' words.
        fields: of them, as its columns are called.
        is_so: tells whether two values differ in this way.
        theirs: what virt-filesystems tells, and ours: what we do.
        why: ours is right.
        names: a regular expression for the whole name of each of them.
    """

    kinds: tuple[str, ...]
    fields: tuple[str, ...]
    is_so: Callable[[str, str], bool]
    theirs: str
    ours: str
    why: str
    names: str = ".*"

    def covers(self, difference: Difference) -> bool:
        """Tell whether this is why."""
        kind, name, field, theirs, ours = difference
        is_meant = kind in self.kinds and field in self.fields and re.fullmatch(self.names, name)
        return bool(is_meant) and self.is_so(theirs, ours)


REASONS: Final = {
    "size": Reason(
        ("filesystem",),
        ("Size",),
        lambda theirs, ours: not ours or int(theirs or 0) < int(ours),
        "what statvfs(2) counts in the mounted filesystem",
        "the length of its device",
        "nothing has to be mounted, which takes most of virt-filesystems' time",
    ),
    "subvolume": Reason(
        ("filesystem",),
        ("Parent",),
        lambda theirs, ours: not theirs and ours.startswith("/dev/"),
        "of a subvolume nothing",
        "the device of its btrfs",
        "it is a part of that",
    ),
    "array": Reason(
        ("filesystem",),
        ("Parent",),
        lambda theirs, ours: bool(theirs) and not ours,
        "of a filesystem on an array the array's members",
        "nothing: the array has them",
        "the filesystem's name is that of the array",
        names="/dev/md.*",
    ),
    "inner": Reason(
        ("filesystem",),
        (ALL,),
        lambda theirs, ours: bool(theirs) and not ours,
        "what LVM makes volumes of: mirrors' halves, pools, changes of snapshots",
        "nothing",
        "nobody mounts them, and halves of a mirror look like filesystems",
        names=r"/dev/mapper/.*(_rimage_\d|_rmeta_\d|-real|-cow|-p|-tpool|_tdata|_tmeta)",
    ),
    "nested": Reason(
        ("filesystem",),
        (ALL,),
        lambda theirs, ours: not theirs and bool(ours),
        "nothing",
        "filesystems on partitions inside a volume",
        "guests of a guest have such disks",
        names=r"/dev/mapper/.*\d",
    ),
    "table": Reason(
        ("device", "partition", "pv", "vg"),
        ("VFS", "Label", "UUID"),
        lambda theirs, ours: not theirs and bool(ours),
        "nothing",
        "PARTUUID, GPT name, type of what is on it; of a disk its table's; of LVM's lvm2",
        "fstab speaks of them",
    ),
    "type": Reason(
        ("partition",),
        ("MBR",),
        lambda theirs, ours: not theirs or int(theirs, 16) == int(ours, 16),
        "an MBR's number, without 0x",
        "`part_type`, of GPT partitions too",
        "a GUID tells as much as a number",
    ),
    "group": Reason(
        ("vg", "lv"),
        ("Name", "Parent"),
        lambda theirs, ours: bool(theirs) and theirs == f"/dev/{ours}",
        "/dev/VG",
        "VG",
        "LVM's programs call it that, and there need be no such directory",
    ),
    "hyphens": Reason(
        ("pv", "vg", "lv"),
        ("UUID",),
        lambda theirs, ours: theirs == ours.replace("-", ""),
        "an UUID of LVM without hyphens",
        "with them",
        "LVM's programs write it so",
    ),
    "title": Reason(
        ("system",),
        ("Label",),
        lambda theirs, ours: bool(re.fullmatch(r"[\d.]+|Windows 10 .*", theirs)) and bool(ours),
        "/etc/debian_version; of Windows what its registry says",
        "PRETTY_NAME of os-release; Windows 11 from build 22000 on",
        "a number is no name; Windows 11 calls itself 10 there",
    ),
    "snapshot": Reason(
        ("system",),
        (ALL,),
        lambda theirs, ours: bool(theirs) and not ours,
        "a system in each snapshot of one",
        "nothing",
        "only the subvolume that it was made of is a system of its own",
        names="btrfsvol:.*",
    ),
    "more": Reason(
        ("array", "mapping", "encrypted device"),
        (ALL,),
        lambda theirs, ours: not theirs and bool(ours),
        "nothing",
        "arrays, mappings and encrypted devices",
        "a mount can need their names",
    ),
}
"""Their names stand in the tables of docs/guests.md."""


def differences(theirs: Listing, ours: Listing) -> Iterator[Difference]:
    """Compare all fields that theirs has; of kinds that theirs does not speak of, all things differ."""
    for kind, name in sorted(theirs.keys() | ours.keys()):
        wanted, got = theirs.get((kind, name)), ours.get((kind, name))
        if wanted is None or got is None:
            yield Difference(kind, name, ALL, "listed" if wanted else "", "listed" if got else "")
            continue
        for field, value in wanted.items():
            if value != got[field]:
                yield Difference(kind, name, field, value, got[field])


def reason_of(difference: Difference) -> str | None:
    """Return the name of the reason, if there is one."""
    return next((name for name, reason in REASONS.items() if reason.covers(difference)), None)
