"""Arrays and volumes that the disks hold, put together once in the life of the appliance, when first asked about.

A mount of a plain partition must not pay for the start of mdadm and lvm, under emulation a second; whoever names or
lists anything else does, if there is a disk with a part of one.
"""

import fcntl
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from daemon.command import run_status, wire_names
from daemon.devices import disks, partitions

IN_APPLIANCE: Final = __file__.startswith("/usr/lib/guestfsd/")
"""Anywhere else the disks are somebody's."""
_DONE: Final = "/run/guestfsd.assembled"
_SAID: Final = "/run/guestfsd.assembly"
"""What the programs wrote to standard error."""
_ACTIVATE: Final = ("lvm", "vgchange", "--activate", "ay")
_COMMANDS: Final = (
    ("modprobe", "md_mod", "start_ro=1"),  # nothing is repaired until somebody writes
    ("mdadm", "--assemble", "--scan", "--run", "--auto=yes"),
    _ACTIVATE,
)
_NOTHING_FOUND: Final = 1
"""How mdadm ends when no disk is part of an array."""
_LVM_LABEL: Final = b"LABELONE"
_MD_MAGIC: Final = bytes.fromhex("fc4e2ba9")
_IMSM_MAGIC: Final = b"Intel Raid ISM Cfg Sig. "
_DDF_MAGIC: Final = bytes.fromhex("de11de11")
_SECTOR_BYTES: Final = 512

_is_done = not IN_APPLIANCE


def assemble() -> bool:
    """Start all arrays and activate all volumes, unless that was done before by any process of the daemon.

    What fails, such as half an array, is told to the console and to who asks for it: the rest is there.

    Returns:
        whether it was done just now.
    """
    global _is_done
    if _is_done:
        return False
    marker = os.open(_DONE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(marker, fcntl.LOCK_EX)
        if os.fstat(marker).st_size:
            _is_done = True  # by another process, while we waited or before
            return True
        if any(is_member(device) for device in [*(f"/dev/{disk}" for disk in disks()), *partitions()]):
            for command in _COMMANDS:
                _run(command)
            activate_nested()
        os.write(marker, b"1")
        _is_done = True
    finally:
        os.close(marker)
    return True


def forget() -> None:
    """Have ``assemble`` look at the disks again, when others have come since."""
    global _is_done
    _is_done = not IN_APPLIANCE
    for file in (_DONE, _SAID):
        with suppress(FileNotFoundError):
            os.truncate(file, 0)


def activate_nested() -> None:
    """Find the partitions inside volumes and decrypted devices, and the volumes on those."""
    from daemon.nested import map_partitions

    if any(is_member(device) for device in map_partitions()):
        _run(_ACTIVATE)


def _run(command: Sequence[str]) -> None:
    status, _, errors = run_status(command)
    if status > _NOTHING_FOUND or (status and command[0] != "mdadm"):
        sys.stderr.write(f"guestfsd: {command[0]}: {errors.decode(errors='replace')}")
    with open(_SAID, "ab") as said:
        said.write(errors)


def why_inactive(device: str) -> str:
    """Return what mdadm said of an array that it could not start; empty if the device is none."""
    try:
        with open(f"/sys/class/block/{os.path.basename(os.path.realpath(device))}/md/array_state") as file:
            return why_missing(device) if file.read().strip() in ("clear", "inactive") else ""
    except OSError:
        return ""


def incomplete() -> list[tuple[str, str]]:
    """Return the arrays and volumes that are not there, since they lack disks, and what was said of that."""
    try:
        with open(_SAID, errors="replace") as said:
            volumes = re.findall(r"activation of partial LV ([\w.+-]+/[\w.+-]*\w)", said.read())
    except FileNotFoundError:
        return []
    arrays = [f"/dev/{name}" for name in sorted(os.listdir("/sys/class/block")) if re.fullmatch(r"md\d+", name)]
    missing = dict.fromkeys(f"/dev/{volume}" for volume in volumes)
    found = [(device, why_inactive(device)) for device in arrays] + [(each, why_missing(each)) for each in missing]
    return [(device, reason) for device, reason in found if reason]


def why_missing(device: str) -> str:
    """Return what the programs said of a volume or an array that is not there; empty if nothing."""
    group = device.split("/")[2]
    is_array = re.fullmatch(r"md\d*", group)  # whose name mdadm does not repeat in each line
    mark = re.compile("^mdadm: (?!No arrays found)" if is_array else rf"(?<![\w-]){re.escape(group)}(?![\w-])")
    try:
        with open(_SAID, errors="replace") as said:
            lines = [line.strip().removeprefix("WARNING: ") for line in said if mark.search(line)]
    except FileNotFoundError:
        return ""
    return ", ".join(dict.fromkeys(wire_names(line.partition(".  Use")[0].rstrip(".")) for line in lines))


def is_member(device: str) -> bool:
    """Tell whether a device has the mark of an array's or a volume group's member where mdadm and lvm look for it.

    LVM: one of the first four sectors (lvm2, lib/format_text/layout.h). MD: superblocks 1.1 and 1.2 at 0 and 4 KiB, 1.0
    8 to 12 KiB and 0.90 64 to 128 KiB before the end (md(4)); those of firmware: in the last two sectors.
    """
    try:
        descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as exc:
        sys.stderr.write(f"guestfsd: {device}: {exc.strerror}\n")
        return False
    try:
        size_bytes = os.lseek(descriptor, 0, os.SEEK_END)
        if size_bytes < 256 * 1024:
            return False
        head = os.pread(descriptor, 8192, 0)
        if any(head.startswith(_LVM_LABEL, sector * _SECTOR_BYTES) for sector in range(4)):
            return True
        tail = os.pread(descriptor, 2 * _SECTOR_BYTES, size_bytes - 2 * _SECTOR_BYTES)
        if tail.startswith(_IMSM_MAGIC) or tail.startswith(_DDF_MAGIC, _SECTOR_BYTES):
            return True
        ends = ((size_bytes // _SECTOR_BYTES - 16) & ~7) * _SECTOR_BYTES, (size_bytes & ~0xFFFF) - 0x10000
        marks = [head[:4], head[4096:4100], *(os.pread(descriptor, 4, end) for end in ends)]
        return _MD_MAGIC in marks
    except OSError as exc:  # one bad disk must not keep the others apart
        sys.stderr.write(f"guestfsd: {device}: {exc.strerror}\n")
        return False
    finally:
        os.close(descriptor)
