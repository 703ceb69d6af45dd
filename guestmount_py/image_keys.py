"""Keys of images that are encrypted themselves, as qcow2 can be; those of devices in the guest are another thing."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import trio

from appliance.config import Drive
from appliance.qcow2 import MAGIC, read_header
from guestmount_py.keys import Keys, forbid_core_dumps
from rpc.errors import DriveError


async def with_image_keys(drives: Sequence[Drive], keys: Keys) -> tuple[Drive, ...]:
    """Return drives with the keys of those images that need one: the first that was given for it, or what is answered.

    A selector may call an image by its name as ``-a`` has it, by the name of its file, or as the disk in the guest.

    Raises:
        GuestmountError: there is nobody to ask.
    """
    return tuple([await _with_key(drive, index, keys) for index, drive in enumerate(drives)])


async def _with_key(drive: Drive, index: int, keys: Keys) -> Drive:
    if not isinstance(drive.path, Path) or not _is_encrypted(drive.path, drive.format):
        return drive
    forbid_core_dumps()
    disk = f"/dev/sd{chr(ord('a') + index)}" if index < 26 else ""
    given = keys.of([str(drive.path), str(drive.path.absolute()), drive.path.name, disk])
    if given:
        return replace(drive, key=given[0])
    prompt = f'Enter key or passphrase ("{drive.path}"):'
    return replace(drive, key=await trio.to_thread.run_sync(keys.ask, prompt, abandon_on_cancel=True))


def _is_encrypted(path: Path, kind: str | None) -> bool:
    """Tell whether a file is an encrypted qcow2 image; False if it cannot be read, which the launch says."""
    if kind not in (None, "qcow2"):
        return False
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC) + 4)[: len(MAGIC)] != MAGIC:
                return False
        return read_header(path).is_encrypted
    except (OSError, DriveError):
        return False
