"""Where filesystems lie in a real appliance: on partitions, volumes, arrays and encrypted disks, and what has no map.

A file's bytes are read through its map from the guest's own disks, and compared with what the daemon reads of it.
"""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest
import trio

from appliance.config import ApplianceFiles
from guestmount_py.extents import AddressMap, FileMap, file_map
from guestmount_py.mapping import GuestMapping
from rpc.arguments import DeviceArgs, NoArgs, PathArgs
from rpc.codec import Device, DeviceOrPath, GuestPath, Mountable
from rpc.pool import ChannelPool
from rpc.procedures import (
    DEVICE_MAP,
    DROP_CACHES,
    FALLOCATE64,
    LUKS_FORMAT,
    LUKS_OPEN,
    LVCREATE,
    MD_CREATE,
    MKDIR,
    MKFS,
    MOUNT,
    MOUNT_OPTIONS,
    PART_ADD,
    PART_INIT,
    PREAD_DEVICE,
    PVCREATE,
    PWRITE,
    SYNC,
    TRUNCATE_SIZE,
    UMOUNT_ALL,
    UPLOAD,
    VGCREATE,
)
from rpc.procedures.allocation import Fallocate64Args, TruncateSizeArgs
from rpc.procedures.contents import PreadDeviceArgs, PwriteArgs
from rpc.procedures.control import DropCachesArgs
from rpc.procedures.filesystems import MkfsArgs
from rpc.procedures.luks import LuksFormatArgs, LuksOpenArgs
from rpc.procedures.lvm import LvcreateArgs, VgcreateArgs
from rpc.procedures.mounting import MountArgs, MountOptionsArgs
from rpc.procedures.partitions import PartAddArgs, PartInitArgs
from rpc.procedures.raid import MdCreateArgs
from rpc.procedures.transfers import RemoteFileArgs
from tests.daemon.scratch import Scratch, empty_images, scratch_appliance
from tests.guests.cache import run
from tests.guests.mapped import extents_of, loop_devices

pytestmark = [pytest.mark.appliance, pytest.mark.root]

SIZES_MIB: Final = (100, 64, 64, 64, 64, 32, 32, 320, 320, 64)
"""sda partitions; sda2 and sdb linear LVM; sdc and sdd striped LVM; sde LUKS; sdf and sdg RAID1; sdh and sdi XFS with
its realtime device; sdj whatever has no map."""
MIB: Final = 1 << 20
SERIALS: Final = {f"drive{index}": size_mib * MIB for index, size_mib in enumerate(SIZES_MIB)}
FILES: Final = {b"tail": 5_000_001, b"large": 34 * MIB, b"holes": 3_000_001, b"unwritten": 1_000_003}


@pytest.fixture(scope="module")
def machine(appliance_files: ApplianceFiles, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scratch]:
    """Launch an appliance whose disks were made on the host as far as its own daemon cannot make them."""
    directory = tmp_path_factory.mktemp("mapped")
    images = empty_images(directory, SIZES_MIB)
    stripes(images[2:4])
    with loop_devices(images[7:9]) as (data, realtime):
        run("mkfs.xfs", "-q", "-m", "reflink=0,rmapbt=0", "-r", f"rtdev={realtime}", data)
    with scratch_appliance(appliance_files, images) as launched:
        yield launched


def stripes(images: Sequence[Path]) -> None:
    """Make a striped volume without the help of a kernel."""
    with loop_devices(images) as devices:
        config = f'devices {{ filter=["a|{devices[0]}$|", "a|{devices[1]}$|", "r|.*|"] use_devicesfile=0 }}'
        common = ("--driverloaded", "n", "--config", config)
        run("lvm", "vgcreate", *common, "st", *devices)
        places = ("--activate", "n", "--zero", "n", "--stripes", "2", "--extents", "100%FREE")
        run("lvm", "lvcreate", *common, *places, "--name", "lv", "st")


@pytest.fixture
def guest(machine: Scratch) -> Iterator[Scratch]:
    yield machine
    machine.call(UMOUNT_ALL, NoArgs())


def addresses(guest: Scratch) -> AddressMap:
    return AddressMap(guest.call(DEVICE_MAP, PathArgs(GuestPath(b"/")), channel=1), SERIALS)


def maps(guest: Scratch, told: AddressMap, sizes: dict[bytes, int]) -> dict[bytes, FileMap | None]:
    """Return the maps of files in the root directory."""

    async def ask() -> dict[bytes, FileMap | None]:
        extents = await extents_of(GuestMapping(ChannelPool(guest._appliance.channels)), b"/", list(sizes))
        assert extents.filesystem == told.filesystem
        packed = dict(zip(sizes, extents.files, strict=True))
        return {name: None if each is None else file_map(each, sizes[name], told) for name, each in packed.items()}

    return trio.from_thread.run(ask, trio_token=guest._token)


