"""What is on the block devices: types, labels, UUIDs."""

import re

from daemon.command import run
from daemon.devices import disks, partitions, wire_name
from daemon.mounts import filesystem_type
from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import procedures
from rpc.arguments import DeviceArgs, LvmCanonicalLvNameArgs, MountableArgs, NoArgs
from rpc.codec import Pairs
from rpc.types import InternalMountable


def _tag(device: str, tag: str) -> str:
    output = run(["blkid", "-p", "-o", "value", "-s", tag, device], accept=(0, 2))
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
    """Return every filesystem and its type: disks without partitions, then partitions (section 5.9)."""
    parts = partitions()
    divided = {re.sub(r"\d+\Z", "", part) for part in parts}
    whole = [path for path in (f"/dev/{disk}" for disk in disks()) if path not in divided]
    rows = [(wire_name(path), filesystem_type(path) or "unknown") for path in [*whole, *parts]]
    hidden = ("crypto_LUKS", "BitLocker")
    return [(name, kind) for name, kind in rows if not kind.endswith("_member") and kind not in hidden]


@handles(procedures.INTERNAL_PARSE_MOUNTABLE)
def internal_parse_mountable(_session: Session, args: MountableArgs) -> InternalMountable:
    """Take a mountable apart."""
    return InternalMountable(0, wire_name(args.mountable), "")


@handles(procedures.LVM_CANONICAL_LV_NAME)
def lvm_canonical_lv_name(_session: Session, args: LvmCanonicalLvNameArgs) -> str:
    """Return ``/dev/VG/LV`` for another name of a logical volume."""
    name = args.lvname
    output = run(["lvs", "--noheadings", "-o", "vg_name,lv_name", "--separator", "/", name]).decode().strip()
    if not output:
        raise CallError(f"{name}: not a logical volume")
    return f"/dev/{output}"
