"""What the kernel says of a disk in a real appliance, and what it can be told."""

import pytest

from rpc.arguments import DeviceArgs
from rpc.codec import Device
from rpc.procedures import (
    BLKDISCARD,
    BLKDISCARDZEROES,
    BLOCKDEV_FLUSHBUFS,
    BLOCKDEV_GETBSZ,
    BLOCKDEV_GETRO,
    BLOCKDEV_GETSIZE64,
    BLOCKDEV_GETSS,
    BLOCKDEV_GETSZ,
    BLOCKDEV_SETBSZ,
    BLOCKDEV_SETRA,
    BLOCKDEV_SETRO,
    BLOCKDEV_SETRW,
    DEBUG,
    FINDFS_PARTLABEL,
    FINDFS_PARTUUID,
    PART_DISK,
    PART_SET_GPT_GUID,
    PART_SET_NAME,
    PREAD_DEVICE,
    PWRITE_DEVICE,
    WIPEFS,
)
from rpc.procedures.contents import PreadDeviceArgs, PwriteDeviceArgs
from rpc.procedures.control import DebugArgs
from rpc.procedures.devices import BlockdevSetbszArgs, BlockdevSetraArgs, FindfsLabelArgs, FindfsUuidArgs
from rpc.procedures.partitions import PartInitArgs, PartSetGptTypeArgs, PartSetNameArgs
from tests.daemon.scratch import SIZES_MIB, Scratch
from tests.daemon.test_control import meminfo_kib

pytestmark = pytest.mark.appliance

SDA = DeviceArgs(Device("/dev/sda"))
SIZE_BYTES = SIZES_MIB[0] << 20
GUID = "01234567-89AB-CDEF-0123-456789ABCDEF"
MIB = 1 << 20


NODE = "/dev/$(ls /sys/bus/scsi/devices/*:0:0:0/block)"
"""What the appliance itself calls SDA, to a shell: the kernel names disks in any order."""


def shell(storage: Scratch, command: str) -> str:
    return storage.call(DEBUG, DebugArgs("sh", [command])).strip()


def write(storage: Scratch, content: bytes, offset: int) -> None:
    assert storage.call(PWRITE_DEVICE, PwriteDeviceArgs(SDA.device, content, offset)) == len(content)


def read(storage: Scratch, size_bytes: int, offset: int) -> bytes:
    return storage.call(PREAD_DEVICE, PreadDeviceArgs(SDA.device, size_bytes, offset))


def test_sizes(storage: Scratch) -> None:
    assert storage.call(BLOCKDEV_GETSIZE64, SDA) == SIZE_BYTES
    assert storage.call(BLOCKDEV_GETSZ, SDA) == SIZE_BYTES // 512
    assert storage.call(BLOCKDEV_GETSS, SDA) == 512
    assert storage.call(BLOCKDEV_GETBSZ, SDA) in (512, 1024, 2048, 4096)


def test_block_size_must_be_a_power_of_two(storage: Scratch) -> None:
    storage.call(BLOCKDEV_SETBSZ, BlockdevSetbszArgs(SDA.device, 1024))
    name, text = storage.refused(BLOCKDEV_SETBSZ, BlockdevSetbszArgs(SDA.device, 1000))
    assert name == ""
    assert "blockdev" in text


def test_read_only_disk_cannot_be_written(storage: Scratch) -> None:
    assert storage.call(BLOCKDEV_GETRO, SDA) is False
    storage.call(BLOCKDEV_SETRO, SDA)
    try:
        assert storage.call(BLOCKDEV_GETRO, SDA) is True
        assert storage.refused(PWRITE_DEVICE, PwriteDeviceArgs(SDA.device, b"x", 50 * MIB))[0] == "EPERM"
    finally:
        storage.call(BLOCKDEV_SETRW, SDA)
    assert storage.call(BLOCKDEV_GETRO, SDA) is False
    write(storage, b"x", 50 * MIB)


def test_read_ahead_is_the_kernels(storage: Scratch) -> None:
    for sectors in (64, 256):
        storage.call(BLOCKDEV_SETRA, BlockdevSetraArgs(SDA.device, sectors))
        assert shell(storage, f"blockdev --getra {NODE}") == str(sectors)


def test_flushed_blocks_are_cached_no_longer(storage: Scratch) -> None:
    """The page cache of block devices is what /proc/meminfo calls Buffers; the last close of a device drops it, too."""
    holder = shell(storage, f"sleep 600 < {NODE} > /dev/null 2>&1 & echo $!")
    try:
        for position_mib in range(0, 60, 2):
            read(storage, 2 * MIB, position_mib * MIB)
        before = meminfo_kib(storage, "Buffers")
        assert before > 40 * 1024
        storage.call(BLOCKDEV_FLUSHBUFS, SDA)
        assert before - meminfo_kib(storage, "Buffers") > 40 * 1024
    finally:
        shell(storage, f"kill {holder}")


def test_discarded_blocks_are_given_back_and_nothing_is_promised_of_them(storage: Scratch) -> None:
    write(storage, b"x" * MIB, 50 * MIB)
    assert storage.call(BLKDISCARDZEROES, SDA) is False
    storage.call(BLKDISCARD, SDA)
    assert read(storage, MIB, 50 * MIB) == bytes(MIB)


def test_partition_is_found_by_its_name_and_guid(storage: Scratch) -> None:
    storage.call(PART_DISK, PartInitArgs(SDA.device, "gpt"))
    storage.call(PART_SET_NAME, PartSetNameArgs(SDA.device, 1, "the name"))
    storage.call(PART_SET_GPT_GUID, PartSetGptTypeArgs(SDA.device, 1, GUID))
    assert storage.call(FINDFS_PARTLABEL, FindfsLabelArgs("the name")) == "/dev/sda1"
    assert storage.call(FINDFS_PARTUUID, FindfsUuidArgs(GUID.lower())) == "/dev/sda1"
    assert storage.refused(FINDFS_PARTLABEL, FindfsLabelArgs("another"))[0] == ""
    assert storage.refused(FINDFS_PARTUUID, FindfsUuidArgs(""))[0] == ""
    storage.call(WIPEFS, SDA)
