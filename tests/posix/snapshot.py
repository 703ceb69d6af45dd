"""All that a directory holds, as far as two filesystems of one kind must agree on it."""

import hashlib
import os
import stat
from typing import Final, NamedTuple

SET_BEFORE_NS: Final = 1_000_000_000 * 10**9
"""A time before this was set by a call, and counts to the nanosecond; a later one only has to be the clock's."""


class Looks(NamedTuple):
    """What a file looks like. Sizes of directories differ by what was in them once."""

    kind_and_mode: str
    links: int
    owner: tuple[int, int]
    size: int
    mtime_ns: int
    """-1: of the clock"""


class Entry(NamedTuple):
    """A name, and all of what it stands for."""

    looks: Looks
    first_name: str
    contents: str
    xattrs: dict[str, bytes]


def looks(info: os.stat_result) -> Looks:
    """Return what a file looks like."""
    return Looks(
        stat.filemode(info.st_mode),
        info.st_nlink,
        (info.st_uid, info.st_gid),
        -1 if stat.S_ISDIR(info.st_mode) else info.st_size,
        info.st_mtime_ns if info.st_mtime_ns < SET_BEFORE_NS else -1,
    )


def snapshot(root: str) -> dict[str, Entry]:
    """Return everything below a directory by its name; of a file with several, ``first_name`` says which they are."""
    found = {}
    names: dict[int, str] = {}
    for path in sorted(_walk(root)):
        info = os.lstat(path)
        name = os.path.relpath(path, root)
        found[name] = Entry(
            looks(info),
            names.setdefault(info.st_ino, name),
            _contents(path, info.st_mode),
            {attribute: os.getxattr(path, attribute, follow_symlinks=False) for attribute in _attributes(path)},
        )
    return found


def _walk(directory: str) -> list[str]:
    found = [directory]
    with os.scandir(directory) as entries:
        for entry in entries:
            found += _walk(entry.path) if entry.is_dir(follow_symlinks=False) else [entry.path]
    return found


def _attributes(path: str) -> list[str]:
    return sorted(os.listxattr(path, follow_symlinks=False))


def _contents(path: str, mode: int) -> str:
    if stat.S_ISLNK(mode):
        return os.readlink(path)
    if not stat.S_ISREG(mode):
        return ""
    with open(path, "rb") as file:
        data = file.read()
    return repr(data) if len(data) < 40 else hashlib.sha256(data).hexdigest()
