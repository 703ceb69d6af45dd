"""A raw disk in several files, as forensic tools write it: image.001, image.002 and so on, or image.aa, image.ab.

qemu has no driver that joins files but that of VMDK, whose descriptor may say: these plain files, one after the other.
"""

import os
import re
from itertools import pairwise
from pathlib import Path
from typing import Final

from appliance.config import Drive
from appliance.drives import CheckedDrive, check_readable
from appliance.image_state import ImageState, image_state
from rpc.errors import DriveError

_SECTOR_BYTES: Final = 512
_FIRST: Final = re.compile(r"(.*?)(0*[01]|a{2,})")
_DIGITS: Final = re.compile(r"[0-9]{1,9}")
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
_NAME_MAX_BYTES: Final = 511
"""block/vmdk.c reads a name with %511[^\\n\\r\\"]."""
_DESCRIPTOR: Final = """\
# Disk DescriptorFile
version=1
CID=fffffffe
parentCID=ffffffff
createType="twoGbMaxExtentFlat"
"""


def check_split(drive: Drive, path: Path) -> CheckedDrive:
    """Look at a disk by the name of its first part, which ends in 0, 1, 001, aa, … as split(1) and others name them.

    Raises:
        DriveError: that is no such name; a part is missing, or no whole number of sectors.
    """
    parts = _parts(path)
    for part in parts:
        check_readable(part.path)
    text = _DESCRIPTOR + "".join(_extent(part, is_last=part is parts[-1]) for part in parts)
    return CheckedDrive(
        path,
        "vmdk",
        False,
        sum(part.size_bytes for part in parts),
        drive.blocksize_bytes,
        files=tuple(parts),
        text=text,
    )


def _parts(path: Path) -> list[ImageState]:
    match = _FIRST.fullmatch(path.name)
    if match is None:
        raise DriveError(f"{path}: --format=split wants the first part: its name ends in 0, 1 or aa, as disk.001 does")
    head, first = match.groups()
    others = [each for each in path.parent.iterdir() if each.name.startswith(head)]
    numbers = {_number(each.name.removeprefix(head), first): each for each in others}
    numbered = sorted((number, each) for number, each in numbers.items() if number >= _number(first, first))
    for (number, part), (following, later) in pairwise(numbered):
        if following != number + 1:
            raise DriveError(f"{later}: a part of this split image is missing between {part.name} and {later.name}")
    return [image_state(part) for _, part in numbered]


def _number(suffix: str, first: str) -> int:
    """Return what a part's name counts as, -1 if it is no such name as the first part's.

    Raises:
        DriveError: it goes on where names of that length end.
    """
    if first.isdigit():  # 9 is followed by 10, and 999 by 1000
        is_longer = len(suffix) > len(first) and not suffix.startswith("0")
        return int(suffix) if _DIGITS.fullmatch(suffix) and (len(suffix) == len(first) or is_longer) else -1
    if len(suffix) == len(first) + 2 and suffix.startswith("z") and set(suffix) <= set(_LETTERS):
        raise DriveError(
            f"split image: the parts go on with {suffix}, as split(1) has it after yz: join them with 'cat'"
        )
    if len(suffix) != len(first) or not set(suffix) <= set(_LETTERS):
        return -1
    return sum(_LETTERS.index(letter) * len(_LETTERS) ** place for place, letter in enumerate(reversed(suffix)))


def _extent(part: ImageState, *, is_last: bool) -> str:
    name = os.fspath(part.path)
    if part.size_bytes % _SECTOR_BYTES:
        hint = ": was it cut short?" if is_last else ": join the parts with 'cat'"
        raise DriveError(f"{name}: {part.size_bytes} bytes are no whole number of sectors{hint}")
    if '"' in name or not name.isprintable() or len(name.encode()) > _NAME_MAX_BYTES:
        raise DriveError(f"{name}: qemu cannot take such a name for a part of a disk: give it a symlink with another")
    return f'RW {part.size_bytes // _SECTOR_BYTES} FLAT "{name}" 0\n'
