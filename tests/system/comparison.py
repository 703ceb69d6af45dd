"""Two directory trees, compared in everything a filesystem can tell about a file."""

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

# st_atime is left out: reading the reference must not be able to fail the test.
_FIELDS: Final = (
    "st_mode",
    "st_nlink",
    "st_uid",
    "st_gid",
    "st_size",
    "st_blocks",
    "st_rdev",
    "st_mtime_ns",
    "st_ctime_ns",
)
_INODE_BITS: Final = 48
_REPORTED: Final = 20


def rsync_differences(source: Path, destination: Path, excluded: Sequence[str]) -> str:
    """Return what rsync would change to make two directories equal, in its own itemised words."""
    finished = subprocess.run(
        [
            *("rsync", "-aHAXn", "--checksum", "--numeric-ids", "--delete", "--itemize-changes"),
            *(f"--exclude=/{name}" for name in excluded),
            f"{source}/",
            f"{destination}/",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return finished.stdout.decode(errors="backslashreplace") + (
        f"status {finished.returncode}" * bool(finished.returncode)
    )


def attribute_differences(ours: Path, reference: Path, excluded: Sequence[str], *, exact_inodes: bool) -> list[str]:
    """Compare attributes, link targets and extended attributes, file by file.

    Args:
        ours: our mount.
        reference: the kernel's mount of the same filesystem.
        excluded: names in the root that are left out.
        exact_inodes: inode numbers are the guest's, but for those in other btrfs subvolumes; otherwise only their low
            48 bits are. The root's is never compared: ours is 1, or that of a mount point.

    Returns:
        The first few differences, and how many files were compared if there were none at all.
    """
    different: list[str] = []
    skipped = {os.fsencode(name) for name in excluded}
    exact_device = os.lstat(reference).st_dev if exact_inodes else None
    for path in _walk(os.fsencode(reference), skipped):
        relative = os.path.relpath(path, os.fsencode(reference))
        here = os.path.normpath(os.path.join(os.fsencode(ours), relative))
        try:
            different += [
                f"{os.fsdecode(relative)!r}: {text}"
                for text in _differences(here, path, exact_device, is_root=relative == b".")
            ]
        except OSError as exc:
            different.append(f"{os.fsdecode(relative)!r}: {exc}")
        if len(different) >= _REPORTED:
            break
    return different


def _walk(top: bytes, skipped: set[bytes]) -> Iterator[bytes]:
    yield top
    for directory, names, files in os.walk(top):
        if directory == top:
            names[:] = [name for name in names if name not in skipped]
        for name in (*names, *files):
            yield os.path.join(directory, name)


def _differences(ours: bytes, reference: bytes, exact_device: int | None, *, is_root: bool) -> Iterator[str]:
    here, there = os.lstat(ours), os.lstat(reference)
    for field in _FIELDS:
        if getattr(here, field) != getattr(there, field):
            yield f"{field} is {getattr(here, field)}, should be {getattr(there, field)}"
    mask = -1 if there.st_dev == exact_device else (1 << _INODE_BITS) - 1
    if not is_root and here.st_ino & mask != there.st_ino & mask:
        yield f"st_ino is {here.st_ino:#x}, should be {there.st_ino:#x}"
    for what, read in _READS:
        mine, its = _result(read, ours), _result(read, reference)
        if mine != its:
            yield f"{what}: {mine!r}, should be {its!r}"


def _xattrs(path: bytes) -> dict[str, bytes]:
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)}


_READS: Final[tuple[tuple[str, Callable[[bytes], object]], ...]] = (("target", os.readlink), ("xattrs", _xattrs))


def _result(read: Callable[[bytes], object], path: bytes) -> object:
    """The value, or the error number: both must agree."""
    try:
        return read(path)
    except OSError as exc:
        return exc.errno
