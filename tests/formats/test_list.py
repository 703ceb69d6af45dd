"""What ``guestmount-py list`` tells is what libguestfs tells, but for what docs/guests.md gives reasons for."""

import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from rpc.mountables import volume_of
from tests.formats.differences import Difference, differences, reason_of
from tests.formats.told import VIRT_FILESYSTEMS, VIRT_INSPECTOR, Listing, Program, from_list
from tests.guests import linux
from tests.guests.cache import cached, run
from tests.guests.disk import create_disk, partition
from tests.guests.linux import linux_disk
from tests.guests.matrix import FILESYSTEMS, matrix_disk
from tests.guests.results import Note
from tests.guests.stacks import disks_of_stacks, drive_names, stacked_disks
from tests.guests.systems import apart_disk, subvolumes_disk, windows_disk
from tests.system.sandbox import GUESTMOUNT, SLOW, Sandbox
from tests.thoroughness import LONG

pytestmark = [
    pytest.mark.appliance,
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("virt-inspector") is None, reason="not installed: virt-inspector"),
]

UNREAD: Final = "luks1"
"""The stack that libguestfs does not read: it lets qemu probe a raw image, which takes it for one of qemu's own."""


def _filesystems() -> tuple[list[Path], dict[str, str]]:
    """Give each a disk of its own: libguestfs reads a table anew for each partition, and udev then looks at all."""
    names = [each.name for each in FILESYSTEMS]

    def build(directory: Path) -> None:
        for number, each in enumerate(FILESYSTEMS, start=1):
            image, where = directory / f"{each.name}.img", partition(matrix_disk(), number)
            create_disk(image, [each.size_mib])
            place = (f"skip={where.start_bytes >> 20}", f"count={each.size_mib}", "seek=1")
            run("dd", f"if={matrix_disk()}", f"of={image}", "bs=1M", *place, "conv=notrunc,sparse")

    directory = cached("filesystems", f"each on a GPT disk: {matrix_disk()}", build)
    return [directory / f"{name}.img" for name in names], dict(zip(drive_names(), names, strict=False))


def _stacks() -> tuple[list[Path], dict[str, str]]:
    """Give all but one stack."""
    names, images, rows = drive_names(), iter(stacked_disks()), {}
    left = []
    for stack, disks in disks_of_stacks():
        for image in [next(images) for _ in disks]:
            if stack.name != UNREAD:
                left.append(image)
                rows[next(names)] = stack.name
    return left, rows


def _systems() -> tuple[list[Path], dict[str, str]]:
    images = {"subvolumes": subvolumes_disk(), "windows": windows_disk()}
    names = drive_names()
    rows = {next(names): name for name in images}
    debian = next(names)
    rows |= {f"{debian}{number}": f"debian-{name}" for number, name in enumerate(linux.FILESYSTEMS, start=1)}
    return [*images.values(), linux_disk()], rows


def _apart() -> tuple[list[Path], dict[str, str]]:
    return [apart_disk()], {"/dev/sda": "apart"}


class Guests(NamedTuple):
    """Some guests whose disks one machine has.

    Attributes:
        table: that they are in.
        disks: returns their images, and by the names of the devices that all lies on their rows.
        programs: those of libguestfs that are asked.
        is_long: they take theirs many minutes.
    """

    table: str
    disks: Callable[[], tuple[list[Path], dict[str, str]]]
    programs: tuple[Program, ...]
    is_long: bool


GUESTS: Final = {
    "filesystems": Guests("filesystems", _filesystems, (VIRT_FILESYSTEMS,), is_long=True),
    "stacks": Guests("stacks", _stacks, (VIRT_FILESYSTEMS,), is_long=True),
    "systems": Guests("systems", _systems, (VIRT_FILESYSTEMS, VIRT_INSPECTOR), is_long=False),
    "apart": Guests("systems", _apart, (VIRT_FILESYSTEMS,), is_long=True),
}


@pytest.mark.parametrize("name", [name for name, guests in GUESTS.items() if LONG or not guests.is_long])
def test_list_tells_what_libguestfs_tells(sandbox: Sandbox, note: Note, name: str) -> None:
    guests = GUESTS[name]
    images, rows = guests.disks()
    listed = subprocess.run(
        [*GUESTMOUNT, "list", "--json", "--format=raw", *(word for image in images for word in ("-a", str(image)))],
        env=sandbox.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert SLOW.sub("", listed.stderr) == ""
    theirs: Listing = {}
    for program in guests.programs:
        theirs |= program.told_of(images)
    kinds = {kind for program in guests.programs for kind in program.kinds}
    ours = {(kind, name): fields for (kind, name), fields in from_list(listed.stdout).items() if kind in kinds}
    reasons: dict[str, set[str]] = {name: set() for name in rows.values()}
    unexplained: list[Difference] = []
    for difference in differences(theirs, ours):
        reason = reason_of(difference)
        if reason is None:
            unexplained.append(difference)
            continue
        thing = ours.get((difference.kind, difference.name), {})
        row = row_of(thing.get("Name", difference.name), ours, rows)
        if row is not None:
            reasons[row].add(reason)
    assert unexplained == []
    for row, found in reasons.items():
        note(guests.table, row, list=" ".join(sorted(found)))


def test_libguestfs_does_not_read_what_begins_with_luks1(note: Note) -> None:
    (image,) = [image for image in stacked_disks() if image.stem.startswith(UNREAD)]
    with pytest.raises(subprocess.CalledProcessError):
        VIRT_FILESYSTEMS.told_of([image])
    note("stacks", UNREAD, list="(not read)")


def test_libguestfs_inspects_nothing_beside_an_fstab_that_it_cannot_make_out() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        VIRT_INSPECTOR.told_of([apart_disk()])


def row_of(name: str, listing: Listing, rows: Mapping[str, str]) -> str | None:
    """Return the row of what a thing lies on in the end; None if it has no row: a disk with rows for its partitions."""
    names = {name}
    while names:
        for each in names & rows.keys():
            return rows[each]
        names = {parent for each in names for parent in _parents(each, listing)} - names
    return None


def _parents(name: str, listing: Listing) -> set[str]:
    if volume_of(name).subvolume:
        return {volume_of(name).device}
    if name.startswith("/dev/mapper/"):
        return {re.split("(?<!-)-(?!-)", name.removeprefix("/dev/mapper/"))[0].replace("--", "-")}
    same = [fields["Parent"] for (kind, _), fields in listing.items() if fields["Name"] == name and kind != "system"]
    return {parent for parents in same for parent in parents.split(",") if parent} - {name}


def test_thing_belongs_to_the_disk_at_the_bottom() -> None:
    parents = {
        "linear": "/dev/sda1,/dev/sdb",
        "/dev/linear/lv": "linear",
        "/dev/sda1": "/dev/sda",
        "/dev/sda": "",
        "/dev/sdb": "",
    }
    listing = {("x", name): {"Name": name, "Parent": parent} for name, parent in parents.items()}
    assert row_of("/dev/linear/lv", listing, {"/dev/sda": "a", "/dev/sdb": "a"}) == "a"
    assert row_of("btrfsvol:/dev/sda1/x/y", listing, {"/dev/sda": "a"}) == "a"
    assert row_of("/dev/mapper/linear-lv1", listing, {"/dev/sda": "a", "/dev/sdb": "a"}) == "a"
    assert row_of("/dev/sda", listing, {"/dev/sda1": "a"}) is None
