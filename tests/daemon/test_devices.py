"""Names of disks, and what the daemon takes for one."""

import os
from pathlib import Path

import pytest

from daemon import devices
from daemon.mountables import checked_mountable
from daemon.session import CallError
from rpc.arguments import DeviceArgs, NoArgs
from rpc.codec import Device, Mountable
from rpc.errors import ProcedureError
from rpc.procedures import BLOCKDEV_GETSIZE64, MOUNT_OPTIONS, PING_DAEMON, PREAD_DEVICE
from rpc.procedures.contents import PreadDeviceArgs
from rpc.procedures.mounting import MountOptionsArgs
from tests.daemon.guestfsd import Guestfsd


@pytest.fixture
def disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four SCSI disks that the kernel named in another order than they were added in, and a virtio one."""
    block = tmp_path / "block"
    for name, place in {"sda": "0:0:10:0", "sdb": "0:0:2:0", "sdaa": "0:0:1:0", "sdc": "0:0:0:0", "vda": "x"}.items():
        (tmp_path / "devices" / place).mkdir(parents=True)
        (block / name).mkdir(parents=True)
        (block / name / "device").symlink_to(tmp_path / "devices" / place)
    (block / "loop0").mkdir()
    (block / "sdb/sdb1").mkdir()
    (block / "sdb/sdb1/partition").write_text("1\n")
    (block / "sdb/sdb12").mkdir()
    (block / "sdb/sdb12/partition").write_text("12\n")
    (block / "sdb/sdb2").mkdir()
    (block / "sdb/sdb2/partition").write_text("2\n")
    monkeypatch.setattr(devices, "_SYS_BLOCK", str(block))
    monkeypatch.setattr(devices, "own_disk", lambda: "sdc")
    return block


@pytest.mark.usefixtures("disks")
def test_disks_come_in_the_order_they_were_added_without_the_appliances_own() -> None:
    assert devices.disks() == ["sdaa", "sdb", "sda", "vda"]


@pytest.mark.usefixtures("disks")
def test_names_are_translated_both_ways() -> None:
    for wire, real in {"/dev/sda": "/dev/sdaa", "/dev/sdb12": "/dev/sdb12", "/dev/sdd": "/dev/vda"}.items():
        assert devices.real_name(wire) == real
        assert devices.wire_name(real) == wire
    assert devices.real_name("/dev/vdb1") == devices.real_name("/dev/hdb1") == "/dev/sdb1"
    assert devices.real_name("/dev/VG/LV") == "/dev/VG/LV"
    assert devices.partitions() == ["/dev/sdb1", "/dev/sdb2", "/dev/sdb12"]
    with pytest.raises(FileNotFoundError, match="/dev/sde"):
        devices.real_name("/dev/sde")


@pytest.mark.parametrize(("index", "text"), [(0, "a"), (25, "z"), (26, "aa"), (27, "ab"), (701, "zz"), (702, "aaa")])
def test_letters_go_on_behind_z(index: int, text: str) -> None:
    assert devices.letters(index) == text


@pytest.mark.parametrize(
    "name",
    [
        "sda",
        "/etc/passwd",
        "/dev/../etc/passwd",
        "/dev/null\0",
        "",
        "/dev//sda",
        "/dev/./sda",
        "/dev/x/../sda",
        "/dev/sda/",
    ],
)
def test_devices_are_below_dev(name: str) -> None:
    with pytest.raises(FileNotFoundError):
        devices.checked_device(name)


def test_only_block_devices_are_devices() -> None:
    with pytest.raises(CallError):
        devices.checked_device("/dev/null")


@pytest.mark.parametrize(
    "name", [b"/hello", b"/dev/null", b"/dev/none", b"/dev/../dev/sda", b"/dev/sda.img", b"/dev//sda", b"/dev/./sda"]
)
def test_paths_are_not_taken_for_devices(name: bytes) -> None:
    assert not devices.names_device(name)


def test_missing_device_has_its_errno(daemon: Guestfsd) -> None:
    for call in (
        lambda: daemon.call(BLOCKDEV_GETSIZE64, DeviceArgs(Device("/dev/sdzz"))),
        lambda: daemon.call(PREAD_DEVICE, PreadDeviceArgs(Device("/dev/sdzz9"), 1, 0)),
        lambda: daemon.call(MOUNT_OPTIONS, MountOptionsArgs("ro", Mountable("/dev/sdzz9"), "/")),
        lambda: daemon.call(MOUNT_OPTIONS, MountOptionsArgs("ro", Mountable("btrfsvol:/dev/sdzz9/x"), "/")),
    ):
        with pytest.raises(ProcedureError) as caught:
            call()
        assert caught.value.errno_name == "ENOENT"
        assert caught.value.message.endswith(": No such file or directory")
        assert "/dev/sdzz" in caught.value.message


def test_guests_own_device_node_is_no_device(daemon: Guestfsd, guest: Path) -> None:
    """A node in the guest's root must not be found where devices of the appliance are looked up."""
    (guest / "dev").mkdir()
    os.mknod(guest / "dev/evil", 0o60660, os.makedev(7, 0))
    with pytest.raises(ProcedureError) as caught:
        daemon.call(PREAD_DEVICE, PreadDeviceArgs(Device("/dev/evil"), 512, 0))
    assert caught.value.errno_name == "ENOENT"
    assert daemon.call(PING_DAEMON, NoArgs()) is None


def test_subvolume_must_have_a_name() -> None:
    with pytest.raises(CallError, match="name of a subvolume is missing"):
        checked_mountable("btrfsvol:/dev/sda2")
