"""What is on the disks: partitions, filesystems, volumes, arrays, encryption, as the guest's kernel sees them."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from guestmount_py.handle import Guest
from guestmount_py.inspection import GuestSystem, find_systems_if_possible
from guestmount_py.unlocking import ENCRYPTED_TYPES
from rpc.errors import ProcedureError
from rpc.mountables import volume_of

_SECTOR_BYTES: Final = 512
"""libblkid counts partitions in these, whatever the disk's are."""
_UUID_GROUPS: Final = (6, 4, 4, 4, 4, 4, 6)


class Thing(NamedTuple):
    """One line of the list.

    Attributes:
        kind: disk, partition, array, mapping, encrypted device, physical volume, volume group, logical volume,
            filesystem or system.
        name: as every option takes it: ``/dev/sda1``, ``/dev/VG/LV``, ``btrfsvol:/dev/sda1/NAME``; of a group its name;
            of a system what its root is on.
        type: of what is on it: of a disk its partition table, of an array its level; empty if nothing is recognised,
            ``unknown`` of a filesystem.
        label: of a partition its name in the table, of a system what it calls itself.
        uuid: its own, empty if it has none.
        size_bytes: its length; None of a filesystem that is a part of another.
        parents: names of what it lies on; of a system what it mounts.
        number: of a partition in its table.
        start_bytes: of a partition on its disk.
        part_type: of a partition: a number such as 0x83, or a GUID.
        mountpoints: of a system: where it mounts what, the root first.
    """

    kind: str
    name: str
    type: str = ""
    label: str = ""
    uuid: str = ""
    size_bytes: int | None = None
    parents: tuple[str, ...] = ()
    number: int | None = None
    start_bytes: int | None = None
    part_type: str = ""
    mountpoints: tuple[tuple[str, str], ...] = ()


async def list_disks(guest: Guest, report: Callable[[str], None]) -> list[Thing]:
    """Return all that is on a guest's disks, in the order of their names; whatever is damaged is left out.

    Args:
        guest: launched, with nothing mounted.
        report: takes a line for each filesystem in which no system could be looked for.

    Raises:
        GuestmountError: the daemon does not answer.
    """
    disks, parts = await guest.list_devices(), await guest.list_partitions()
    arrays, mappings = await guest.list_md_devices(), await guest.list_dm_devices()
    facts = {device: await _facts(guest, device) for device in (*disks, *parts, *arrays, *mappings)}
    things = [_disk(device, facts[device]) for device in disks]
    things += [_partition(device, facts[device], (*disks, *arrays)) for device in parts]
    things += [await _array(guest, device, facts[device]) for device in arrays]
    things += [Thing("mapping", device, size_bytes=_size(facts[device])) for device in mappings]
    volumes: list[Thing] = []
    if any(each.get("TYPE") == "LVM2_member" for each in facts.values()):
        volumes = await _volumes(guest)
        for index, volume in enumerate(volumes):
            if volume.kind == "logical volume":
                known = facts[volume.name] = await _facts(guest, volume.name)
                # LVM's size of a snapshot is that of its changes
                volumes[index] = volume._replace(size_bytes=_size(known) or volume.size_bytes)
    filesystems = [_filesystem(name, kind, facts) for name, kind in await guest.list_filesystems()]
    for device, known in facts.items():
        if known.get("TYPE") in ENCRYPTED_TYPES:
            things.append(
                Thing("encrypted device", device, known["TYPE"], uuid=known.get("UUID", ""), size_bytes=_size(known))
            )
    found = await find_systems_if_possible(guest, report)
    for line in found.unread.values():
        report(f"warning: {line}")
    return [*things, *volumes, *filesystems, *[_system(each) for each in found.systems]]


def _system(found: GuestSystem) -> Thing:
    devices = [device for _, device in found.mountpoints]
    parents = tuple(dict.fromkeys(devices))
    return Thing("system", found.root, label=found.title, parents=parents, mountpoints=tuple(found.mountpoints))


