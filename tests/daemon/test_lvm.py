"""LVM volumes in a real appliance, from empty disks to none again; and those that a disk brings along."""

import re
from pathlib import Path

import pytest

from appliance.config import ApplianceFiles
from rpc.arguments import DeviceArgs, MountableArgs, NoArgs
from rpc.codec import Device, DeviceOrPath, Mountable
from rpc.procedures import (
    BLOCKDEV_GETSIZE64,
    DOWNLOAD,
    IS_LV,
    IS_WHOLE_DEVICE,
    LIST_DM_DEVICES,
    LIST_FILESYSTEMS,
    LVCREATE,
    LVCREATE_FREE,
    LVM_CANONICAL_LV_NAME,
    LVM_CLEAR_FILTER,
    LVM_REMOVE_ALL,
    LVM_SCAN,
    LVM_SET_FILTER,
    LVREMOVE,
    LVRENAME,
    LVRESIZE,
    LVRESIZE_FREE,
    LVS,
    LVS_FULL,
    LVUUID,
    MKFS,
    MOUNT,
    MOUNTPOINTS,
    MOUNTS,
    PVCHANGE_UUID,
    PVCHANGE_UUID_ALL,
    PVCREATE,
    PVREMOVE,
    PVRESIZE,
    PVRESIZE_SIZE,
    PVS,
    PVS_FULL,
    PVUUID,
    SYNC,
    UMOUNT_ALL,
    VFS_TYPE,
    VG_ACTIVATE,
    VG_ACTIVATE_ALL,
    VGCHANGE_UUID,
    VGCHANGE_UUID_ALL,
    VGCREATE,
    VGLVUUIDS,
    VGMETA,
    VGPVUUIDS,
    VGREMOVE,
    VGRENAME,
    VGS,
    VGS_FULL,
    VGSCAN,
    VGUUID,
)
from rpc.procedures.filesystems import MkfsArgs
from rpc.procedures.lvm import (
    LvcreateArgs,
    LvcreateFreeArgs,
    LvmCanonicalLvNameArgs,
    LvmSetFilterArgs,
    LvrenameArgs,
    LvresizeArgs,
    LvresizeFreeArgs,
    PvresizeSizeArgs,
    VgActivateAllArgs,
    VgActivateArgs,
    VgchangeUuidArgs,
    VgcreateArgs,
    VgremoveArgs,
    VgrenameArgs,
)
from rpc.procedures.mounting import MountArgs
from rpc.procedures.transfers import RemoteFileArgs
from tests.daemon.scratch import Scratch, scratch_appliance

pytestmark = pytest.mark.appliance

SDC, SDD = Device("/dev/sdc"), Device("/dev/sdd")
MIB = 1 << 20
EXTENT = 4 * MIB
UUID = r"\w{6}-(\w{4}-){5}\w{6}"


@pytest.fixture
def group(storage: Scratch) -> Scratch:
    """Make the volume group ``v-g`` of two disks, with the volume ``l-v``: names whose dashes LVM doubles."""
    storage.call(LVM_REMOVE_ALL, NoArgs())
    storage.call(PVCREATE, DeviceArgs(SDC))
    storage.call(PVCREATE, DeviceArgs(SDD))
    storage.call(VGCREATE, VgcreateArgs("v-g", [SDC, SDD]))
    storage.call(LVCREATE, LvcreateArgs("l-v", "v-g", 16))
    return storage


def test_volumes_are_made_and_described(group: Scratch) -> None:
    assert group.call(PVS, NoArgs()) == ["/dev/sdc", "/dev/sdd"]
    assert group.call(VGS, NoArgs()) == ["v-g"]
    assert group.call(LVS, NoArgs()) == ["/dev/v-g/l-v"]
    pv = group.call(PVS_FULL, NoArgs())[0]
    assert (pv.pv_name, pv.pv_fmt, pv.dev_size, pv.pe_start) == ("/dev/sdc", "lvm2", 64 * MIB, MIB)
    assert (pv.pv_pe_count, pv.pv_used, pv.pv_free) == (15, 16 * MIB, 44 * MIB)
    vg = group.call(VGS_FULL, NoArgs())[0]
    assert (vg.vg_name, vg.vg_size, vg.vg_extent_size, vg.pv_count) == ("v-g", 120 * MIB, EXTENT, 2)
    lv = group.call(LVS_FULL, NoArgs())[0]
    assert (lv.lv_name, lv.lv_size, lv.seg_count, lv.snap_percent) == ("l-v", 16 * MIB, 1, -1.0)
    assert (lv.lv_major, lv.lv_attr[4]) == (-1, "a")
    lv_uuid = group.call(LVUUID, DeviceArgs(Device("/dev/v-g/l-v")))
    assert re.fullmatch(UUID, lv_uuid)
    assert lv.lv_uuid == lv_uuid.replace("-", "")
    assert group.call(VGLVUUIDS, VgremoveArgs("v-g")) == [lv_uuid]
    assert group.call(VGUUID, VgremoveArgs("v-g")).replace("-", "") == vg.vg_uuid
    pv_uuids = [group.call(PVUUID, DeviceArgs(device)) for device in (SDC, SDD)]
    assert group.call(VGPVUUIDS, VgremoveArgs("v-g")) == pv_uuids
    assert b"logical_volumes" in group.call(VGMETA, VgremoveArgs("v-g"))


