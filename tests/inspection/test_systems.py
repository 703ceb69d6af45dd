"""What the daemon finds on disks, and libguestfs's calls that tell it bit by bit."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from guestmount_py.sync import SyncGuest
from rpc import procedures
from rpc.arguments import NoArgs
from rpc.codec import Mountable
from rpc.errors import ProcedureError
from rpc.procedures.inspection import FoundSystem, RootArgs
from tests.guests.cache import run
from tests.guests.disk import create_disk, loop_device, mounted
from tests.guests.families import write_family
from tests.guests.matrix import appliance
from tests.guests.subvolumes import subvolumes_of_all_kinds
from tests.guests.systems import apart_disk, subvolumes_disk, windows_disk

pytestmark = [pytest.mark.appliance, pytest.mark.root]

APART, SUBVOLUMES, WINDOWS = "/dev/sda5", "btrfsvol:/dev/sdb1/root", "/dev/sdc2"


@pytest.fixture(scope="module")
def guest() -> Iterator[SyncGuest]:
    with appliance([apart_disk(), subvolumes_disk(), windows_disk()]) as launched:
        yield launched


@pytest.fixture(scope="module")
def systems(guest: SyncGuest) -> dict[str, FoundSystem]:
    found = guest.call(procedures.FIND_SYSTEMS, NoArgs())
    assert (found.unread, found.encrypted) == ([], [])
    return {each.root: each for each in found.systems}


def test_roots(guest: SyncGuest, systems: dict[str, FoundSystem]) -> None:
    assert list(systems) == [APART, SUBVOLUMES, WINDOWS]
    assert guest.call(procedures.INSPECT_GET_ROOTS, NoArgs()) == list(systems)


def test_a_system_in_pieces(systems: dict[str, FoundSystem]) -> None:
    found = systems[APART]
    assert (found.system.distro, found.system.arch, found.system.hostname) == ("debian", "x86_64", "apart")
    assert found.mountpoints == [
        ("/", "/dev/sda5"),
        ("/var", "/dev/sda4"),
        ("/boot/efi", "/dev/sda2"),
        ("/boot", "/dev/sda1"),
        ("/usr", "/dev/sda3"),
        ("/boot2", "/dev/sda1"),
        ("/nowhere", "/dev/sda4"),
    ]
    assert found.absent == [("UUID=00000000-1111-2222-3333-444444444444", "/gone")]


def test_a_system_in_subvolumes(systems: dict[str, FoundSystem]) -> None:
    found = systems[SUBVOLUMES]
    assert (found.system.distro, found.system.major_version) == ("fedora", 38)
    assert found.mountpoints == [("/", SUBVOLUMES), ("/home", "btrfsvol:/dev/sdb1/home")]


@pytest.mark.usefixtures("systems")
def test_windows_bit_by_bit(guest: SyncGuest) -> None:
    args = RootArgs(Mountable(WINDOWS))
    texts = (
        (procedures.INSPECT_GET_TYPE, "windows"),
        (procedures.INSPECT_GET_PRODUCT_NAME, "Windows 11 Pro"),
        (procedures.INSPECT_GET_PRODUCT_VARIANT, "Client"),
        (procedures.INSPECT_GET_BUILD_ID, "22631"),
        (procedures.INSPECT_GET_HOSTNAME, "DESKTOP-7"),
        (procedures.INSPECT_GET_ARCH, "x86_64"),
        (procedures.INSPECT_GET_WINDOWS_SYSTEMROOT, "/Windows"),
        (procedures.INSPECT_GET_WINDOWS_SOFTWARE_HIVE, "/Windows/System32/config/SOFTWARE"),
        (procedures.INSPECT_GET_WINDOWS_SYSTEM_HIVE, "/Windows/System32/config/SYSTEM"),
        (procedures.INSPECT_GET_WINDOWS_CURRENT_CONTROL_SET, "ControlSet001"),
    )
    assert [guest.call(row, args) for row, _ in texts] == [text for _, text in texts]
    assert guest.call(procedures.INSPECT_GET_DRIVE_MAPPINGS, args) == [("C", WINDOWS)]
    for row in (procedures.INSPECT_IS_LIVE, procedures.INSPECT_IS_NETINST, procedures.INSPECT_IS_MULTIPART):
        assert guest.call(row, args) is False
    with pytest.raises(ProcedureError, match="no Windows"):
        guest.call(procedures.INSPECT_GET_WINDOWS_SYSTEMROOT, RootArgs(Mountable(APART)))


def test_looking_writes_to_no_disk(tmp_path: Path) -> None:
    """What was written to is no longer read from its image."""
    image = tmp_path / "xfs.img"
    create_disk(image, [320])
    with loop_device(image, 1, read_only=False) as device:
        run("mkfs.xfs", "-q", device)
        with mounted(device) as root:
            write_family("debian", root)
    with appliance([image, subvolumes_disk(), windows_disk()]) as guest:
        assert len(guest.call(procedures.INSPECT_OS, NoArgs())) == 3
        writes = guest.debug("sh", ["cat /sys/block/sd?/stat"]).splitlines()
    assert [line.split()[6] for line in writes] == ["0", "0", "0"]


def test_restored_root_is_the_system_and_snapshots_are_none() -> None:
    restored, opensuse = "btrfsvol:/dev/sda1/@", "/dev/sda2"
    with appliance([subvolumes_of_all_kinds()]) as guest:
        found = guest.call(procedures.FIND_SYSTEMS, NoArgs())
    assert found.unread == []
    assert [(each.root, each.system.hostname) for each in found.systems] == [
        (restored, "state2"),
        (opensuse, "unknown"),
    ]
    assert [each.mountpoints for each in found.systems] == [
        [("/", restored), ("/home", "btrfsvol:/dev/sda1/@home")],
        [
            ("/", opensuse),
            ("/home", "btrfsvol:/dev/sda2/@/home"),
            ("/.snapshots", "btrfsvol:/dev/sda2/@/.snapshots"),
        ],
    ]
