"""The inode numbers that a mount shows: the guest's own, moved only to be unique."""

import stat as modes
import zlib
from collections.abc import Callable, Collection, Iterable
from hashlib import blake2b
from typing import Final, NewType

from guestmount_py.entries import Entry
from rpc.errors import RemoteProtocolError

Inode = NewType("Inode", int)
ROOT: Final = Inode(1)
_INDEX_SHIFT: Final = 48
_INDEX_COUNT: Final = 1 << 14
_DEVICES_MAX: Final = 8192
"""More would make the search for a free index long."""
_MOVED: Final = _INDEX_COUNT - 1
"""Index for what cannot keep its number: the guest's inode 1, which is the root's here."""
HASHED: Final = 1 << 62
"""Set in numbers that are made up, which are scattered over all bits below."""
_BTRFS_STUB: Final = 2
"""BTRFS_EMPTY_SUBVOL_DIR_OBJECTID (linux/btrfs_tree.h): every subvolume within a snapshot is an empty directory 2."""
UNNUMBERED_TYPES: Final = frozenset(("exfat", "msdos", "vfat"))
"""Filesystems without inode numbers on the disk: fs/fat and fs/exfat give an inode any free number (``iunique``), and
another one when they read it again."""
UNNUMBERED_ROOT: Final = 1
"""The inode number of their roots (MSDOS_ROOT_INO, EXFAT_ROOT_INO)."""


class InodeNumbers:
    """Numbers of files.

    Those of the filesystem at the root keep theirs, those of the n-th other device have n in the bits from 48 on, and
    the root is 1. A device met only later (a btrfs subvolume) gets an index from the path where it was met, so that it
    is the same in the next mount. A file of an unnumbered filesystem, which has no hard links, gets its number from its
    directory's and its name: so it keeps it, and nothing else can be taken for it.

    Args:
        root: the directory at the root.
        devices: st_dev of all mounts, in their order.
        unnumbered: those of them with a filesystem of ``UNNUMBERED_TYPES``.
        path: of a directory that the kernel knows.
        device_of: st_dev of a directory, if the kernel knows that.
    """

    def __init__(
        self,
        root: Entry,
        devices: Iterable[int],
        unnumbered: Collection[int],
        path: Callable[[int], bytes],
        device_of: Callable[[Inode], int | None],
    ) -> None:
        self._path = path
        self._device_of = device_of
        self._indexes: dict[int, int] = {}
        for device in (root.fields[0], *devices):
            self._indexes.setdefault(device, len(self._indexes))
        self._unnumbered: Final = frozenset(unnumbered)
        self._taken: Final = set(self._indexes.values())
        self._root_key: Final = (root.fields[0], root.fields[1])

    def number(self, entry: Entry, parent: Inode) -> Inode:
        """Return the inode number of an entry of a directory."""
        device, guest_inode = entry.fields[:2]
        if (device, guest_inode) == self._root_key:
            return ROOT
        if device in self._unnumbered:
            return _hashed_name(parent, entry.name)
        index = self._indexes.get(device)
        if index is None:
            index = self._indexes[device] = self._free_index(self._path(parent) + b"/" + entry.name)
        if guest_inode >> _INDEX_SHIFT:
            return _hashed(b"%d %d" % (device, guest_inode))
        if guest_inode == _BTRFS_STUB and modes.S_ISDIR(entry.fields[2]) and not self._is_mount(entry, parent):
            return _hashed_name(parent, entry.name)
        number = index << _INDEX_SHIFT | guest_inode
        return Inode(number if number != ROOT else _MOVED << _INDEX_SHIFT | guest_inode)

    def _is_mount(self, entry: Entry, parent: Inode) -> bool:
        """Tell whether a directory is on another device than its parent, if the kernel knows that."""
        device = self._device_of(parent)
        return device is not None and device != entry.fields[0]

    def _free_index(self, path: bytes) -> int:
        if len(self._taken) >= _DEVICES_MAX:
            raise RemoteProtocolError(f"more than {_DEVICES_MAX} devices in one guest")
        index = zlib.crc32(path) % (_MOVED - 1) + 1
        while index in self._taken:
            index = index % (_MOVED - 1) + 1
        self._taken.add(index)
        return index


def _hashed_name(parent: Inode, name: bytes) -> Inode:
    return _hashed(b"%d/%s" % (parent, name))


def _hashed(key: bytes) -> Inode:
    return Inode(int.from_bytes(blake2b(key, digest_size=8).digest(), "big") & HASHED - 1 | HASHED)
