"""What a tree of Windows says of itself: by the hives of its registry."""

import os
import re
import sys
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

from daemon.elf import arch_of
from daemon.guest_view import GuestView
from daemon.hive import Hive, HiveError, number_of, text_of
from daemon.unknown_system import UNKNOWN, UNKNOWN_SYSTEM
from rpc.procedures.inspection import System

T = TypeVar("T")

_ROOTS: Final = (b"Windows", b"WINNT", b"WIN32", b"WIN", b"ReactOS")
_ELEVEN_SINCE_BUILD: Final = 22000
"""Windows 11 says of itself that it is Windows 10."""
_GPT_MARK: Final = b"DMIO:ID:"
_GPT_BYTES: Final = 24
_MBR_BYTES: Final = 12


class Place(NamedTuple):
    """Where Windows says that a drive is: a partition's own identifier, or its disk's and where it begins there.

    Attributes:
        partition_uuid: of GPT, in lower case; empty for MBR.
        disk_id: of MBR, eight hexadecimal digits; empty for GPT.
        start_bytes: of MBR.
    """

    partition_uuid: str
    disk_id: str
    start_bytes: int


def windows_system(view: GuestView) -> tuple[System, dict[str, Place]] | None:
    """Return the Windows whose system drive this is, and where it says that its drives are; None if it is none."""
    root = next((name for name in _ROOTS if view.spelled(name, b"System32", b"config")), b"")
    if not root:
        return None
    software, system = (view.spelled(root, b"System32", b"config", name) for name in (b"SOFTWARE", b"SYSTEM"))
    found = UNKNOWN_SYSTEM._replace(
        kind="windows",
        distro="windows",
        arch=arch_of(view, [view.spelled(root, b"System32", b"cmd.exe")]),
        systemroot=os.fsdecode(view.spelled(root)),
        software_hive=os.fsdecode(software),
        system_hive=os.fsdecode(system),
    )
    found = _from_hive(view, software, lambda hive: _with_version(found, hive), found)
    found = _from_hive(view, system, lambda hive: _with_names(found, hive), found)
    return found, _from_hive(view, system, _places, {})


def _from_hive(view: GuestView, path: bytes, told: Callable[[Hive], T], otherwise: T) -> T:
    """Return what a hive of the registry tells; something else if it is missing or damaged."""
    with view.opened(path) as descriptor:
        if descriptor is None:
            return otherwise
        try:
            return told(Hive(descriptor))
        except (HiveError, OSError) as exc:
            sys.stderr.write(f"guestfsd: {os.fsdecode(path)}: {exc}\n")
            return otherwise


def _with_version(found: System, hive: Hive) -> System:
    values = hive.values(hive.key("Microsoft", "Windows NT", "CurrentVersion"))
    major, minor = (number_of(values.get(f"Current{name}VersionNumber")) for name in ("Major", "Minor"))
    if major is None or minor is None:
        numbers = re.fullmatch(r"(\d{1,4})\.(\d{1,4})", text_of(values.get("CurrentVersion")))
        major, minor = (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
    build = text_of(values.get("CurrentBuildNumber")) or text_of(values.get("CurrentBuild"))
    product = text_of(values.get("ProductName")) or UNKNOWN
    if build.isdecimal() and int(build[:9]) >= _ELEVEN_SINCE_BUILD:
        product = product.replace("Windows 10", "Windows 11")
    variant = text_of(values.get("InstallationType")) or UNKNOWN
    return found._replace(
        product_name=product, product_variant=variant, major_version=major, minor_version=minor, build_id=build
    )


def _with_names(found: System, hive: Hive) -> System:
    current = number_of(hive.values(hive.key("Select")).get("Current"))
    if current is None:
        return found
    control_set = f"ControlSet{current:03d}"
    network = hive.values(hive.key(control_set, "Services", "Tcpip", "Parameters"))
    computer = hive.values(hive.key(control_set, "Control", "ComputerName", "ComputerName"))
    values = (network.get("Hostname"), network.get("NV Hostname"), computer.get("ComputerName"))
    name = next((text for text in map(text_of, values) if text), UNKNOWN)
    return found._replace(control_set=control_set, hostname=name)


def _places(hive: Hive) -> dict[str, Place]:
    """Return where the drives with letters are, as the key MountedDevices tells."""
    places = {}
    for name, value in hive.values(hive.key("MountedDevices")).items():
        match = re.fullmatch(r"\\DosDevices\\([A-Z]):", name)
        if match is None:
            continue
        data = value.data
        if len(data) == _MBR_BYTES:
            places[match[1]] = Place("", data[3::-1].hex(), int.from_bytes(data[4:], "little"))
        elif data.startswith(_GPT_MARK) and len(data) == _GPT_BYTES:
            places[match[1]] = Place(_guid(data[len(_GPT_MARK) :]), "", 0)
    return places


def _guid(data: bytes) -> str:
    """Write a GUID as everybody does, its first three numbers being little-endian."""
    parts = data[3::-1], data[5:3:-1], data[7:5:-1], data[8:10], data[10:]
    return "-".join(part.hex() for part in parts)
