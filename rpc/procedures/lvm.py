"""Describe, make and change LVM volumes."""

from typing import Final, NamedTuple

from rpc.arguments import DeviceArgs, NoArgs
from rpc.codec import OPAQUE, STRING, STRING_LIST, VOID, Device, Int32, Int64, LvmUuid, codec_of, list_of
from rpc.procedure import Procedure


class LvmPv(NamedTuple):
    """One LVM physical volume as ``pvs`` reports it."""

    pv_name: str
    pv_uuid: LvmUuid
    pv_fmt: str
    pv_size: Int64
    dev_size: Int64
    pv_free: Int64
    pv_used: Int64
    pv_attr: str
    pv_pe_count: Int64
    pv_pe_alloc_count: Int64
    pv_tags: str
    pe_start: Int64
    pv_mda_count: Int64
    pv_mda_free: Int64


class LvmVg(NamedTuple):
    """One LVM volume group as ``vgs`` reports it."""

    vg_name: str
    vg_uuid: LvmUuid
    vg_fmt: str
    vg_attr: str
    vg_size: Int64
    vg_free: Int64
    vg_sysid: str
    vg_extent_size: Int64
    vg_extent_count: Int64
    vg_free_count: Int64
    max_lv: Int64
    max_pv: Int64
    pv_count: Int64
    lv_count: Int64
    snap_count: Int64
    vg_seqno: Int64
    vg_tags: str
    vg_mda_count: Int64
    vg_mda_free: Int64


class LvmLv(NamedTuple):
    """One LVM logical volume as ``lvs`` reports it; percentages are -1.0 where they do not apply."""

    lv_name: str
    lv_uuid: LvmUuid
    lv_attr: str
    lv_major: Int64
    lv_minor: Int64
    lv_kernel_major: Int64
    lv_kernel_minor: Int64
    lv_size: Int64
    seg_count: Int64
    origin: str
    snap_percent: float
    copy_percent: float
    move_pv: str
    lv_tags: str
    mirror_log: str
    modules: str


class PvresizeSizeArgs(NamedTuple):
    """Carry the arguments of ``pvresize_size``."""

    device: Device
    size: Int64


class VgcreateArgs(NamedTuple):
    """Carry the arguments of ``vgcreate``."""

    volgroup: str
    physvols: list[Device]


class VgremoveArgs(NamedTuple):
    """Carry the arguments of ``vgremove``, ``vguuid``, ``vgpvuuids``, ``vglvuuids``, ``vgmeta``."""

    vgname: str


class VgrenameArgs(NamedTuple):
    """Carry the arguments of ``vgrename``."""

    volgroup: str
    newvolgroup: str


class VgchangeUuidArgs(NamedTuple):
    """Carry the arguments of ``vgchange_uuid``."""

    vg: str


class VgActivateArgs(NamedTuple):
    """Carry the arguments of ``vg_activate``."""

    activate: bool
    volgroups: list[str]


class VgActivateAllArgs(NamedTuple):
    """Carry the arguments of ``vg_activate_all``, ``lvm_scan``."""

    activate: bool


class LvcreateArgs(NamedTuple):
    """Carry the arguments of ``lvcreate``."""

    logvol: str
    volgroup: str
    mbytes: Int32


class LvcreateFreeArgs(NamedTuple):
    """Carry the arguments of ``lvcreate_free``."""

    logvol: str
    volgroup: str
    percent: Int32


class LvrenameArgs(NamedTuple):
    """Carry the arguments of ``lvrename``."""

    logvol: str
    newlogvol: str


class LvresizeArgs(NamedTuple):
    """Carry the arguments of ``lvresize``."""

    device: Device
    mbytes: Int32


class LvresizeFreeArgs(NamedTuple):
    """Carry the arguments of ``lvresize_free``."""

    lv: Device
    percent: Int32


class LvmCanonicalLvNameArgs(NamedTuple):
    """Carry the arguments of ``lvm_canonical_lv_name``."""

    lvname: str


class LvmSetFilterArgs(NamedTuple):
    """Carry the arguments of ``lvm_set_filter``."""

    devices: list[Device]


