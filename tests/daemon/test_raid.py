"""MD arrays in a real appliance."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.config import ApplianceFiles
from daemon.assembly import is_member
from rpc.arguments import DeviceArgs, MountableArgs, NoArgs
from rpc.codec import Device, DeviceOrPath, Mountable
from rpc.procedures import (
    BLOCKDEV_GETSIZE64,
    DEBUG,
    DOWNLOAD,
    IS_WHOLE_DEVICE,
    LIST_FILESYSTEMS,
    LIST_MD_DEVICES,
    LIST_PARTITIONS,
    MD_CREATE,
    MD_DETAIL,
    MD_STAT,
    MD_STOP,
    MKFS,
    PART_DISK,
    PART_TO_DEV,
    SYNC,
    VFS_TYPE,
    WIPEFS,
)
from rpc.procedures.control import DebugArgs
from rpc.procedures.filesystems import MkfsArgs
from rpc.procedures.partitions import PartInitArgs, PartToDevArgs
from rpc.procedures.raid import MdCreateArgs, MdDetailArgs, Mdstat
from rpc.procedures.transfers import RemoteFileArgs
from tests.daemon.scratch import Scratch, scratch_appliance

pytestmark = pytest.mark.appliance

SDF, SDG = Device("/dev/sdf"), Device("/dev/sdg")
MIB = 1 << 20


@pytest.fixture
def members(storage: Scratch) -> Iterator[Scratch]:
    """Lend the appliance; afterwards no array is left."""
    yield storage
    for array in storage.call(LIST_MD_DEVICES, NoArgs()):
        storage.call(MD_STOP, MdDetailArgs(Device(array)))
    for device in (SDF, SDG):
        storage.call(WIPEFS, DeviceArgs(device))


def created(storage: Scratch, args: MdCreateArgs) -> Device:
    storage.call(MD_CREATE, args)
    (name,) = storage.call(LIST_MD_DEVICES, NoArgs())
    return Device(name)


def test_mirror_is_made_described_and_found_again(
    members: Scratch, appliance_files: ApplianceFiles, tmp_path: Path
) -> None:
    array = created(members, MdCreateArgs("mirror", [SDF, SDG]))
    told = members.table(MD_DETAIL, MdDetailArgs(array))
    assert (told["level"], told["devices"], told["devname"]) == ("raid1", "2", "mirror")
    assert told["device_dev_sdf_dev"] == "/dev/sdf"
    places = members.call(MD_STAT, MdDetailArgs(array))
    assert sorted(places) == [Mdstat("/dev/sdf", 0, ""), Mdstat("/dev/sdg", 1, "")]
    assert not members.call(IS_WHOLE_DEVICE, DeviceArgs(array))
    members.call(MKFS, MkfsArgs("ext2", array))
    rows = members.table(LIST_FILESYSTEMS, NoArgs())
    assert rows[array] == "ext2"
    assert not {SDF, SDG} & rows.keys()

    members.call(SYNC, NoArgs())
    images = [tmp_path / "f.img", tmp_path / "g.img"]
    for device, image in zip((SDF, SDG), images, strict=True):
        members.save(DOWNLOAD, RemoteFileArgs(DeviceOrPath(device.encode())), image)
    members.call(MD_STOP, MdDetailArgs(array))
    assert members.call(LIST_MD_DEVICES, NoArgs()) == []
    with scratch_appliance(appliance_files, images) as other:
        (found,) = other.call(LIST_MD_DEVICES, NoArgs())
        assert other.call(VFS_TYPE, MountableArgs(Mountable(found)), channel=1) == "ext2"


def test_partitions_of_an_array_are_listed(members: Scratch) -> None:
    array = created(members, MdCreateArgs("stripe", [SDF, SDG], chunk=64 * 1024, level="raid0"))
    assert members.call(BLOCKDEV_GETSIZE64, DeviceArgs(array)) > 56 * MIB
    members.call(PART_DISK, PartInitArgs(array, "mbr"))
    part = Device(f"{array}p1")
    assert part in members.call(LIST_PARTITIONS, NoArgs())
    assert members.call(PART_TO_DEV, PartToDevArgs(part)) == array
    rows = members.table(LIST_FILESYSTEMS, NoArgs())
    assert part in rows
    assert array not in rows


def test_stopped_array_leaves_no_node_that_would_make_another(members: Scratch) -> None:
    first = created(members, MdCreateArgs("one", [SDF, SDG]))
    members.call(MD_STOP, MdDetailArgs(first))
    assert members.refused(BLOCKDEV_GETSIZE64, DeviceArgs(first))[0] == "ENOENT"
    assert created(members, MdCreateArgs("two", [SDF, SDG])) == first


def test_array_may_lack_members(members: Scratch) -> None:
    array = created(members, MdCreateArgs("half", [SDG], missingbitmap=1))
    assert members.call(MD_STAT, MdDetailArgs(array)) == [Mdstat("/dev/sdg", 1, "")]
    assert members.table(MD_DETAIL, MdDetailArgs(array))["devices"] == "2"


@pytest.mark.parametrize("version", ["0.90", "1.0", "1.1", "1.2"])
def test_mark_of_a_member_is_found_wherever_it_is(members: Scratch, tmp_path: Path, version: str) -> None:
    """It decides whether the appliance starts mdadm at all."""
    image = tmp_path / "g.img"

    def is_marked() -> bool:
        members.call(SYNC, NoArgs())
        members.save(DOWNLOAD, RemoteFileArgs(DeviceOrPath(SDG.encode())), image)
        return is_member(str(image))

    assert not is_marked()
    node = members.call(DEBUG, DebugArgs("sh", ["ls /sys/bus/scsi/devices/*:0:6:0/block"]))  # sdg here, but there?
    create = f"mdadm --create md --run --level=1 --metadata={version} --raid-devices=2 missing /dev/{node}"
    members.call(DEBUG, DebugArgs("sh", [create]))
    (array,) = members.call(LIST_MD_DEVICES, NoArgs())
    members.call(MD_STOP, MdDetailArgs(Device(array)))
    assert is_marked()


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (MdCreateArgs("", [SDF, SDG]), "name"),
        (MdCreateArgs("x", [SDF], missingbitmap=4), "places without a device"),
        (MdCreateArgs("x", [SDF], missingbitmap=-1), "negative"),
        (MdCreateArgs("x", [SDF, SDG], chunk=1000), "1024"),
        (MdCreateArgs("x", [SDF, SDG], level="raid99"), ""),
    ],
)
def test_nonsense_is_refused(members: Scratch, args: MdCreateArgs, text: str) -> None:
    errno_name, message = members.refused(MD_CREATE, args)
    assert errno_name == ""
    assert text in message
    assert members.call(LIST_MD_DEVICES, NoArgs()) == []


def test_disk_is_no_array(members: Scratch) -> None:
    assert members.refused(MD_STAT, MdDetailArgs(SDF))[0] == "ENOENT"
    assert members.refused(MD_DETAIL, MdDetailArgs(SDF))[0] == ""
    assert members.refused(MD_STOP, MdDetailArgs(SDF))[0] == ""
