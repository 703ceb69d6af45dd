"""The tree of a whole system, seen through ``-i`` or ``--all``, is the tree that was put on its disks."""

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.guests import linux
from tests.guests.disk import READ_ONLY_OPTIONS, loop_device, mounted
from tests.guests.families import FAMILIES, families_disks, write_family
from tests.guests.linux import linux_disk
from tests.guests.results import Note
from tests.guests.stacks import drive_names
from tests.guests.systems import apart_disk, subvolumes_disk, windows_disk
from tests.inspection.test_mounting import inspected
from tests.system.sandbox import Sandbox
from tests.system.test_matrix import Tree, entries_of_mount, sums_of_mount, ways

pytestmark = [pytest.mark.appliance, pytest.mark.fuse, pytest.mark.root]


class System(NamedTuple):
    """One system on a disk.

    Attributes:
        disk: returns its image.
        pieces: where it mounts which partition, and the options with which this machine's kernel reads that.
        options: more than ``-i``.
    """

    disk: Callable[[], Path]
    pieces: tuple[tuple[str, int, str], ...]
    options: tuple[str, ...] = ()


_EXT4: Final = READ_ONLY_OPTIONS["ext4"]
SYSTEMS: Final[Mapping[str, System]] = {
    # of /boot/efi the kernel may know nothing, as it is a vfat
    "apart": System(apart_disk, (("", 5, _EXT4), ("boot", 1, _EXT4), ("usr", 3, _EXT4), ("var", 4, _EXT4))),
    "subvolumes": System(subvolumes_disk, (("", 1, "ro,subvol=root"), ("home", 1, "ro,subvol=home"))),
    "windows": System(windows_disk, (("", 2, "ro"),)),
    **{
        f"debian-{name}": System(linux_disk, (("", number, READ_ONLY_OPTIONS[name]),), (f"--root=/dev/sda{number}",))
        for number, name in enumerate(linux.FILESYSTEMS, start=1)
    },
}


def tree_by_kernel(system: System) -> Tree:
    """Return what this machine reads of a system; of what others are mounted on, only that it is there."""
    found = Tree({}, {}, 0)
    for place, number, options in system.pieces:
        with ExitStack() as stack:
            device = stack.enter_context(loop_device(system.disk(), number, read_only=True))
            root = stack.enter_context(mounted(device, "-o", options))
            found.sums.update({str(Path(place, path)): digest for path, digest in sums_of_mount(root).items()})
            found.entries.update({str(Path(place, path)): entry for path, entry in entries_of_mount(root).items()})
    return found


@pytest.mark.parametrize("name", SYSTEMS)
def test_tree_of_a_system_is_what_was_put_on_its_disks(sandbox: Sandbox, note: Note, name: str) -> None:
    system, stats = SYSTEMS[name], sandbox.directory / "stats.json"
    with inspected(sandbox, system.disk(), *system.options, "--stats", stats):
        entries = entries_of_mount(sandbox.mountpoint)
        sums = sums_of_mount(sandbox.mountpoint)
    expected = tree_by_kernel(system)
    assert sums == expected.sums
    mountpoints = {place for place, *_ in system.pieces} | {"boot/efi"}
    assert entries.keys() - {"boot/efi/EFI"} == expected.entries.keys()
    assert not [path for path in expected.entries.keys() - mountpoints if entries[path] != expected.entries[path]]
    note("systems", name, read=ways(json.loads(stats.read_text())["planes"]), files=str(len(sums)))


def test_trees_of_all_families_are_what_was_put_on_their_disks(sandbox: Sandbox, note: Note, tmp_path: Path) -> None:
    words = [word for image in families_disks().values() for word in ("-a", image)]
    started = sandbox.guestmount("--format=raw", *words, "--all", sandbox.mountpoint)
    assert (started.returncode, started.stderr) == (0, ""), sandbox.log()
    try:
        found = {
            name: sums_of_mount(sandbox.mountpoint / "systems" / drive.removeprefix("/dev/"))
            for name, drive in zip(FAMILIES, drive_names(), strict=False)
        }
    finally:
        assert sandbox.guestunmount().returncode == 0
    for name, sums in found.items():
        (tmp_path / name).mkdir()
        write_family(name, tmp_path / name)
        assert sums == sums_of_mount(tmp_path / name), name
        note("systems", name, files=str(len(sums)))