def written(guest: Scratch, device: str, *, fstype: str = "ext4") -> dict[bytes, bytes]:
    """Make a filesystem, write files into it and mount it read-only; return what they hold."""
    guest.call(MKFS, MkfsArgs(fstype, Device(device)))
    guest.call(MOUNT, MountArgs(Mountable(device), "/"))
    contents: dict[bytes, bytes] = {}
    for name, size_bytes in FILES.items():
        path = GuestPath(b"/" + name)
        data = bytearray(size_bytes)
        if name in (b"holes", b"unwritten"):
            if name == b"unwritten":
                guest.call(FALLOCATE64, Fallocate64Args(path, size_bytes))
            else:
                guest.load(UPLOAD, RemoteFileArgs(DeviceOrPath(path)), b"")
                guest.call(TRUNCATE_SIZE, TruncateSizeArgs(path, size_bytes))
            for offset in (10_000, 400_000, 999_000):
                data[offset : offset + 997] = random.Random(offset).randbytes(997)
                guest.call(PWRITE, PwriteArgs(path, bytes(data[offset : offset + 997]), offset))
        else:
            data[:] = random.Random(size_bytes).randbytes(size_bytes)
            guest.load(UPLOAD, RemoteFileArgs(DeviceOrPath(path)), bytes(data))
        contents[name] = bytes(data)
    guest.call(MKDIR, PathArgs(GuestPath(b"/directory")))
    guest.call(SYNC, NoArgs())
    guest.call(UMOUNT_ALL, NoArgs())
    guest.call(DROP_CACHES, DropCachesArgs(3))
    guest.call(MOUNT_OPTIONS, MountOptionsArgs("ro", Mountable(device), "/"))
    return contents


def read_from_disks(guest: Scratch, mapped: FileMap) -> bytes:
    parts = []
    for size_bytes, serial, offset in mapped.pieces(0, mapped.size_bytes):
        if serial is None:
            parts.append(bytes(size_bytes))
            continue
        disk = Device(f"/dev/sd{'abcdefghij'[int(serial.removeprefix('drive'))]}")
        for start in range(0, size_bytes, MIB):
            count = min(MIB, size_bytes - start)
            parts.append(guest.call(PREAD_DEVICE, PreadDeviceArgs(disk, count, offset + start)))
    return b"".join(parts)


def drives_of(mapped: FileMap) -> set[str | None]:
    return {serial for _, serial, _ in mapped.pieces(0, mapped.size_bytes)}


def assert_identical(guest: Scratch, contents: dict[bytes, bytes]) -> dict[bytes, FileMap]:
    told = addresses(guest)
    assert told.reason == ""
    sizes = {name: len(data) for name, data in contents.items()}
    found = maps(guest, told, {**sizes, b"none": 1})
    assert found.pop(b"none") is None
    whole = {}
    for name, mapped in found.items():
        assert mapped is not None
        assert read_from_disks(guest, mapped) == contents[name], name
        whole[name] = mapped
    return whole


def test_files_on_a_partition_and_on_a_volume_over_two_disks_are_where_their_maps_say(guest: Scratch) -> None:
    sda, sdb = Device("/dev/sda"), Device("/dev/sdb")
    guest.call(PART_INIT, PartInitArgs(sda, "gpt"))
    guest.call(PART_ADD, PartAddArgs(sda, "p", 2048, 60 * 2048 - 1))
    guest.call(PART_ADD, PartAddArgs(sda, "p", 60 * 2048, 98 * 2048 - 1))
    found = assert_identical(guest, written(guest, "/dev/sda1"))
    assert drives_of(found[b"large"]) == {"drive0"}
    assert drives_of(found[b"holes"]) == {"drive0", None}
    guest.call(UMOUNT_ALL, NoArgs())

    for device in (Device("/dev/sda2"), sdb):
        guest.call(PVCREATE, DeviceArgs(device))
    guest.call(VGCREATE, VgcreateArgs("vg", [Device("/dev/sda2"), sdb]))
    guest.call(LVCREATE, LvcreateArgs("lv", "vg", 92))
    found = assert_identical(guest, written(guest, "/dev/vg/lv"))
    assert drives_of(found[b"large"]) == {"drive0", "drive1"}


def reason(guest: Scratch, device: str, fstype: str = "ext4", options: str = "ro") -> str:
    """Mount a filesystem, made first unless its type is empty; return why it has no map."""
    if fstype:
        guest.call(MKFS, MkfsArgs(fstype, Device(device)))
    guest.call(MOUNT_OPTIONS, MountOptionsArgs(options, Mountable(device), "/"))
    told = addresses(guest)
    guest.call(UMOUNT_ALL, NoArgs())
    return told.reason


def test_what_is_not_made_of_whole_parts_is_refused_in_words(guest: Scratch) -> None:
    assert reason(guest, "/dev/st/lv") == "st-lv is mapped by striped"
    guest.call(LUKS_FORMAT, LuksFormatArgs(Device("/dev/sde"), "key", 0))
    guest.call(LUKS_OPEN, LuksOpenArgs(Device("/dev/sde"), "key", "opened"))
    assert reason(guest, "/dev/mapper/opened") == "opened is mapped by crypt"
    guest.call(MD_CREATE, MdCreateArgs("mirror", [Device("/dev/sdf"), Device("/dev/sdg")]))
    assert reason(guest, "/dev/md127") == "md127 is a RAID array (raid1)"


def test_filesystems_that_cannot_be_mapped_are_refused_in_words(guest: Scratch) -> None:
    assert reason(guest, "/dev/sdj", "vfat") == "vfat is not a filesystem that can be mapped"
    assert reason(guest, "/dev/sdj", "ntfs") == "fuseblk is not a filesystem that can be mapped"
    assert reason(guest, "/dev/sdh", "", "ro,rtdev=/dev/sdi") == "xfs with a realtime device"
