"""LVM: making, changing, activating and removing volumes."""

import os
from collections.abc import Iterable

from daemon.assembly import activate_nested, assemble
from daemon.devices import real_name
from daemon.lvm import FILTER, lvm, pvs, vgs
from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import procedures
from rpc.arguments import DeviceArgs, NoArgs
from rpc.codec import Device
from rpc.procedures.lvm import (
    LvcreateArgs,
    LvcreateFreeArgs,
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


def _size(number: int, unit: str) -> str:
    """Return a size for lvm, to which a sign means: larger or smaller by so much."""
    if number <= 0:
        raise CallError(f"size {number}: more than 0 is needed")
    return f"{number}{unit}"


def _percent(percent: int) -> str:
    if not 0 <= percent <= 100:
        raise CallError(f"{percent} percent: 0 to 100 is allowed")
    return f"{percent}%FREE"


@handles(procedures.PVCREATE)
def pvcreate(_session: Session, args: DeviceArgs) -> None:
    """Make a device a physical volume, whatever is on it."""
    lvm("pvcreate", "--force", "--yes", args.device)


@handles(procedures.PVREMOVE)
def pvremove(_session: Session, args: DeviceArgs) -> None:
    """Make a device no physical volume any more."""
    lvm("pvremove", "--force", "--force", "--yes", args.device)


@handles(procedures.PVRESIZE)
def pvresize(_session: Session, args: DeviceArgs) -> None:
    """Let a physical volume fill its device."""
    lvm("pvresize", args.device)


@handles(procedures.PVRESIZE_SIZE)
def pvresize_size(_session: Session, args: PvresizeSizeArgs) -> None:
    """Make a physical volume ``size`` bytes long."""
    lvm("pvresize", "--yes", "--setphysicalvolumesize", _size(args.size, "b"), args.device)


@handles(procedures.PVCHANGE_UUID)
def pvchange_uuid(_session: Session, args: DeviceArgs) -> None:
    """Give a physical volume a new UUID."""
    lvm("pvchange", "-u", args.device)


@handles(procedures.PVCHANGE_UUID_ALL)
def pvchange_uuid_all(_session: Session, _args: NoArgs) -> None:
    """Give every physical volume a new UUID."""
    lvm("pvchange", "-u", "-a")


@handles(procedures.VGCREATE)
def vgcreate(_session: Session, args: VgcreateArgs) -> None:
    """Make a volume group of physical volumes; a device that holds something else is refused."""
    if not args.physvols:
        raise CallError(f"{args.volgroup}: a volume group needs a physical volume")
    lvm("vgcreate", "--", args.volgroup, *args.physvols)


@handles(procedures.VGREMOVE)
def vgremove(_session: Session, args: VgremoveArgs) -> None:
    """Remove a volume group and all that is in it."""
    lvm("vgremove", "--force", "--", args.vgname)


@handles(procedures.VGRENAME)
def vgrename(_session: Session, args: VgrenameArgs) -> None:
    """Rename a volume group."""
    lvm("vgrename", "--", args.volgroup, args.newvolgroup)


@handles(procedures.VGCHANGE_UUID)
def vgchange_uuid(_session: Session, args: VgchangeUuidArgs) -> None:
    """Give a volume group a new UUID; it must not be active."""
    lvm("vgchange", "-u", "--", args.vg)


@handles(procedures.VGCHANGE_UUID_ALL)
def vgchange_uuid_all(_session: Session, _args: NoArgs) -> None:
    """Give every volume group a new UUID."""
    lvm("vgchange", "-u")


@handles(procedures.VGSCAN)
def vgscan(_session: Session, _args: NoArgs) -> None:
    """Look for volume groups."""
    lvm("vgscan")


def _activate(groups: Iterable[str], *, wanted: bool) -> None:
    lvm("vgchange", "--activate", "y" if wanted else "n", "--", *groups)


@handles(procedures.VG_ACTIVATE)
def vg_activate(_session: Session, args: VgActivateArgs) -> None:
    """Activate volume groups or take them out of use; all if none is named."""
    _activate(args.volgroups, wanted=args.activate)


@handles(procedures.VG_ACTIVATE_ALL)
def vg_activate_all(_session: Session, args: VgActivateAllArgs) -> None:
    """Activate all volume groups or take them out of use."""
    _activate((), wanted=args.activate)


@handles(procedures.LVM_SCAN)
def lvm_scan(_session: Session, args: VgActivateAllArgs) -> None:
    """Look for volumes on devices that have come up since, such as opened LUKS ones; activate them if wanted."""
    lvm("pvscan")
    if args.activate:
        lvm("vgchange", "--activate", "ay")
        activate_nested()


@handles(procedures.LVCREATE)
def lvcreate(_session: Session, args: LvcreateArgs) -> None:
    """Make a logical volume of ``mbytes`` MiB."""
    lvm("lvcreate", "--yes", "-L", _size(args.mbytes, "m"), "-n", args.logvol, "--", args.volgroup)


@handles(procedures.LVCREATE_FREE)
def lvcreate_free(_session: Session, args: LvcreateFreeArgs) -> None:
    """Make a logical volume of part of the free space."""
    lvm("lvcreate", "--yes", "-l", _percent(args.percent), "-n", args.logvol, "--", args.volgroup)


@handles(procedures.LVREMOVE)
def lvremove(_session: Session, args: DeviceArgs) -> None:
    """Remove a logical volume."""
    lvm("lvremove", "--force", "--", args.device)


@handles(procedures.LVRENAME)
def lvrename(_session: Session, args: LvrenameArgs) -> None:
    """Rename a logical volume; both names are ``/dev/VG/LV``."""
    lvm("lvrename", "--", args.logvol, args.newlogvol)


@handles(procedures.LVRESIZE)
def lvresize(_session: Session, args: LvresizeArgs) -> None:
    """Make a logical volume ``mbytes`` MiB long, larger or smaller."""
    lvm("lvresize", "--force", "-L", _size(args.mbytes, "m"), "--", args.device)


@handles(procedures.LVRESIZE_FREE)
def lvresize_free(_session: Session, args: LvresizeFreeArgs) -> None:
    """Add part of the free space to a logical volume."""
    try:
        lvm("lvresize", "--force", "-l", f"+{_percent(args.percent)}", "--", args.lv)
    except CallError as exc:
        if "matches existing size" not in str(exc):  # that is, no space is free
            raise


@handles(procedures.LVM_REMOVE_ALL)
def lvm_remove_all(session: Session, args: NoArgs) -> None:
    """Remove all volumes, groups and physical volumes."""
    for group in vgs(session, args):
        lvm("vgremove", "--force", "--", group)
    for device in pvs(session, args):
        pvremove(session, DeviceArgs(Device(real_name(device))))


@handles(procedures.LVM_SET_FILTER)
def lvm_set_filter(_session: Session, args: LvmSetFilterArgs) -> None:
    """Let LVM see nothing but these devices."""
    rules = "".join(f'"a|^{device}$|",' for device in args.devices)
    _apply(f'devices {{ filter = [ {rules} "r|.*|" ] }}')


@handles(procedures.LVM_CLEAR_FILTER)
def lvm_clear_filter(_session: Session, _args: NoArgs) -> None:
    """Let LVM see every device again."""
    _apply(None)


def _apply(setting: str | None) -> None:
    """Take all groups out of use, as long as LVM still sees them, then activate those that it sees."""
    assemble()
    _activate((), wanted=False)
    if setting is not None:
        with open(FILTER, "w") as file:
            file.write(setting)
    elif os.path.exists(FILTER):
        os.unlink(FILTER)
    _activate((), wanted=True)
