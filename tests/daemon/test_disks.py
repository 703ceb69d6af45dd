"""The labels that disks were added with."""

from pathlib import Path

import pytest

from daemon import devices
from daemon import disks as disks_module
from daemon.handlers import handler_of
from daemon.session import Session
from daemon.sysroot import Sysroot
from rpc.arguments import NoArgs
from rpc.procedures import LIST_9P, LIST_DISK_LABELS, LIST_LDM_PARTITIONS, LIST_LDM_VOLUMES
from tests.daemon.guestfsd import Guestfsd


@pytest.fixture
def disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Disks as the kernel shows them: SCSI ones with and without a serial number, a virtio one."""
    for name, place in {"sda": "0:0:1:0", "sdb": "0:0:0:0", "sdc": "0:0:2:0", "vda": "x"}.items():
        (tmp_path / "devices" / place).mkdir(parents=True)
        (tmp_path / "block" / name).mkdir(parents=True)
        (tmp_path / "block" / name / "device").symlink_to(tmp_path / "devices" / place)
    (tmp_path / "devices/0:0:1:0/vpd_pg80").write_bytes(b"\0\x80\0\x04one ")
    (tmp_path / "devices/0:0:2:0/vpd_pg80").write_bytes(b"\0\x80\0\x03two")
    (tmp_path / "block/vda/serial").write_bytes(b"three")
    monkeypatch.setattr(devices, "_SYS_BLOCK", str(tmp_path / "block"))
    monkeypatch.setattr(devices, "own_disk", lambda: "")
    return tmp_path


@pytest.mark.usefixtures("disks")
def test_labels_are_serial_numbers() -> None:
    handler = handler_of(LIST_DISK_LABELS.number)
    assert handler is not None
    labels = handler.function(Session(Sysroot()), NoArgs())
    assert labels == [("one", "/dev/sdb"), ("two", "/dev/sdc"), ("three", "/dev/sdd")]


@pytest.mark.usefixtures("disks")
def test_disk_is_named_by_its_label() -> None:
    assert devices.real_name("/dev/disk/guestfs/two") == "/dev/sdc"
    assert devices.real_name("/dev/disk/guestfs/two1") == "/dev/sdc1"
    assert devices.real_name("/dev/disk/guestfs/unknown") == "/dev/disk/guestfs/unknown"


def test_directories_of_the_host_are_named_by_their_tags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disks_module, "_9P_DEVICES", str(tmp_path / "9pnet_virtio"))
    assert disks_module.list_9p(Session(Sysroot()), NoArgs()) == []
    for number, tag in enumerate((b"two\0", b"one\0\n")):
        (tmp_path / f"9pnet_virtio/virtio{number}").mkdir(parents=True)
        (tmp_path / f"9pnet_virtio/virtio{number}/mount_tag").write_bytes(tag)
    (tmp_path / "9pnet_virtio/module").mkdir()
    assert disks_module.list_9p(Session(Sysroot()), NoArgs()) == ["one", "two"]


def test_there_are_no_dynamic_disks(daemon: Guestfsd) -> None:
    for procedure in (LIST_9P, LIST_LDM_VOLUMES, LIST_LDM_PARTITIONS):
        assert daemon.call(procedure, NoArgs()) == []
