"""Partition tables: parted(8) reads and makes them; sfdisk(8) knows the types of MBR partitions."""

import os
import re
from errno import EINVAL, ENOENT
from typing import Final

from daemon.command import run, run_status, text_of
from daemon.devices import wire_name
from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import procedures
from rpc.arguments import DeviceArgs
from rpc.procedures.partitions import (
    PartAddArgs,
    PartDelArgs,
    PartInitArgs,
    Partition,
    PartResizeArgs,
    PartSetBootableArgs,
    PartSetMbrIdArgs,
    PartSetNameArgs,
    PartToDevArgs,
)

_KINDS: Final = {"efi": "gpt", "mbr": "msdos", "rdb": "amiga"}
_TABLES: Final = frozenset(("aix", "amiga", "bsd", "dasd", "dvh", "gpt", "mac", "msdos", "pc98", "sun"))
_ROLES: Final = {"p": "primary", "l": "logical", "e": "extended"}
_NAMED: Final = frozenset(("amiga", "dvh", "gpt", "mac", "pc98"))
"""Tables whose partitions have names."""
_EXTENDED_IDS: Final = frozenset((0x05, 0x0F, 0x85))
_MARGIN_SECTORS: Final = 128
"""What ``part_disk`` leaves free at both ends."""


def _parted(device: str, *words: str) -> str:
    """Read or change a table; what parted says is about the device as named on the wire.

    Raises:
        OSError: EINVAL, there is no partition table; ENOENT, there is no such device.
    """
    if not os.path.exists(device):
        raise OSError(ENOENT, "no such device", wire_name(device))
    status, output, errors = run_status(["parted", "-m", "-s", "--", device, *words])
    lines = (output + errors).decode("utf-8", "surrogateescape").splitlines()
    text = "\n".join(line for line in lines if "udevadm" not in line)  # which it misses in the appliance
    if "unrecognised disk label" in text:
        raise OSError(EINVAL, "unrecognised disk label", wire_name(device))
    if status:
        raise CallError(f"{wire_name(device)}: {' '.join(text.split())}")
    return text


def _print(device: str) -> list[list[str]]:
    """Return what parted prints for programs: the fields of the disk, then those of each partition."""
    lines = [line.rstrip(";").split(":") for line in _parted(device, "unit", "b", "print").splitlines()]
    return [fields for fields in lines if len(fields) >= 5]


def _row(device: str, partnum: int) -> list[str]:
    _checked_number(partnum)
    for fields in _print(device)[1:]:
        if fields[0] == str(partnum):
            return fields
    raise CallError(f"{wire_name(device)}: there is no partition {partnum}")


def _checked_number(partnum: int) -> str:
    if partnum < 1:
        raise CallError(f"partition {partnum}: partitions are counted from 1")
    return str(partnum)


def _checked_kind(parttype: str) -> str:
    kind = _KINDS.get(parttype, parttype)
    if kind not in _TABLES:
        raise CallError(f"{parttype}: not a kind of partition table that can be made")
    return kind


def _role(prlogex: str) -> str:
    role = _ROLES.get(prlogex, prlogex)
    if role not in _ROLES.values():
        raise CallError(f"{prlogex}: a partition is primary, logical or extended")
    return role


@handles(procedures.PART_INIT)
def part_init(_session: Session, args: PartInitArgs) -> None:
    """Make an empty partition table."""
    _parted(args.device, "mklabel", _checked_kind(args.parttype))


@handles(procedures.PART_ADD)
def part_add(_session: Session, args: PartAddArgs) -> None:
    """Add a partition, its last sector inclusive; a negative one counts from the end of the disk."""
    role = _role(args.prlogex)
    if args.startsect < 0:
        raise CallError(f"startsect {args.startsect} is negative")
    _parted(args.device, "mkpart", role, f"{args.startsect}s", f"{args.endsect}s")


@handles(procedures.PART_DISK)
def part_disk(_session: Session, args: PartInitArgs) -> None:
    """Make a table with one partition over the whole disk."""
    kind = _checked_kind(args.parttype)
    name = "p1" if kind == "gpt" else "primary"
    _parted(args.device, "mklabel", kind, "mkpart", name, f"{_MARGIN_SECTORS}s", f"-{_MARGIN_SECTORS}s")


@handles(procedures.PART_DEL)
def part_del(_session: Session, args: PartDelArgs) -> None:
    """Remove a partition from the table."""
    _parted(args.device, "rm", _checked_number(args.partnum))


