"""Read and write partition tables."""

from typing import Final, NamedTuple

from rpc.arguments import DeviceArgs
from rpc.codec import BOOL, INT32, INT64, STRING, VOID, Device, Int32, Int64, codec_of, list_of
from rpc.procedure import Procedure


class Partition(NamedTuple):
    """One partition; ``part_end`` is its last byte, inclusive."""

    part_num: Int32
    part_start: Int64
    part_end: Int64
    part_size: Int64


class PartInitArgs(NamedTuple):
    """Carry the arguments of ``part_init``, ``part_disk``."""

    device: Device
    parttype: str


class PartAddArgs(NamedTuple):
    """Carry the arguments of ``part_add``."""

    device: Device
    prlogex: str
    startsect: Int64
    endsect: Int64


class PartDelArgs(NamedTuple):
    """Carry the arguments of ``part_del`` and 7 more calls."""

    device: Device
    partnum: Int32


class PartResizeArgs(NamedTuple):
    """Carry the arguments of ``part_resize``."""

    device: Device
    partnum: Int32
    endsect: Int64


class PartSetBootableArgs(NamedTuple):
    """Carry the arguments of ``part_set_bootable``."""

    device: Device
    partnum: Int32
    bootable: bool


class PartSetNameArgs(NamedTuple):
    """Carry the arguments of ``part_set_name``."""

    device: Device
    partnum: Int32
    name: str


class PartSetMbrIdArgs(NamedTuple):
    """Carry the arguments of ``part_set_mbr_id``."""

    device: Device
    partnum: Int32
    idbyte: Int32


class PartSetGptTypeArgs(NamedTuple):
    """Carry the arguments of ``part_set_gpt_type``, ``part_set_gpt_guid``."""

    device: Device
    partnum: Int32
    guid: str


class PartSetGptAttributesArgs(NamedTuple):
    """Carry the arguments of ``part_set_gpt_attributes``."""

    device: Device
    partnum: Int32
    attributes: Int64


class PartSetDiskGuidArgs(NamedTuple):
    """Carry the arguments of ``part_set_disk_guid``."""

    device: Device
    guid: str


class PartToDevArgs(NamedTuple):
    """Carry the arguments of ``part_to_dev``, ``part_to_partnum``."""

    partition: Device


PART_INIT: Final = Procedure(number=208, name="part_init", args=PartInitArgs, result=VOID)
PART_ADD: Final = Procedure(number=209, name="part_add", args=PartAddArgs, result=VOID)
PART_DISK: Final = Procedure(number=210, name="part_disk", args=PartInitArgs, result=VOID)
PART_DEL: Final = Procedure(number=233, name="part_del", args=PartDelArgs, result=VOID)
PART_LIST: Final = Procedure(number=213, name="part_list", args=DeviceArgs, result=list_of(codec_of(Partition)))
PART_RESIZE: Final = Procedure(number=477, name="part_resize", args=PartResizeArgs, result=VOID)
PART_GET_PARTTYPE: Final = Procedure(number=214, name="part_get_parttype", args=DeviceArgs, result=STRING)
PART_SET_BOOTABLE: Final = Procedure(number=211, name="part_set_bootable", args=PartSetBootableArgs, result=VOID)
PART_GET_BOOTABLE: Final = Procedure(number=234, name="part_get_bootable", args=PartDelArgs, result=BOOL)
PART_SET_NAME: Final = Procedure(number=212, name="part_set_name", args=PartSetNameArgs, result=VOID)
PART_GET_NAME: Final = Procedure(number=416, name="part_get_name", args=PartDelArgs, result=STRING)
PART_SET_MBR_ID: Final = Procedure(number=236, name="part_set_mbr_id", args=PartSetMbrIdArgs, result=VOID)
PART_GET_MBR_ID: Final = Procedure(number=235, name="part_get_mbr_id", args=PartDelArgs, result=INT32)
PART_GET_MBR_PART_TYPE: Final = Procedure(number=454, name="part_get_mbr_part_type", args=PartDelArgs, result=STRING)
PART_SET_GPT_TYPE: Final = Procedure(number=392, name="part_set_gpt_type", args=PartSetGptTypeArgs, result=VOID)
PART_GET_GPT_TYPE: Final = Procedure(number=393, name="part_get_gpt_type", args=PartDelArgs, result=STRING)
PART_SET_GPT_GUID: Final = Procedure(number=446, name="part_set_gpt_guid", args=PartSetGptTypeArgs, result=VOID)
PART_GET_GPT_GUID: Final = Procedure(number=447, name="part_get_gpt_guid", args=PartDelArgs, result=STRING)
PART_SET_GPT_ATTRIBUTES: Final = Procedure(
    number=503, name="part_set_gpt_attributes", args=PartSetGptAttributesArgs, result=VOID
)
PART_GET_GPT_ATTRIBUTES: Final = Procedure(number=504, name="part_get_gpt_attributes", args=PartDelArgs, result=INT64)
PART_SET_DISK_GUID: Final = Procedure(number=459, name="part_set_disk_guid", args=PartSetDiskGuidArgs, result=VOID)
PART_GET_DISK_GUID: Final = Procedure(number=460, name="part_get_disk_guid", args=DeviceArgs, result=STRING)
PART_SET_DISK_GUID_RANDOM: Final = Procedure(number=461, name="part_set_disk_guid_random", args=DeviceArgs, result=VOID)
PART_EXPAND_GPT: Final = Procedure(number=462, name="part_expand_gpt", args=DeviceArgs, result=VOID)
PART_TO_DEV: Final = Procedure(number=272, name="part_to_dev", args=PartToDevArgs, result=STRING)
PART_TO_PARTNUM: Final = Procedure(number=293, name="part_to_partnum", args=PartToDevArgs, result=INT32)
SFDISK_L: Final = Procedure(number=100, name="sfdisk_l", args=DeviceArgs, result=STRING)
SFDISK_KERNEL_GEOMETRY: Final = Procedure(number=101, name="sfdisk_kernel_geometry", args=DeviceArgs, result=STRING)
SFDISK_DISK_GEOMETRY: Final = Procedure(number=102, name="sfdisk_disk_geometry", args=DeviceArgs, result=STRING)
