"""Arrays and volumes that the disks hold, put together once in the life of the appliance, when first asked about.

A mount of a plain partition must not pay for the start of mdadm and lvm; whoever names or lists anything else does.
"""

import fcntl
import os
import sys
from typing import Final

from daemon.command import run_status

_HOME: Final = "/usr/lib/guestfsd/"
_DONE: Final = "/run/guestfsd.assembled"
_COMMANDS: Final = (
    ("mdadm", "--assemble", "--scan", "--run", "--auto=yes"),
    ("lvm", "vgchange", "--activate", "ay"),
)
_NOTHING_FOUND: Final = 1
"""How mdadm ends when no disk is part of an array."""

_is_done = not __file__.startswith(_HOME)
"""Anywhere but in the appliance the disks are somebody's."""


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
        _is_done = True
        if os.fstat(marker).st_size:
            return True  # done by another process, while we waited or before
        for command in _COMMANDS:
            status, _, errors = run_status(command)
            if status > _NOTHING_FOUND or (status and command[0] != "mdadm"):
                sys.stderr.write(f"guestfsd: {command[0]}: {errors.decode(errors='replace')}")
        os.write(marker, b"1")
    finally:
        os.close(marker)
    return True
