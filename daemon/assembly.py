"""Arrays and volumes that the disks hold, put together once in the life of the appliance, when first asked about.

A mount of a plain partition must not pay for the start of mdadm and lvm, under emulation a second; whoever names or
lists anything else does, if there is a disk with a part of one.
"""

import fcntl
import os
import sys
from typing import Final

from daemon.command import run_status
from daemon.devices import disks, partitions

IN_APPLIANCE: Final = __file__.startswith("/usr/lib/guestfsd/")
"""Anywhere else the disks are somebody's."""
_DONE: Final = "/run/guestfsd.assembled"
_COMMANDS: Final = (
    ("mdadm", "--assemble", "--scan", "--run", "--auto=yes"),
    ("lvm", "vgchange", "--activate", "ay"),
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

    What fails, such as half an array, is told to the console: the rest is there.

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
            _run_commands()
        os.write(marker, b"1")
        _is_done = True
    finally:
        os.close(marker)
    return True


def _run_commands() -> None:
    for command in _COMMANDS:
        status, _, errors = run_status(command)
        if status > _NOTHING_FOUND or (status and command[0] != "mdadm"):
            sys.stderr.write(f"guestfsd: {command[0]}: {errors.decode(errors='replace')}")


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
