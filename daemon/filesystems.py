"""What is on the block devices: types, labels, UUIDs."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from daemon.assembly import assemble
from daemon.command import NOT_RECOGNISED, run, text_of
from daemon.devices import disks, partitions, partitions_of, wire_name
from daemon.disk_writes import device_to_write
from daemon.libblkid import probed
from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import procedures
from rpc.arguments import DeviceArgs, MountableArgs, NoArgs
from rpc.codec import Pairs
from rpc.mountables import mountable_of, volume_of
from rpc.types import InternalMountable

if TYPE_CHECKING:
    from daemon.btrfs import Listed

ENCRYPTED: Final = frozenset(("crypto_LUKS", "BitLocker"))
"""Types of what holds a filesystem, once it is open."""
_HIDDEN_MBR_TYPES: Final = frozenset(("0x5", "0xf", "0x85"))
"""Extended partitions."""
_HIDDEN_GPT_TYPES: Final = frozenset(
    (
        "e3c9e316-0b5c-4db8-817d-f92df00215ae",  # Microsoft reserved
        "5808c8aa-7e8f-42e0-85d2-e1e90434cfb3",  # LDM metadata
        "af9b60a0-1431-4f62-bc68-3311714a69ad",  # LDM data
    )
)


def tag(mountable: str, name: str) -> str:
    """Return what libblkid reads from a device, empty if it recognises nothing."""
    return probed(volume_of(mountable).device).get(name, "")


@handles(procedures.VFS_TYPE)
def vfs_type(_session: Session, args: MountableArgs) -> str:
    """Return the type of a filesystem, empty if nothing is recognised."""
    return tag(args.mountable, "TYPE")


@handles(procedures.VFS_LABEL)
def vfs_label(_session: Session, args: MountableArgs) -> str:
    """Return the label of a filesystem, empty if it has none."""
    return tag(args.mountable, "LABEL")


@handles(procedures.VFS_UUID)
def vfs_uuid(_session: Session, args: MountableArgs) -> str:
    """Return the UUID of a filesystem, empty if it has none."""
    return tag(args.mountable, "UUID")


@handles(procedures.GET_E2LABEL)
def get_e2label(_session: Session, args: DeviceArgs) -> str:
    """Return the label of a filesystem, of whatever type."""
    return tag(args.device, "LABEL")


@handles(procedures.GET_E2UUID)
def get_e2uuid(_session: Session, args: DeviceArgs) -> str:
    """Return the UUID of a filesystem, of whatever type."""
    return tag(args.device, "UUID")


def _export(device: str) -> Pairs:
    """Return all that blkid reads from a device, and from the table that it is a partition of."""
    text = text_of(["blkid", "-p", "-i", "-o", "export", device], accept=NOT_RECOGNISED)
    pairs = [line.partition("=") for line in text.splitlines() if "=" in line]
    return [(key, wire_name(value) if key == "DEVNAME" else value) for key, _, value in pairs]


@handles(procedures.BLKID)
def blkid(_session: Session, args: DeviceArgs) -> Pairs:
    """Return all that blkid knows of a device."""
    return _export(args.device)


class Filesystem(NamedTuple):
    """What may be mounted.

    Attributes:
        mountable: as named on the wire.
        kind: its type, ``unknown`` if nothing is recognised.
        tags: what libblkid tells of its device.
        subvolume: of a btrfs, what a mount of it shows; None if that could not be found out.
    """

    mountable: str
    kind: str
    tags: dict[str, str]
    subvolume: "Listed | None" = None

    @property
    def is_snapshot(self) -> bool:
        """Tell whether it is the state of another subvolume at some time."""
        return self.subvolume is not None and self.subvolume.is_snapshot


def _found_on(device: str) -> Iterator[Filesystem]:
    """Yield a device, and what else can be mounted of it; nothing if it is part of something else."""
    try:
        tags = probed(device)
    except OSError as exc:  # one bad disk must not hide the others
        sys.stderr.write(f"guestfsd: {device}: {exc.strerror}\n")
        return
    kind = tags.get("TYPE", "")
    if kind.endswith("_member"):
        return
    scheme, part_type = tags.get("PART_ENTRY_SCHEME"), tags.get("PART_ENTRY_TYPE")
    if (scheme == "dos" and part_type in _HIDDEN_MBR_TYPES) or (scheme == "gpt" and part_type in _HIDDEN_GPT_TYPES):
        return
    subvolumes = _subvolumes(device) if kind == "btrfs" else []
    yield Filesystem(wire_name(device), kind or "unknown", tags, next(iter(subvolumes), None))
    for subvolume in subvolumes[1:]:
        yield Filesystem(mountable_of(wire_name(device), subvolume.path), kind, tags, subvolume)


def _subvolumes(device: str) -> "list[Listed]":
    """Return the subvolumes of a btrfs, the one that is mounted when none is named first.

    None if it is damaged or incomplete, which must not hide the other devices.
    """
    from daemon.btrfs import mountable_subvolumes

    try:
        return mountable_subvolumes(device)
    except CallError as exc:
        sys.stderr.write(f"guestfsd: subvolumes of {wire_name(device)}: {exc}\n")
        return []


def filesystems() -> list[Filesystem]:
    """Return everything that may be mounted, and what is encrypted, in the order of guestfs-protocol 5.9."""
    from daemon.disks import arrays, has_volumes, mappings
    from daemon.lvm import logical_volumes

    assemble()
    devices = [f"/dev/{disk}" for disk in disks() if not partitions_of(disk)]
    devices += [*mappings(), *partitions()]
    tables = {array: [f"/dev/{name}" for _, name in partitions_of(array)] for array in arrays()}
    devices += [part for parts in tables.values() for part in parts]
    devices += [f"/dev/{array}" for array, parts in tables.items() if not parts]
    if has_volumes():  # to ask lvm costs half a second
        devices += logical_volumes("lv_active = active")
    return [filesystem for device in devices for filesystem in _found_on(device)]


@handles(procedures.LIST_FILESYSTEMS)
def list_filesystems(_session: Session, _args: NoArgs) -> Pairs:
    """Return everything that may be mounted and its type."""
    return [(found.mountable, found.kind) for found in filesystems() if found.kind not in ENCRYPTED]


@handles(procedures.INTERNAL_PARSE_MOUNTABLE)
def internal_parse_mountable(_session: Session, args: MountableArgs) -> InternalMountable:
    """Take a mountable apart."""
    device, subvolume = volume_of(args.mountable)
    return InternalMountable(1 if subvolume else 0, wire_name(device), subvolume)


@handles(procedures.WIPEFS)
def wipefs(_session: Session, args: DeviceArgs) -> None:
    """Wipe the signatures of a device, so that nothing is recognised on it."""
    with device_to_write(args.device):
        run(["wipefs", "--quiet", "-a", "--force", args.device])
