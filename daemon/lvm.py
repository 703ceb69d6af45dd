"""LVM: what volumes there are, and their names."""

import os
from collections.abc import Sequence
from errno import EINVAL
from os import strerror
from typing import Any, Final, TypeVar

from daemon.assembly import assemble
from daemon.command import lines_of, run
from daemon.devices import checked_device, wire_name
from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import procedures
from rpc.arguments import DeviceArgs, MountableArgs, NoArgs
from rpc.codec import Int64, LvmUuid, field_kinds
from rpc.mountables import volume_of
from rpc.procedures.lvm import LvmCanonicalLvNameArgs, LvmLv, LvmPv, LvmVg, VgremoveArgs

RowT = TypeVar("RowT", LvmPv, LvmVg, LvmLv)
FILTER: Final = "/run/lvm/guestfsd.filter"
"""Holds LVM's setting while ``lvm_set_filter`` is in force, for every process of the daemon."""
_SEPARATOR: Final = "\t"


def lvm(*words: str, accept: Sequence[int] = (0,)) -> list[str]:
    """Run an LVM command on the volumes of the disks; return the lines it wrote."""
    assemble()
    return lines_of(_command(words), accept=accept)


def lvm_bytes(*words: str) -> bytes:
    """Run an LVM command; return what it wrote."""
    assemble()
    return run(_command(words))


def _command(words: Sequence[str]) -> list[str]:
    command, *rest = words
    try:
        with open(FILTER) as file:
            return ["lvm", command, "--config", file.read(), *rest]
    except FileNotFoundError:
        return ["lvm", *words]


def _report(command: str, *words: str) -> list[str]:
    return lvm(command, "--noheadings", *words)


def _full(command: str, row: type[RowT]) -> list[RowT]:
    """Return a report with all fields of a structure: bytes, counts, percentages -1 where there are none."""
    kinds = field_kinds(row)
    words = ("--noheadings", "--nosuffix", "--units", "b", "--separator", _SEPARATOR, "-o", ",".join(kinds))
    text = lvm_bytes(command, *words).decode("utf-8", "surrogateescape")
    lines = [line.lstrip(" ").split(_SEPARATOR) for line in text.splitlines() if line.strip()]
    rows = [[_value(kind, field) for kind, field in zip(kinds.values(), line, strict=True)] for line in lines]
    return [row._make(fields) for fields in rows]


def _value(kind: Any, field: str) -> object:
    if kind is Int64:
        return int(field) if field else -1
    if kind is float:
        return float(field) if field else -1.0
    return field.replace("-", "") if kind is LvmUuid else field


@handles(procedures.PVS)
def pvs(_session: Session, _args: NoArgs) -> list[str]:
    """Name the devices that are physical volumes; one that is missing has no name but ``[unknown]``."""
    return sorted(wire_name(name) for name in _report("pvs", "-o", "pv_name") if name.startswith("/dev/"))


@handles(procedures.VGS)
def vgs(_session: Session, _args: NoArgs) -> list[str]:
    """Name the volume groups."""
    return sorted(_report("vgs", "-o", "vg_name"))


def logical_volumes(*conditions: str) -> list[str]:
    """Return ``/dev/VG/LV`` of every logical volume that holds data for its user, sorted."""
    select = " && ".join(("lv_role = public", "lv_skip_activation != yes", *conditions))
    return sorted(f"/dev/{name}" for name in _report("lvs", "-o", "vg_name,lv_name", "-S", select, "--separator", "/"))


@handles(procedures.LVS)
def lvs(_session: Session, _args: NoArgs) -> list[str]:
    """Name the logical volumes, active or not."""
    return logical_volumes()


@handles(procedures.PVS_FULL)
def pvs_full(_session: Session, _args: NoArgs) -> list[LvmPv]:
    """Describe the physical volumes."""
    return [row._replace(pv_name=wire_name(row.pv_name)) for row in _full("pvs", LvmPv)]


@handles(procedures.VGS_FULL)
def vgs_full(_session: Session, _args: NoArgs) -> list[LvmVg]:
    """Describe the volume groups."""
    return _full("vgs", LvmVg)


@handles(procedures.LVS_FULL)
def lvs_full(_session: Session, _args: NoArgs) -> list[LvmLv]:
    """Describe the logical volumes."""
    return _full("lvs", LvmLv)


def _uuid(command: str, field: str, name: str) -> str:
    return _report(command, "-o", field, "--", name)[0]


@handles(procedures.PVUUID)
def pvuuid(_session: Session, args: DeviceArgs) -> str:
    """Return the UUID of a physical volume, with dashes."""
    return _uuid("pvs", "pv_uuid", args.device)


@handles(procedures.VGUUID)
def vguuid(_session: Session, args: VgremoveArgs) -> str:
    """Return the UUID of a volume group, with dashes."""
    return _uuid("vgs", "vg_uuid", args.vgname)


@handles(procedures.LVUUID)
def lvuuid(_session: Session, args: DeviceArgs) -> str:
    """Return the UUID of a logical volume, with dashes."""
    return _uuid("lvs", "lv_uuid", args.device)


@handles(procedures.VGPVUUIDS)
def vgpvuuids(_session: Session, args: VgremoveArgs) -> list[str]:
    """Return the UUIDs of a group's physical volumes."""
    return _report("vgs", "-o", "pv_uuid", "--", args.vgname)


@handles(procedures.VGLVUUIDS)
def vglvuuids(_session: Session, args: VgremoveArgs) -> list[str]:
    """Return the UUIDs of a group's logical volumes."""
    return _report("vgs", "-o", "lv_uuid", "--", args.vgname)


@handles(procedures.VGMETA)
def vgmeta(_session: Session, args: VgremoveArgs) -> bytes:
    """Return the metadata of a group as vgcfgbackup(8) writes them."""
    path = f"/tmp/vgmeta.{os.getpid()}"
    try:
        lvm("vgcfgbackup", "-f", path, "--", args.vgname)
        with open(path, "rb") as file:
            return file.read()
    finally:
        if os.path.exists(path):
            os.unlink(path)


def _canonical(name: str) -> str | None:
    """Return ``/dev/VG/LV`` for any name of a logical volume; None if it is none (lvs ends with 5 then)."""
    output = lvm("lvs", "--noheadings", "-o", "vg_name,lv_name", "--separator", "/", "--", name, accept=(0, 5))
    return f"/dev/{output[0]}" if output else None


@handles(procedures.LVM_CANONICAL_LV_NAME)
def lvm_canonical_lv_name(_session: Session, args: LvmCanonicalLvNameArgs) -> str:
    """Return ``/dev/VG/LV`` for another name of a logical volume."""
    if not args.lvname.startswith("/dev/"):
        raise CallError(f"{args.lvname}: not the name of a device")
    name = _canonical(checked_device(args.lvname))
    if name is None:
        raise OSError(EINVAL, strerror(EINVAL), args.lvname)
    return name


@handles(procedures.IS_LV)
def is_lv(_session: Session, args: MountableArgs) -> bool:
    """Tell whether a device is a logical volume; a subvolume is none."""
    device, subvolume = volume_of(args.mountable)
    return not subvolume and _canonical(device) is not None
