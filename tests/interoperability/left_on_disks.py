"""What a mixture left on the disks, read by the host's kernel and by libblkid and sfdisk; needs root."""

import hashlib
import os
import re
import stat
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from tests.guests.disk import mounted
from tests.interoperability.outcomes import without_identifiers

_PROBE: Final = ("blkid", "--probe", "--output", "export")
_TABLE: Final = ("sfdisk", "--dump")
_TABLES_ID: Final = re.compile(r"^(PTUUID=|label-id: 0x)[0-9a-f]{8}$")
"""A DOS table's, which is new in each run."""


def files_left(image: Path, names: Iterable[str]) -> list[str]:
    """Describe all files of a filesystem, but for their times and their numbers of inodes.

    Args:
        image: the filesystem, unmounted.
        names: entries of the root, a line each; the others share a line.
    """
    with mounted(image, "-o", "loop,ro") as root:
        below = {name: "; ".join(_below(root / name)) for name in sorted(names)}
        others = (path for path in sorted(root.iterdir()) if path.name not in below)
        below["others"] = "; ".join(line for path in others for line in _below(path))
    return [f"left in {name}: {text}" for name, text in below.items()]


def disk_left(image: Path, name: str) -> str:
    """Describe what a disk holds: the signature that libblkid finds, and its partitions."""
    texts = []
    for command in (_PROBE, _TABLE):
        finished = subprocess.run([*command, image], capture_output=True, text=True)
        lines = [line.replace(os.fspath(image), name) for line in finished.stdout.splitlines()]
        texts += [_TABLES_ID.sub(r"\1<id>", without_identifiers(line)) for line in lines]
    return f"left on {name}: {'; '.join(texts)}"


def _below(top: Path) -> Iterator[str]:
    if not os.path.lexists(top):
        return
    yield _described(top)
    if stat.S_ISDIR(top.lstat().st_mode):
        for path in sorted(top.iterdir()):
            yield from _below(path)


def _described(path: Path) -> str:
    found = path.lstat()
    words = [path.name, f"{found.st_mode:o}", f"links {found.st_nlink}", f"{found.st_uid}:{found.st_gid}"]
    if stat.S_ISLNK(found.st_mode):
        words.append(f"to {path.readlink()}")
    elif stat.S_ISREG(found.st_mode):
        words.append(f"{found.st_size} bytes, sha256 {_checksum(path)}")
    elif stat.S_ISDIR(found.st_mode):
        words.append("directory")
    else:
        words.append(f"device {os.major(found.st_rdev)}:{os.minor(found.st_rdev)}")
    xattrs = sorted(os.listxattr(path, follow_symlinks=False))
    words += [f"{name}={_short_hash(os.getxattr(path, name, follow_symlinks=False))}" for name in xattrs]
    return " ".join(words)


def _short_hash(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()[:8]


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
