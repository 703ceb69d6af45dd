"""Partition tables of a disk in a real appliance: MBR and GPT, made, changed and read."""

import pytest

from rpc.arguments import DeviceArgs, NoArgs
from rpc.codec import Device
from rpc.procedures import (
    BLKID,
    BLOCKDEV_REREADPT,
    IS_WHOLE_DEVICE,
    LIST_PARTITIONS,
    PART_ADD,
    PART_DEL,
    PART_DISK,
    PART_EXPAND_GPT,
    PART_GET_BOOTABLE,
    PART_GET_DISK_GUID,
    PART_GET_GPT_ATTRIBUTES,
    PART_GET_GPT_GUID,
    PART_GET_GPT_TYPE,
    PART_GET_MBR_ID,
    PART_GET_MBR_PART_TYPE,
    PART_GET_NAME,
    PART_GET_PARTTYPE,
    PART_INIT,
    PART_LIST,
    PART_RESIZE,
    PART_SET_BOOTABLE,
    PART_SET_DISK_GUID,
    PART_SET_DISK_GUID_RANDOM,
    PART_SET_GPT_ATTRIBUTES,
    PART_SET_GPT_GUID,
    PART_SET_GPT_TYPE,
    PART_SET_MBR_ID,
    PART_SET_NAME,
    PART_TO_DEV,
    PART_TO_PARTNUM,
    PREAD_DEVICE,
    PWRITE_DEVICE,
    WIPEFS,
)
from rpc.procedures.contents import PreadDeviceArgs, PwriteDeviceArgs
from rpc.procedures.partitions import (
    PartAddArgs,
    PartDelArgs,
    PartInitArgs,
    Partition,
    PartResizeArgs,
    PartSetBootableArgs,
    PartSetDiskGuidArgs,
    PartSetGptAttributesArgs,
    PartSetGptTypeArgs,
    PartSetMbrIdArgs,
    PartSetNameArgs,
    PartToDevArgs,
)
from tests.daemon.scratch import SIZES_MIB, Scratch

pytestmark = pytest.mark.appliance

SDA = Device("/dev/sda")
SDA1 = Device("/dev/sda1")
MIB = 1 << 20
GUID = "01234567-89AB-CDEF-0123-456789ABCDEF"
SWAP = "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F"


def test_disk_without_a_table_has_none(storage: Scratch) -> None:
    storage.call(WIPEFS, DeviceArgs(SDA))
    assert storage.refused(PART_GET_PARTTYPE, DeviceArgs(SDA)) == ("EINVAL", "/dev/sda: unrecognised disk label")
    assert storage.refused(PART_LIST, DeviceArgs(SDA))[0] == "EINVAL"


def test_mbr_table_holds_primary_extended_and_logical_partitions(storage: Scratch) -> None:
    storage.call(PART_INIT, PartInitArgs(SDA, "mbr"))
    assert storage.call(PART_GET_PARTTYPE, DeviceArgs(SDA)) == "msdos"
    assert storage.call(PART_LIST, DeviceArgs(SDA)) == []
    storage.call(PART_ADD, PartAddArgs(SDA, "p", 2048, 10239))
    storage.call(PART_ADD, PartAddArgs(SDA, "extended", 20480, -1))
    storage.call(PART_ADD, PartAddArgs(SDA, "l", 22528, 40959))
    assert storage.call(LIST_PARTITIONS, NoArgs()) == ["/dev/sda1", "/dev/sda2", "/dev/sda5"]
    rows = storage.call(PART_LIST, DeviceArgs(SDA))
    assert rows[0] == Partition(1, 1 * MIB, 5 * MIB - 1, 4 * MIB)
    assert [row.part_num for row in rows] == [1, 2, 5]
    assert rows[1].part_end == SIZES_MIB[0] * MIB - 1
    kinds = [storage.call(PART_GET_MBR_PART_TYPE, PartDelArgs(SDA, number)) for number in (1, 2, 5)]
    assert kinds == ["primary", "extended", "logical"]
    assert storage.refused(PART_GET_MBR_PART_TYPE, PartDelArgs(SDA, 3))[1] == "/dev/sda: there is no partition 3"

    storage.call(PART_SET_BOOTABLE, PartSetBootableArgs(SDA, 1, True))
    assert storage.call(PART_GET_BOOTABLE, PartDelArgs(SDA, 1))
    assert not storage.call(PART_GET_BOOTABLE, PartDelArgs(SDA, 5))
    storage.call(PART_SET_BOOTABLE, PartSetBootableArgs(SDA, 1, False))
    assert not storage.call(PART_GET_BOOTABLE, PartDelArgs(SDA, 1))
    storage.call(PART_SET_MBR_ID, PartSetMbrIdArgs(SDA, 1, 0x82))
    assert storage.call(PART_GET_MBR_ID, PartDelArgs(SDA, 1)) == 0x82
    assert storage.call(PART_GET_GPT_TYPE, PartDelArgs(SDA, 1)) == SWAP
    assert "no names" in storage.refused(PART_GET_NAME, PartDelArgs(SDA, 1))[1]

    storage.call(PART_RESIZE, PartResizeArgs(SDA, 1, 20479))
    assert storage.call(PART_LIST, DeviceArgs(SDA))[0].part_size == 9 * MIB
    assert "Shrinking" in storage.refused(PART_RESIZE, PartResizeArgs(SDA, 1, 10239))[1]
    storage.call(PART_DEL, PartDelArgs(SDA, 5))
    storage.call(BLOCKDEV_REREADPT, DeviceArgs(SDA))
    assert storage.call(LIST_PARTITIONS, NoArgs()) == ["/dev/sda1", "/dev/sda2"]