def test_volume_has_one_name_in_all_answers(group: Scratch) -> None:
    name, mapped = "/dev/v-g/l-v", "/dev/mapper/v--g-l--v"
    assert group.call(BLOCKDEV_GETSIZE64, DeviceArgs(Device(name))) == 16 * MIB
    assert group.call(LVM_CANONICAL_LV_NAME, LvmCanonicalLvNameArgs(mapped), channel=1) == name
    assert group.refused(LVM_CANONICAL_LV_NAME, LvmCanonicalLvNameArgs("/dev/sdc"))[0] == "EINVAL"
    assert group.refused(LVM_CANONICAL_LV_NAME, LvmCanonicalLvNameArgs("/dev/none"))[0] == "ENOENT"
    assert group.refused(LVM_CANONICAL_LV_NAME, LvmCanonicalLvNameArgs("v-g/l-v"))[0] == ""
    assert group.call(IS_LV, MountableArgs(Mountable(mapped)))
    assert not group.call(IS_LV, MountableArgs(Mountable("/dev/sdc")))
    assert not group.call(IS_WHOLE_DEVICE, DeviceArgs(Device(name)))
    assert group.call(LIST_DM_DEVICES, NoArgs()) == []
    group.call(MKFS, MkfsArgs("ext4", Device(name)))
    assert (name, "ext4") in group.call(LIST_FILESYSTEMS, NoArgs())
    assert not [row for row in group.call(LIST_FILESYSTEMS, NoArgs()) if row[0] in (SDC, SDD)]
    group.call(MOUNT, MountArgs(Mountable(mapped), "/"))
    assert group.call(MOUNTS, NoArgs()) == [name]
    assert group.call(MOUNTPOINTS, NoArgs()) == [(name, "/")]
    group.call(UMOUNT_ALL, NoArgs())


def test_volumes_are_resized_and_renamed(group: Scratch) -> None:
    volume = Device("/dev/v-g/l-v")

    def size() -> int:
        return group.call(BLOCKDEV_GETSIZE64, DeviceArgs(volume))

    group.call(LVRESIZE, LvresizeArgs(volume, 32))
    assert size() == 32 * MIB
    group.call(LVRESIZE, LvresizeArgs(volume, 8))
    assert size() == 8 * MIB
    group.call(LVRESIZE_FREE, LvresizeFreeArgs(volume, 50))
    assert size() == (2 + 14) * EXTENT
    assert "more than 0" in group.refused(LVRESIZE, LvresizeArgs(volume, -5))[1]
    assert "more than 0" in group.refused(PVRESIZE_SIZE, PvresizeSizeArgs(SDC, 0))[1]
    assert "0 to 100" in group.refused(LVRESIZE_FREE, LvresizeFreeArgs(volume, 101))[1]
    group.call(LVRENAME, LvrenameArgs("/dev/v-g/l-v", "/dev/v-g/new"))
    group.call(LVCREATE_FREE, LvcreateFreeArgs("rest", "v-g", 100))
    group.call(LVRESIZE_FREE, LvresizeFreeArgs(Device("/dev/v-g/rest"), 100))  # of nothing
    group.call(VGRENAME, VgrenameArgs("v-g", "w"))
    assert group.call(LVS, NoArgs()) == ["/dev/w/new", "/dev/w/rest"]
    group.call(LVREMOVE, DeviceArgs(Device("/dev/w/new")))
    assert group.call(LVS, NoArgs()) == ["/dev/w/rest"]
    assert group.refused(LVCREATE, LvcreateArgs("huge", "w", 100_000))[0] == ""
    group.call(VGREMOVE, VgremoveArgs("w"))
    assert group.call(VGS, NoArgs()) == []
    group.call(PVRESIZE_SIZE, PvresizeSizeArgs(SDC, 32 * MIB))
    assert group.call(PVS_FULL, NoArgs())[0].pv_size <= 32 * MIB
    group.call(PVRESIZE, DeviceArgs(SDC))
    assert group.call(PVS_FULL, NoArgs())[0].pv_size > 60 * MIB
    group.call(PVREMOVE, DeviceArgs(SDC))
    assert group.call(PVS, NoArgs()) == ["/dev/sdd"]
    group.call(LVM_REMOVE_ALL, NoArgs())
    assert group.call(PVS, NoArgs()) == []
    assert group.refused(VGCREATE, VgcreateArgs("none", []))[0] == ""
    group.call(MKFS, MkfsArgs("ext2", SDC))
    assert group.refused(VGCREATE, VgcreateArgs("over", [SDC]))[0] == ""
    assert group.call(VFS_TYPE, MountableArgs(Mountable(SDC))) == "ext2"


