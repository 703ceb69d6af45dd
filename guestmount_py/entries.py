"""Files as a listing tells them, and the proof that they can be that."""

import stat as modes
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from guestmount_py.log import logger
from rpc import hot
from rpc.errors import RemoteProtocolError
from rpc.types import Statns

_NAME_MAX_BYTES: Final = 1024
"""FUSE_NAME_MAX of Linux: the 255 UTF-16 units that NTFS and vfat allow take up to 765 bytes."""
_FILE_TYPES: Final = frozenset(
    (modes.S_IFBLK, modes.S_IFCHR, modes.S_IFDIR, modes.S_IFIFO, modes.S_IFLNK, modes.S_IFREG, modes.S_IFSOCK)
)
_NS: Final = 1_000_000_000
_INTEGER: Final = struct.Struct(">q")
_SPARE_AT: Final = 16
_UNREADABLE: Final = hot.STATNS.pack(0, -1, *([0] * 20))
NO_POSITION: Final = 0xFFFFFF
"""Also of what stands behind so many others."""
Xattrs = tuple[tuple[bytes, bytes], ...]


@dataclass(slots=True)
class Entry:
    """One file as a directory listing tells it.

    Its attributes stay packed (22 x i64, ``rpc.hot.STATNS``) in the piece of the listing they came with.

    Attributes:
        target: of a symlink; None means not asked yet.
        xattrs: None means not asked yet, or not listable.
        position: in the listing of its directory; ``NO_POSITION`` for one that came alone.
    """

    name: bytes
    data: bytes
    offset: int
    target: bytes | None
    xattrs: Xattrs | None
    position: int = NO_POSITION

    @property
    def fields(self) -> tuple[int, ...]:
        """Return the attributes in the order of ``Statns``."""
        return hot.STATNS.unpack_from(self.data, self.offset)

    @property
    def is_unreadable(self) -> bool:
        """Tell whether the guest could read the name only: st_ino, the second of the attributes, is -1."""
        (ino,) = _INTEGER.unpack_from(self.data, self.offset + 8)
        return bool(ino == -1)

    @property
    def is_directory(self) -> bool:
        """Tell whether it is one: st_mode is the third of the attributes."""
        (mode,) = _INTEGER.unpack_from(self.data, self.offset + 16)
        return modes.S_ISDIR(mode)

    @property
    def is_unprotected(self) -> bool:
        """Tell whether the file is known to be neither immutable nor append-only, as a walk tells of it."""
        return _INTEGER.unpack_from(self.data, self.offset + 8 * _SPARE_AT) == (1,)

    def copy(self) -> "Entry":
        """Return the same without the piece of the listing it came with: who keeps it shall not keep that alive."""
        data = self.data[self.offset : self.offset + hot.STATNS.size]
        return Entry(self.name, data, 0, self.target, self.xattrs, self.position)


def checked_fields(values: Sequence[int]) -> None:
    """Refuse attributes that no file can have.

    Raises:
        RemoteProtocolError: one is out of range.
    """
    _, ino, mode, nlink, uid, gid, rdev, size, blksize, blocks, _, ans, _, mns, _, cns = values[:16]
    if (
        ino < 1
        or modes.S_IFMT(mode) not in _FILE_TYPES
        or mode >> 16
        or not 0 <= nlink < 1 << 32
        or not 0 <= uid < 1 << 32
        or not 0 <= gid < 1 << 32
        or rdev < 0
        or min(size, blocks) < 0
        or not 0 <= blksize < 1 << 32
        or not (0 <= ans < _NS and 0 <= mns < _NS and 0 <= cns < _NS)
    ):
        raise RemoteProtocolError(f"impossible attributes {tuple(values[:16])}")


def checked_name(name: bytes) -> None:
    """Refuse a name that no directory entry can have.

    Raises:
        RemoteProtocolError: it is empty, too long, a dot name, or holds a slash or NUL.
    """
    if not 0 < len(name) <= _NAME_MAX_BYTES or b"/" in name or b"\0" in name or name in (b".", b".."):
        raise RemoteProtocolError(f"impossible file name {name[:300]!r}")


def terminated_names(data: bytes) -> list[bytes]:
    """Return names, or paths, that have a NUL behind each.

    Raises:
        RemoteProtocolError: the last has none.
    """
    *names, rest = data.split(b"\0")
    if rest:
        raise RemoteProtocolError(f"a list of names ends in the middle of {rest[:300]!r}")
    return names


def checked_entries(entries: list[Entry]) -> list[Entry]:
    """Return a directory's entries, if they can be that.

    A damaged filesystem may have a name twice, or attributes that no file can have: the first of the name counts, and
    such a file alone is unreadable.
    """
    checked: dict[bytes, Entry] = {}
    for entry in entries:
        checked_name(entry.name)
        if entry.name in checked:
            logger.error("the name %r stands twice in a directory: only the first is shown", entry.name)
            continue
        entry.position = len(checked)
        checked[entry.name] = entry
        try:
            if not entry.is_unreadable:
                checked_fields(entry.fields)
        except RemoteProtocolError as exc:
            logger.error("%r: %s", entry.name, exc)
            entry.data, entry.offset = _UNREADABLE, 0
    return list(checked.values())


def entry_of(name: bytes, stat: Statns) -> Entry:
    """Return a file without its link target and extended attributes."""
    return Entry(name, hot.STATNS.pack(*stat), 0, None, None)