async def _facts(guest: Guest, device: str) -> dict[str, str]:
    """Return what blkid says of a device, and its ``size``."""
    facts: dict[str, str] = {}
    with suppress(ProcedureError):
        facts = dict(await guest.blkid(device))
    with suppress(ProcedureError):
        facts["size"] = str(await guest.blockdev_getsize64(device))
    return facts


def _size(facts: dict[str, str]) -> int | None:
    return _number(facts.get("size", ""))


def _number(text: str) -> int | None:
    return int(text, 0) if text.isdecimal() else None


def _disk(device: str, facts: dict[str, str]) -> Thing:
    return Thing("disk", device, facts.get("PTTYPE", ""), uuid=facts.get("PTUUID", ""), size_bytes=_size(facts))


def _partition(device: str, facts: dict[str, str], disks: Sequence[str]) -> Thing:
    start = _number(facts.get("PART_ENTRY_OFFSET", ""))
    return Thing(
        "partition",
        device,
        facts.get("TYPE", ""),
        label=facts.get("PART_ENTRY_NAME", ""),
        uuid=facts.get("PART_ENTRY_UUID", ""),
        size_bytes=_size(facts),
        parents=tuple(sorted((disk for disk in disks if device.startswith(disk)), key=len)[-1:]),
        number=_number(facts.get("PART_ENTRY_NUMBER", "")),
        start_bytes=None if start is None else start * _SECTOR_BYTES,
        part_type=facts.get("PART_ENTRY_TYPE", ""),
    )


async def _array(guest: Guest, device: str, facts: dict[str, str]) -> Thing:
    details: dict[str, str] = {}
    with suppress(ProcedureError):
        details = dict(await guest.md_detail(device))
    members = sorted(value for key, value in details.items() if key.startswith("device_") and key.endswith("_dev"))
    return Thing(
        "array",
        device,
        details.get("level", ""),
        details.get("name", ""),
        details.get("uuid", ""),
        _size(facts),
        tuple(members),
    )


async def _volumes(guest: Guest) -> list[Thing]:
    """Return physical volumes, groups and logical volumes; none if LVM finds nothing whole."""
    try:
        pvs, vgs, lvs, names = await guest.pvs_full(), await guest.vgs_full(), await guest.lvs_full(), await guest.lvs()
    except ProcedureError:
        return []
    by_uuid = {pv.pv_uuid: pv.pv_name for pv in pvs}
    things = [
        Thing("physical volume", pv.pv_name, "lvm2", uuid=_dashed(pv.pv_uuid), size_bytes=pv.pv_size) for pv in pvs
    ]
    for vg in vgs:
        with suppress(ProcedureError):
            members = [by_uuid.get(uuid.replace("-", ""), "missing") for uuid in await guest.vgpvuuids(vg.vg_name)]
            things.append(
                Thing("volume group", vg.vg_name, "lvm2", "", _dashed(vg.vg_uuid), vg.vg_size, tuple(sorted(members)))
            )
    for name in names:
        group, _, volume = name.removeprefix("/dev/").partition("/")
        same = [lv for lv in lvs if lv.lv_name == volume]
        if len(same) > 1:  # in several groups, which the reports do not name
            with suppress(ProcedureError):
                wanted = (await guest.lvuuid(name)).replace("-", "")
                same = [lv for lv in same if lv.lv_uuid == wanted]
        if len(same) == 1:
            uuid, size = _dashed(same[0].lv_uuid), same[0].lv_size
            things.append(Thing("logical volume", name, uuid=uuid, size_bytes=size, parents=(group,)))
    return things


def _dashed(uuid: str) -> str:
    """Return LVM's UUID as its programs write it."""
    groups, rest = [], uuid
    for length in _UUID_GROUPS:
        groups.append(rest[:length])
        rest = rest[length:]
    return "-".join(groups)


def _filesystem(name: str, kind: str, facts: dict[str, dict[str, str]]) -> Thing:
    """Return a filesystem; a subvolume of btrfs has label and UUID of the whole, and no size of its own."""
    device, subvolume = volume_of(name)
    known = facts.get(device, {})
    size = None if subvolume else _size(known)
    return Thing(
        "filesystem",
        name,
        kind,
        known.get("LABEL", ""),
        known.get("UUID", ""),
        size,
        (device,) if subvolume else (),
    )
