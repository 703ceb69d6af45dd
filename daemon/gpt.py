"""What only GUID partition tables have: types, names of 128 bits, attributes; sgdisk(8) knows them."""

import re

from daemon.command import text_of
from daemon.devices import wire_name
from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import procedures
from rpc.arguments import DeviceArgs
from rpc.procedures.partitions import (
    PartDelArgs,
    PartSetDiskGuidArgs,
    PartSetGptAttributesArgs,
    PartSetGptTypeArgs,
)


def _sgdisk(device: str, *words: str) -> str:
    """Run sgdisk; its errors are on its standard output (gdisk 1.0.9), and it fails with status 0 at times."""
    try:
        return text_of(["sgdisk", device, *words])
    except CallError as exc:
        raise CallError(f"{wire_name(device)}: sgdisk {' '.join(words)}: {exc}") from exc


def _checked_number(partnum: int) -> int:
    if partnum < 1:
        raise CallError(f"partition {partnum}: partitions are counted from 1")
    return partnum


def _checked_guid(guid: str) -> str:
    """Return a GUID with dashes; braces around it and missing dashes are put right."""
    digits = guid.strip("{}").replace("-", "")
    if not re.fullmatch(r"[0-9A-Fa-f]{32}", digits):
        raise CallError(f"{guid}: not a GUID")
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])).upper()


def _field(device: str, partnum: int, name: str) -> str:
    """Return one of the things that sgdisk knows of a partition, its first word."""
    for line in _sgdisk(device, "-i", str(_checked_number(partnum))).splitlines():
        key, colon, value = line.partition(": ")
        if colon and key == name:
            return value.split()[0]
    raise CallError(f"{wire_name(device)}: there is no partition {partnum}")


@handles(procedures.PART_GET_GPT_TYPE)
def part_get_gpt_type(_session: Session, args: PartDelArgs) -> str:
    """Return the GUID of a partition's type; an MBR type is converted."""
    return _field(args.device, args.partnum, "Partition GUID code")


@handles(procedures.PART_SET_GPT_TYPE)
def part_set_gpt_type(_session: Session, args: PartSetGptTypeArgs) -> None:
    """Set the type of a partition."""
    _sgdisk(args.device, "-t", f"{_checked_number(args.partnum)}:{_checked_guid(args.guid)}")


@handles(procedures.PART_GET_GPT_GUID)
def part_get_gpt_guid(_session: Session, args: PartDelArgs) -> str:
    """Return the GUID of a partition itself."""
    return _field(args.device, args.partnum, "Partition unique GUID")


@handles(procedures.PART_SET_GPT_GUID)
def part_set_gpt_guid(_session: Session, args: PartSetGptTypeArgs) -> None:
    """Set the GUID of a partition itself."""
    _sgdisk(args.device, "-u", f"{_checked_number(args.partnum)}:{_checked_guid(args.guid)}")


@handles(procedures.PART_GET_GPT_ATTRIBUTES)
def part_get_gpt_attributes(_session: Session, args: PartDelArgs) -> int:
    """Return the 64 attribute bits of a partition, as a signed number."""
    bits = int(_field(args.device, args.partnum, "Attribute flags"), 16)
    return bits - (1 << 64) if bits >> 63 else bits


@handles(procedures.PART_SET_GPT_ATTRIBUTES)
def part_set_gpt_attributes(_session: Session, args: PartSetGptAttributesArgs) -> None:
    """Set the 64 attribute bits of a partition."""
    _sgdisk(args.device, "-A", f"{_checked_number(args.partnum)}:=:{args.attributes & (1 << 64) - 1:016x}")


@handles(procedures.PART_GET_DISK_GUID)
def part_get_disk_guid(_session: Session, args: DeviceArgs) -> str:
    """Return the GUID of a disk."""
    for line in _sgdisk(args.device, "-p").splitlines():
        if line.startswith("Disk identifier (GUID): "):
            return line.split()[-1]
    raise CallError(f"{wire_name(args.device)}: the disk has no GUID")


@handles(procedures.PART_SET_DISK_GUID)
def part_set_disk_guid(_session: Session, args: PartSetDiskGuidArgs) -> None:
    """Set the GUID of a disk."""
    _sgdisk(args.device, "-U", _checked_guid(args.guid))


@handles(procedures.PART_SET_DISK_GUID_RANDOM)
def part_set_disk_guid_random(_session: Session, args: DeviceArgs) -> None:
    """Give a disk a new GUID."""
    _sgdisk(args.device, "-U", "R")


@handles(procedures.PART_EXPAND_GPT)
def part_expand_gpt(_session: Session, args: DeviceArgs) -> None:
    """Move the second copy of a table to the end of a disk that has grown."""
    _sgdisk(args.device, "-e")