def test_groups_are_activated_by_every_process_alike(group: Scratch) -> None:
    volume = "/dev/v-g/l-v"

    def is_active() -> bool:
        return volume in group.table(LIST_FILESYSTEMS, NoArgs())

    assert is_active()
    group.call(VG_ACTIVATE, VgActivateArgs(False, ["v-g"]))
    assert not is_active()
    assert group.refused(BLOCKDEV_GETSIZE64, DeviceArgs(Device(volume)))[0] == "ENOENT"
    assert group.call(LVS, NoArgs(), channel=1) == [volume]
    group.call(VG_ACTIVATE, VgActivateArgs(True, []), channel=2)
    assert is_active()
    group.call(VG_ACTIVATE_ALL, VgActivateAllArgs(False))
    group.call(VGSCAN, NoArgs())
    group.call(LVM_SCAN, VgActivateAllArgs(False))
    assert not is_active()
    group.call(LVM_SCAN, VgActivateAllArgs(True))
    assert is_active()
    group.call(VG_ACTIVATE_ALL, VgActivateAllArgs(False))
    group.call(VG_ACTIVATE_ALL, VgActivateAllArgs(True))
    assert is_active()


def test_uuids_are_made_anew(group: Scratch) -> None:
    def uuids() -> list[str]:
        pvs = [group.call(PVUUID, DeviceArgs(device)) for device in (SDC, SDD)]
        return [*pvs, group.call(VGUUID, VgremoveArgs("v-g"))]

    group.call(VG_ACTIVATE_ALL, VgActivateAllArgs(False))
    first = uuids()
    group.call(PVCHANGE_UUID, DeviceArgs(SDC))
    second = uuids()
    assert [a == b for a, b in zip(first, second, strict=True)] == [False, True, True]
    group.call(PVCHANGE_UUID_ALL, NoArgs())
    group.call(VGCHANGE_UUID, VgchangeUuidArgs("v-g"))
    third = uuids()
    assert not any(a == b for a, b in zip(second, third, strict=True))
    group.call(VGCHANGE_UUID_ALL, NoArgs())
    assert uuids()[2] != third[2]


def test_filter_hides_devices_until_it_is_cleared(group: Scratch) -> None:
    group.call(LVM_REMOVE_ALL, NoArgs())
    group.call(PVCREATE, DeviceArgs(SDC))
    group.call(PVCREATE, DeviceArgs(SDD))
    group.call(VGCREATE, VgcreateArgs("one", [SDC]))
    group.call(VGCREATE, VgcreateArgs("two", [SDD]))
    group.call(LVM_SET_FILTER, LvmSetFilterArgs([SDC]))
    assert group.call(VGS, NoArgs(), channel=1) == ["one"]
    group.call(LVM_CLEAR_FILTER, NoArgs())
    assert group.call(VGS, NoArgs()) == ["one", "two"]
    group.call(LVM_REMOVE_ALL, NoArgs())


def test_volumes_of_a_disk_are_there_when_they_are_asked_for(
    group: Scratch, appliance_files: ApplianceFiles, tmp_path: Path
) -> None:
    group.call(MKFS, MkfsArgs("ext4", Device("/dev/v-g/l-v"), label="inner"))
    group.call(SYNC, NoArgs())
    images = [tmp_path / "c.img", tmp_path / "d.img"]
    for device, image in zip((SDC, SDD), images, strict=True):
        group.save(DOWNLOAD, RemoteFileArgs(DeviceOrPath(device.encode())), image)
    with scratch_appliance(appliance_files, images) as other:
        assert other.call(VFS_TYPE, MountableArgs(Mountable("/dev/v-g/l-v")), channel=1) == "ext4"
        assert other.call(LIST_FILESYSTEMS, NoArgs()) == [("/dev/v-g/l-v", "ext4")]
        assert other.call(LVS, NoArgs(), channel=2) == ["/dev/v-g/l-v"]
    group.call(LVM_REMOVE_ALL, NoArgs())