def test_gpt_has_names_types_and_attributes(storage: Scratch) -> None:
    storage.call(PART_DISK, PartInitArgs(SDA, "efi"))
    assert storage.call(PART_GET_PARTTYPE, DeviceArgs(SDA)) == "gpt"
    (row,) = storage.call(PART_LIST, DeviceArgs(SDA))
    assert (row.part_start, row.part_end) == (64 * 1024, SIZES_MIB[0] * MIB - 127 * 512 - 1)
    assert storage.call(PART_GET_NAME, PartDelArgs(SDA, 1)) == "p1"
    storage.call(PART_SET_NAME, PartSetNameArgs(SDA, 1, r"a: \"name\" \\"))
    assert storage.call(PART_GET_NAME, PartDelArgs(SDA, 1)) == r"a: \"name\" \\"
    storage.call(PART_SET_GPT_TYPE, PartSetGptTypeArgs(SDA, 1, SWAP.lower()))
    assert storage.call(PART_GET_GPT_TYPE, PartDelArgs(SDA, 1)) == SWAP
    storage.call(PART_SET_GPT_GUID, PartSetGptTypeArgs(SDA, 1, GUID))
    assert storage.call(PART_GET_GPT_GUID, PartDelArgs(SDA, 1)) == GUID
    storage.call(PART_SET_GPT_ATTRIBUTES, PartSetGptAttributesArgs(SDA, 1, -(1 << 63) + 4))
    assert storage.call(PART_GET_GPT_ATTRIBUTES, PartDelArgs(SDA, 1)) == -(1 << 63) + 4
    storage.call(PART_SET_DISK_GUID, PartSetDiskGuidArgs(SDA, GUID))
    assert storage.call(PART_GET_DISK_GUID, DeviceArgs(SDA)) == GUID
    storage.call(PART_SET_DISK_GUID_RANDOM, DeviceArgs(SDA))
    assert storage.call(PART_GET_DISK_GUID, DeviceArgs(SDA)) != GUID
    assert storage.call(PART_GET_MBR_PART_TYPE, PartDelArgs(SDA, 1)) == "primary"
    tags = storage.table(BLKID, DeviceArgs(SDA1))
    assert (tags["DEVNAME"], tags["PART_ENTRY_UUID"]) == ("/dev/sda1", GUID.lower())

    assert storage.call(PART_TO_DEV, PartToDevArgs(SDA1)) == "/dev/sda"
    assert storage.call(PART_TO_PARTNUM, PartToDevArgs(SDA1)) == 1
    assert storage.refused(PART_TO_DEV, PartToDevArgs(SDA))[1] == "/dev/sda: not a partition"
    assert storage.call(IS_WHOLE_DEVICE, DeviceArgs(SDA))
    assert not storage.call(IS_WHOLE_DEVICE, DeviceArgs(SDA1))


def test_second_copy_of_a_table_goes_to_the_end_of_the_disk(storage: Scratch) -> None:
    storage.call(PART_INIT, PartInitArgs(SDA, "gpt"))
    last = SIZES_MIB[0] * MIB - 512
    storage.call(PWRITE_DEVICE, PwriteDeviceArgs(SDA, bytes(512), last))
    storage.call(PART_EXPAND_GPT, DeviceArgs(SDA))
    assert storage.call(PREAD_DEVICE, PreadDeviceArgs(SDA, 8, last)) == b"EFI PART"


@pytest.mark.parametrize(
    ("procedure", "args", "text"),
    [
        (PART_INIT, PartInitArgs(SDA, "nosuch"), "nosuch"),
        (PART_ADD, PartAddArgs(SDA, "x", 2048, 4095), "primary, logical or extended"),
        (PART_ADD, PartAddArgs(SDA, "p", -1, 4095), "negative"),
        (PART_DEL, PartDelArgs(SDA, 0), "counted from 1"),
        (PART_DEL, PartDelArgs(SDA, 99), "/dev/sda: "),
        (PART_SET_GPT_TYPE, PartSetGptTypeArgs(SDA, 1, "R"), "not a GUID"),
        (PART_GET_GPT_TYPE, PartDelArgs(SDA, -1), "counted from 1"),
        (PART_GET_GPT_TYPE, PartDelArgs(SDA, 7), ""),
    ],
)
def test_nonsense_is_refused_without_errno(storage: Scratch, procedure: object, args: object, text: str) -> None:
    errno_name, message = storage.refused(procedure, args)  # type: ignore[arg-type]
    assert errno_name == ""
    assert text in message