@handles(procedures.PART_RESIZE)
def part_resize(_session: Session, args: PartResizeArgs) -> None:
    """Move the end of a partition, to a sector that is inclusive; a negative one counts from the end of the disk."""
    _parted(args.device, "unit", "s", "resizepart", _checked_number(args.partnum), f"{args.endsect}s")


@handles(procedures.PART_LIST)
def part_list(_session: Session, args: DeviceArgs) -> list[Partition]:
    """Return the partitions of a disk in the order they lie there, in bytes; ``part_end`` is the last byte."""
    return [
        Partition(int(number), *(int(field.rstrip("B")) for field in (start, end, size)))
        for number, start, end, size, *_ in _print(args.device)[1:]
    ]


@handles(procedures.PART_GET_PARTTYPE)
def part_get_parttype(_session: Session, args: DeviceArgs) -> str:
    """Return the kind of a disk's partition table: gpt, msdos and so on."""
    return _print(args.device)[0][5]


@handles(procedures.PART_SET_BOOTABLE)
def part_set_bootable(_session: Session, args: PartSetBootableArgs) -> None:
    """Set or clear the boot flag of a partition."""
    _parted(args.device, "set", _checked_number(args.partnum), "boot", "on" if args.bootable else "off")


@handles(procedures.PART_GET_BOOTABLE)
def part_get_bootable(_session: Session, args: PartDelArgs) -> bool:
    """Tell whether a partition has the boot flag."""
    return "boot" in _row(args.device, args.partnum)[-1].split(", ")


@handles(procedures.PART_SET_NAME)
def part_set_name(_session: Session, args: PartSetNameArgs) -> None:
    """Name a partition, if its table holds names."""
    quoted = args.name.replace("\\", r"\\").replace('"', r"\"")
    _parted(args.device, "name", _checked_number(args.partnum), f'"{quoted}"')


@handles(procedures.PART_GET_NAME)
def part_get_name(session: Session, args: PartDelArgs) -> str:
    """Return the name of a partition; what separates fields has a backslash before it."""
    kind = part_get_parttype(session, DeviceArgs(args.device))
    if kind not in _NAMED:
        raise CallError(f"{wire_name(args.device)}: partitions of {kind} tables have no names")
    return re.sub(r"\\(.)", r"\1", ":".join(_row(args.device, args.partnum)[5:-1]))


def _mbr_id(device: str, partnum: int) -> int:
    text = text_of(["sfdisk", "--part-type", device, _checked_number(partnum)])
    if "-" in text:
        raise CallError(f"{wire_name(device)}: the type of partition {partnum} is a GUID")
    return int(text, 16)


@handles(procedures.PART_GET_MBR_ID)
def part_get_mbr_id(_session: Session, args: PartDelArgs) -> int:
    """Return the type of an MBR partition, a byte."""
    return _mbr_id(args.device, args.partnum)


@handles(procedures.PART_SET_MBR_ID)
def part_set_mbr_id(_session: Session, args: PartSetMbrIdArgs) -> None:
    """Set the type of an MBR partition, a byte."""
    run(["sfdisk", "--quiet", "--part-type", args.device, _checked_number(args.partnum), f"{args.idbyte:x}"])


@handles(procedures.PART_GET_MBR_PART_TYPE)
def part_get_mbr_part_type(session: Session, args: PartDelArgs) -> str:
    """Tell what an MBR partition is: primary, logical or extended; those of other tables are all primary."""
    _row(args.device, args.partnum)
    if part_get_parttype(session, DeviceArgs(args.device)) != "msdos":
        return "primary"
    if args.partnum > 4:
        return "logical"
    return "extended" if _mbr_id(args.device, args.partnum) in _EXTENDED_IDS else "primary"


def _place(partition: str) -> tuple[str, int]:
    """Return the kernel's path of a partition's disk, and the partition's number."""
    entry = os.path.realpath(f"/sys/class/block/{os.path.basename(os.path.realpath(partition))}")
    try:
        with open(f"{entry}/partition", "rb") as file:
            return f"/dev/{os.path.basename(os.path.dirname(entry))}", int(file.read())
    except FileNotFoundError as exc:
        raise CallError(f"{wire_name(partition)}: not a partition") from exc


@handles(procedures.PART_TO_DEV)
def part_to_dev(_session: Session, args: PartToDevArgs) -> str:
    """Name the disk that a partition is on."""
    return wire_name(_place(args.partition)[0])


@handles(procedures.PART_TO_PARTNUM)
def part_to_partnum(_session: Session, args: PartToDevArgs) -> int:
    """Return the number of a partition."""
    return _place(args.partition)[1]