PVS: Final = Procedure(number=9, name="pvs", args=NoArgs, result=STRING_LIST)
VGS: Final = Procedure(number=10, name="vgs", args=NoArgs, result=STRING_LIST)
LVS: Final = Procedure(number=11, name="lvs", args=NoArgs, result=STRING_LIST)
PVS_FULL: Final = Procedure(number=12, name="pvs_full", args=NoArgs, result=list_of(codec_of(LvmPv)))
VGS_FULL: Final = Procedure(number=13, name="vgs_full", args=NoArgs, result=list_of(codec_of(LvmVg)))
LVS_FULL: Final = Procedure(number=14, name="lvs_full", args=NoArgs, result=list_of(codec_of(LvmLv)))
PVCREATE: Final = Procedure(number=39, name="pvcreate", args=DeviceArgs, result=VOID)
PVREMOVE: Final = Procedure(number=79, name="pvremove", args=DeviceArgs, result=VOID)
PVRESIZE: Final = Procedure(number=98, name="pvresize", args=DeviceArgs, result=VOID)
PVRESIZE_SIZE: Final = Procedure(number=249, name="pvresize_size", args=PvresizeSizeArgs, result=VOID)
PVUUID: Final = Procedure(number=222, name="pvuuid", args=DeviceArgs, result=STRING)
PVCHANGE_UUID: Final = Procedure(number=338, name="pvchange_uuid", args=DeviceArgs, result=VOID)
PVCHANGE_UUID_ALL: Final = Procedure(number=339, name="pvchange_uuid_all", args=NoArgs, result=VOID)
VGCREATE: Final = Procedure(number=40, name="vgcreate", args=VgcreateArgs, result=VOID)
VGREMOVE: Final = Procedure(number=78, name="vgremove", args=VgremoveArgs, result=VOID)
VGRENAME: Final = Procedure(number=220, name="vgrename", args=VgrenameArgs, result=VOID)
VGUUID: Final = Procedure(number=223, name="vguuid", args=VgremoveArgs, result=STRING)
VGPVUUIDS: Final = Procedure(number=225, name="vgpvuuids", args=VgremoveArgs, result=STRING_LIST)
VGLVUUIDS: Final = Procedure(number=226, name="vglvuuids", args=VgremoveArgs, result=STRING_LIST)
VGMETA: Final = Procedure(number=315, name="vgmeta", args=VgremoveArgs, result=OPAQUE)
VGSCAN: Final = Procedure(number=232, name="vgscan", args=NoArgs, result=VOID)
VGCHANGE_UUID: Final = Procedure(number=340, name="vgchange_uuid", args=VgchangeUuidArgs, result=VOID)
VGCHANGE_UUID_ALL: Final = Procedure(number=341, name="vgchange_uuid_all", args=NoArgs, result=VOID)
VG_ACTIVATE: Final = Procedure(number=104, name="vg_activate", args=VgActivateArgs, result=VOID)
VG_ACTIVATE_ALL: Final = Procedure(number=103, name="vg_activate_all", args=VgActivateAllArgs, result=VOID)
LVCREATE: Final = Procedure(number=41, name="lvcreate", args=LvcreateArgs, result=VOID)
LVCREATE_FREE: Final = Procedure(number=312, name="lvcreate_free", args=LvcreateFreeArgs, result=VOID)
LVREMOVE: Final = Procedure(number=77, name="lvremove", args=DeviceArgs, result=VOID)
LVRENAME: Final = Procedure(number=219, name="lvrename", args=LvrenameArgs, result=VOID)
LVRESIZE: Final = Procedure(number=105, name="lvresize", args=LvresizeArgs, result=VOID)
LVRESIZE_FREE: Final = Procedure(number=238, name="lvresize_free", args=LvresizeFreeArgs, result=VOID)
LVUUID: Final = Procedure(number=224, name="lvuuid", args=DeviceArgs, result=STRING)
LVM_REMOVE_ALL: Final = Procedure(number=48, name="lvm_remove_all", args=NoArgs, result=VOID)
LVM_CANONICAL_LV_NAME: Final = Procedure(
    number=277, name="lvm_canonical_lv_name", args=LvmCanonicalLvNameArgs, result=STRING
)
LVM_SET_FILTER: Final = Procedure(number=255, name="lvm_set_filter", args=LvmSetFilterArgs, result=VOID)
LVM_CLEAR_FILTER: Final = Procedure(number=256, name="lvm_clear_filter", args=NoArgs, result=VOID)
LVM_SCAN: Final = Procedure(number=506, name="lvm_scan", args=VgActivateAllArgs, result=VOID)
