"""What block devices there are: disks, their partitions, arrays, mappings."""

import os
import re
from contextlib import suppress
from typing import Final

from daemon.assembly import assemble
from daemon.devices import (
    disks,
    labelled_disks,
    letters,
    mapping_of,
    partitions,
    partitions_of,
    wire_name,
)
from daemon.registry import handles
from daemon.session import Session
from rpc import procedures
from rpc.arguments import DeviceArgs, NoArgs
from rpc.codec import Pairs

_SYS_BLOCK: Final = "/sys/block"
_9P_DEVICES: Final = "/sys/bus/virtio/drivers/9pnet_virtio"


def arrays() -> list[str]:
    """Return the kernel's names of the MD arrays, such as ``md127``, sorted."""
    assemble()
    names = (name for name in os.listdir(_SYS_BLOCK) if re.fullmatch(r"md\d+", name))
    return sorted(name for name in names if os.path.isdir(f"{_SYS_BLOCK}/{name}/md"))


def _mappings() -> list[tuple[str, str]]:
    """Return UUID and name of every device-mapper device."""
    assemble()
    return [mapping_of(f"{_SYS_BLOCK}/{name}/dm") for name in os.listdir(_SYS_BLOCK) if name.startswith("dm-")]


def mappings() -> list[str]:
    """Return the paths of the device-mapper devices that are no logical volumes, sorted."""
    return sorted(f"/dev/mapper/{name}" for uuid, name in _mappings() if not uuid.startswith("LVM-"))


def has_volumes() -> bool:
    """Tell whether any logical volume is active."""
    return any(uuid.startswith("LVM-") for uuid, _ in _mappings())


@handles(procedures.LIST_DEVICES)
def list_devices(_session: Session, _args: NoArgs) -> list[str]:
    """Name the whole disks."""
    return [f"/dev/sd{letters(index)}" for index in range(len(disks()))]


@handles(procedures.NR_DEVICES)
def nr_devices(_session: Session, _args: NoArgs) -> int:
    """Count the whole disks."""
    return len(disks())


@handles(procedures.LIST_PARTITIONS)
def list_partitions(_session: Session, _args: NoArgs) -> list[str]:
    """Name the partitions of disks, then those of arrays."""
    of_arrays = [f"/dev/{part}" for array in arrays() for _, part in partitions_of(array)]
    return [wire_name(path) for path in [*partitions(), *of_arrays]]


@handles(procedures.LIST_MD_DEVICES)
def list_md_devices(_session: Session, _args: NoArgs) -> list[str]:
    """Name the MD arrays."""
    return [f"/dev/{name}" for name in arrays()]


@handles(procedures.LIST_DM_DEVICES)
def list_dm_devices(_session: Session, _args: NoArgs) -> list[str]:
    """Name the device-mapper devices that are no logical volumes."""
    return mappings()


@handles(procedures.LIST_DISK_LABELS)
def list_disk_labels(_session: Session, _args: NoArgs) -> Pairs:
    """Return the label that each disk was added with, and the disk."""
    return [(label, wire_name(f"/dev/{name}")) for label, name in labelled_disks().items()]


@handles(procedures.IS_WHOLE_DEVICE)
def is_whole_device(_session: Session, args: DeviceArgs) -> bool:
    """Tell whether a device is a disk: not a part of one, nor made of others, which have no hardware behind them."""
    return os.path.exists(f"{_SYS_BLOCK}/{os.path.basename(os.path.realpath(args.device))}/device")


@handles(procedures.LIST_9P)
def list_9p(_session: Session, _args: NoArgs) -> list[str]:
    """Name the directories of the host that qemu offers: their mount tags."""
    tags = []
    with suppress(FileNotFoundError):  # the driver comes with the first of them
        for name in os.listdir(_9P_DEVICES):
            with suppress(OSError), open(f"{_9P_DEVICES}/{name}/mount_tag", "rb") as file:
                tags.append(os.fsdecode(file.read().rstrip(b"\0\n")))
    return sorted(tags)


@handles(procedures.LIST_LDM_VOLUMES)
def list_ldm_volumes(_session: Session, _args: NoArgs) -> list[str]:
    """Name the volumes of Windows' dynamic disks: none, for nothing in the appliance assembles them."""
    return []


@handles(procedures.LIST_LDM_PARTITIONS)
def list_ldm_partitions(_session: Session, _args: NoArgs) -> list[str]:
    """Name the partitions of Windows' dynamic disks: none, as above."""
    return []
