"""What is on the block devices: types, labels, UUIDs."""

import re
from errno import EINVAL
from os import strerror

from daemon.command import run
from daemon.devices import disks, partitions, wire_name
from daemon.mountables import volume_of
from daemon.registry import handles
from daemon.session import Session
from rpc import procedures
from rpc.arguments import DeviceArgs, MountableArgs, NoArgs
from rpc.codec import Pairs
from rpc.procedures.lvm import LvmCanonicalLvNameArgs
from rpc.types import InternalMountable


def _tag(mountable: str, tag: str) -> str:
    """Return what libblkid reads from a device, empty if it recognises nothing (its status is 2 then)."""
    output = run(["blkid", "-p", "-o", "value", "-s", tag, volume_of(mountable).device], accept=(0, 2))
    return output.decode("utf-8", "surrogateescape").rstrip("\n")


@handles(procedures.VFS_TYPE)
def vfs_type(_session: Session, args: MountableArgs) -> str:
    """Return the type of a filesystem, empty if nothing is recognised."""
    return _tag(args.mountable, "TYPE")


@handles(procedures.VFS_LABEL)
def vfs_label(_session: Session, args: MountableArgs) -> str:
    """Return the label of a filesystem, empty if it has none."""
    return _tag(args.mountable, "LABEL")


@handles(procedures.VFS_UUID)
def vfs_uuid(_session: Session, args: MountableArgs) -> str:
    """Return the UUID of a filesystem, empty if it has none."""
    return _tag(args.mountable, "UUID")


@handles(procedures.BLKID)
def blkid(_session: Session, args: DeviceArgs) -> Pairs:
    """Return all that blkid knows of a device."""
    text = run(["blkid", "-p", "-i", "-o", "export", args.device], accept=(0, 2)).decode("utf-8", "surrogateescape")
    pairs = [line.partition("=") for line in text.splitlines() if "=" in line]
    return [(key, value) for key, _, value in pairs if key != "DEVNAME"]


@handles(procedures.LIST_FILESYSTEMS)
def list_filesystems(_session: Session, _args: NoArgs) -> Pairs:
    """Return every filesystem and its type: disks without partitions, then partitions, then logical volumes."""
    parts = partitions()
    divided = {re.sub(r"\d+\Z", "", part) for part in parts}
    whole = [path for path in (f"/dev/{disk}" for disk in disks()) if path not in divided]
    rows = [(wire_name(path), _tag(path, "TYPE") or "unknown") for path in [*whole, *parts]]
    if any(kind == "LVM2_member" for _, kind in rows):
        rows += [(volume, _tag(volume, "TYPE") or "unknown") for volume in _logical_volumes()]
    hidden = ("crypto_LUKS", "BitLocker")
    return [(name, kind) for name, kind in rows if not kind.endswith("_member") and kind not in hidden]


@handles(procedures.LVS)
def lvs(_session: Session, _args: NoArgs) -> list[str]:
    """Name the logical volumes."""
    return _logical_volumes()


def _logical_volumes() -> list[str]:
    """Return ``/dev/VG/LV`` of every active logical volume that holds data for its user, sorted."""
    select = "lv_role = public && lv_skip_activation != yes && lv_active = active"
    names = run(["lvs", "-o", "vg_name,lv_name", "-S", select, "--noheadings", "--separator", "/"])
    return sorted(f"/dev/{name.strip()}" for name in names.decode().splitlines())


@handles(procedures.INTERNAL_PARSE_MOUNTABLE)
def internal_parse_mountable(_session: Session, args: MountableArgs) -> InternalMountable:
    """Take a mountable apart."""
    device, subvolume = volume_of(args.mountable)
    return InternalMountable(1 if subvolume else 0, wire_name(device), subvolume)


@handles(procedures.LVM_CANONICAL_LV_NAME)
def lvm_canonical_lv_name(_session: Session, args: LvmCanonicalLvNameArgs) -> str:
    """Return ``/dev/VG/LV`` for another name of a logical volume."""
    command = ["lvs", "--noheadings", "-o", "vg_name,lv_name", "--separator", "/", "--", args.lvname]
    output = run(command, accept=(0, 5)).decode().strip()
    if not output:
        raise OSError(EINVAL, strerror(EINVAL), args.lvname)
    return f"/dev/{output}"
