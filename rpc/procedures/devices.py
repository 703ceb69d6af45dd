"""Describe block devices and change what the kernel knows of them."""

from typing import Final, NamedTuple

from rpc.arguments import DeviceArgs, MountableArgs, NoArgs
from rpc.codec import BOOL, INT32, INT64, PAIRS, STRING, STRING_LIST, VOID, Device, Int32
from rpc.procedure import Procedure


class BlockdevSetbszArgs(NamedTuple):
    """Carry the arguments of ``blockdev_setbsz``."""

    device: Device
    blocksize: Int32


class BlockdevSetraArgs(NamedTuple):
    """Carry the arguments of ``blockdev_setra``."""

    device: Device
    sectors: Int32


class FindfsUuidArgs(NamedTuple):
    """Carry the arguments of ``findfs_uuid``, ``findfs_partuuid``."""

    uuid: str


class FindfsLabelArgs(NamedTuple):
    """Carry the arguments of ``findfs_label``, ``findfs_partlabel``."""

    label: str


LIST_DEVICES: Final = Procedure(number=7, name="list_devices", args=NoArgs, result=STRING_LIST)
LIST_PARTITIONS: Final = Procedure(number=8, name="list_partitions", args=NoArgs, result=STRING_LIST)
LIST_DM_DEVICES: Final = Procedure(number=287, name="list_dm_devices", args=NoArgs, result=STRING_LIST)
LIST_MD_DEVICES: Final = Procedure(number=300, name="list_md_devices", args=NoArgs, result=STRING_LIST)
LIST_9P: Final = Procedure(number=285, name="list_9p", args=NoArgs, result=STRING_LIST)
LIST_LDM_VOLUMES: Final = Procedure(number=380, name="list_ldm_volumes", args=NoArgs, result=STRING_LIST)
LIST_LDM_PARTITIONS: Final = Procedure(number=381, name="list_ldm_partitions", args=NoArgs, result=STRING_LIST)
NR_DEVICES: Final = Procedure(number=336, name="nr_devices", args=NoArgs, result=INT32)
LIST_DISK_LABELS: Final = Procedure(number=369, name="list_disk_labels", args=NoArgs, result=PAIRS)
IS_WHOLE_DEVICE: Final = Procedure(number=395, name="is_whole_device", args=DeviceArgs, result=BOOL)
IS_LV: Final = Procedure(number=264, name="is_lv", args=MountableArgs, result=BOOL)
BLOCKDEV_SETRO: Final = Procedure(number=56, name="blockdev_setro", args=DeviceArgs, result=VOID)
BLOCKDEV_SETRW: Final = Procedure(number=57, name="blockdev_setrw", args=DeviceArgs, result=VOID)
BLOCKDEV_GETRO: Final = Procedure(number=58, name="blockdev_getro", args=DeviceArgs, result=BOOL)
BLOCKDEV_GETSS: Final = Procedure(number=59, name="blockdev_getss", args=DeviceArgs, result=INT32)
BLOCKDEV_GETBSZ: Final = Procedure(number=60, name="blockdev_getbsz", args=DeviceArgs, result=INT32)
BLOCKDEV_SETBSZ: Final = Procedure(number=61, name="blockdev_setbsz", args=BlockdevSetbszArgs, result=VOID)
BLOCKDEV_GETSZ: Final = Procedure(number=62, name="blockdev_getsz", args=DeviceArgs, result=INT64)
BLOCKDEV_GETSIZE64: Final = Procedure(number=63, name="blockdev_getsize64", args=DeviceArgs, result=INT64)
BLOCKDEV_FLUSHBUFS: Final = Procedure(number=64, name="blockdev_flushbufs", args=DeviceArgs, result=VOID)
BLOCKDEV_REREADPT: Final = Procedure(number=65, name="blockdev_rereadpt", args=DeviceArgs, result=VOID)
BLOCKDEV_SETRA: Final = Procedure(number=424, name="blockdev_setra", args=BlockdevSetraArgs, result=VOID)
BLKDISCARD: Final = Procedure(number=417, name="blkdiscard", args=DeviceArgs, result=VOID)
BLKDISCARDZEROES: Final = Procedure(number=418, name="blkdiscardzeroes", args=DeviceArgs, result=BOOL)
FINDFS_UUID: Final = Procedure(number=265, name="findfs_uuid", args=FindfsUuidArgs, result=STRING)
FINDFS_LABEL: Final = Procedure(number=266, name="findfs_label", args=FindfsLabelArgs, result=STRING)
FINDFS_PARTUUID: Final = Procedure(number=514, name="findfs_partuuid", args=FindfsUuidArgs, result=STRING)
FINDFS_PARTLABEL: Final = Procedure(number=515, name="findfs_partlabel", args=FindfsLabelArgs, result=STRING)
SCRUB_DEVICE: Final = Procedure(number=114, name="scrub_device", args=DeviceArgs, result=VOID)
