"""The inode table: which guest file each inode number means, and how often the kernel knows it."""

import stat as modes
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, NewType

from guestmount_py.entries import Entry
from rpc.errors import RemoteProtocolError

Inode = NewType("Inode", int)
ROOT: Final = Inode(1)
_INDEX_SHIFT: Final = 48
_INDEX_COUNT: Final = 1 << 15
_DEVICES_MAX: Final = 8192
"""More would make the search for a free index long."""
_MOVED: Final = _INDEX_COUNT - 1
"""Index for what cannot keep its number: the guest's inode 1, which is the root's here."""
_HASHED: Final = _MOVED - 1
"""Index for numbers that are made up."""
_BTRFS_STUB: Final = 2
"""BTRFS_EMPTY_SUBVOL_DIR_OBJECTID (linux/btrfs_tree.h): every subvolume within a snapshot is an empty directory 2."""


@dataclass(slots=True)
class Node:
    """One inode the kernel knows.

    Attributes:
        parent, name: where it was found first; other hard links lead to the same node.
        lookup_count: how many references the kernel has.
    """

    inode: Inode
    parent: Inode
    entry: Entry
    lookup_count: int = 0
    children: int = field(default=0)
    """Nodes whose ``parent`` this is; it stays, for their paths, until they have gone."""


class InodeTable:
    """Nodes by inode number.

    Inode numbers are the guest's, moved only to be unique: files of the filesystem at the root keep theirs, those of
    the n-th other device have n in the bits from 48 on, and the root is 1. A device met only later (a btrfs subvolume)
    gets an index from the path where it was met, so that it is the same in the next mount.

    Invariant: a node is in the table while its lookup count or its number of children is positive; the root always.
    """

    def __init__(self, root: Entry, devices: Iterable[int]) -> None:
        self._nodes: dict[Inode, Node] = {ROOT: Node(ROOT, ROOT, root, lookup_count=1)}
        self._indexes: dict[int, int] = {}
        for device in (root.fields[0], *devices):
            self._indexes.setdefault(device, len(self._indexes))
        self._taken: Final = set(self._indexes.values())
        self._root_key: Final = (root.fields[0], root.fields[1])

    def number(self, entry: Entry, parent: Inode) -> Inode:
        """Return the inode number of an entry of a directory."""
        device, guest_inode = entry.fields[:2]
        if (device, guest_inode) == self._root_key:
            return ROOT
        index = self._indexes.get(device)
        if index is None:
            index = self._indexes[device] = self._free_index(self.path(parent) + b"/" + entry.name)
        if guest_inode >> _INDEX_SHIFT:
            return _hashed(b"%d %d" % (device, guest_inode))
        if guest_inode == _BTRFS_STUB and modes.S_ISDIR(entry.fields[2]) and not self._is_mount(entry, parent):
            return _hashed(b"%d %s" % (parent, entry.name))
        number = index << _INDEX_SHIFT | guest_inode
        return Inode(number if number != ROOT else _MOVED << _INDEX_SHIFT | guest_inode)

    def _is_mount(self, entry: Entry, parent: Inode) -> bool:
        """Tell whether a directory is on another device than its parent, if the kernel knows that."""
        node = self._nodes.get(parent)
        return node is not None and node.entry.fields[0] != entry.fields[0]

    def _free_index(self, path: bytes) -> int:
        if len(self._taken) >= _DEVICES_MAX:
            raise RemoteProtocolError(f"more than {_DEVICES_MAX} devices in one guest")
        index = zlib.crc32(path) % (_HASHED - 1) + 1
        while index in self._taken:
            index = index % (_HASHED - 1) + 1
        self._taken.add(index)
        return index

    def get(self, inode: int) -> Node:
        """Return a node; KeyError if the kernel does not know it."""
        return self._nodes[Inode(inode)]

    def find(self, inode: Inode) -> Node | None:
        """Return a node if it is known."""
        return self._nodes.get(inode)

    def remember(self, entry: Entry, parent: Inode) -> Node:
        """Count one lookup of a directory's entry and return its node."""
        inode = self.number(entry, parent)
        node = self._nodes.get(inode)
        if node is None:
            node = self._nodes[inode] = Node(inode, parent, entry)
            self._nodes[parent].children += 1
        node.lookup_count += 1
        return node

    def forget(self, inode: int, count: int) -> None:
        """Take back lookups; a node nobody needs any more is dropped, and its parents likewise."""
        node = self._nodes.get(Inode(inode))
        if node is None:
            return
        node.lookup_count -= count
        self._drop_unused(node)

    def move(self, node: Node, parent: Inode, entry: Entry) -> None:
        """Note that a node is found elsewhere from now on."""
        former, node.parent, node.entry = node.parent, parent, entry
        if parent != former:
            self._nodes[parent].children += 1
            self._nodes[former].children -= 1
            self._drop_unused(self._nodes[former])

    def _drop_unused(self, node: Node) -> None:
        while node.inode != ROOT and node.lookup_count <= 0 and not node.children:
            del self._nodes[node.inode]
            node = self._nodes[node.parent]
            node.children -= 1

    def path(self, inode: int) -> bytes:
        """Return the absolute guest path of an inode."""
        names: list[bytes] = []
        node = self._nodes[Inode(inode)]
        while node.inode != ROOT:
            names.append(node.entry.name)
            node = self._nodes[node.parent]
        return b"/" + b"/".join(reversed(names))

    def check_invariants(self) -> None:
        """Insist on what the class promises; for tests."""
        children = dict.fromkeys(self._nodes, 0)
        for node in self._nodes.values():
            if node.inode != ROOT:
                children[node.parent] += 1
        for inode, node in self._nodes.items():
            if inode != node.inode or node.children != children[inode]:
                raise AssertionError(f"node {inode} is inconsistent: {node}")
            if inode != ROOT and node.lookup_count <= 0 and not node.children:
                raise AssertionError(f"node {inode} should have been dropped")


def _hashed(key: bytes) -> Inode:
    return Inode(_HASHED << _INDEX_SHIFT | int.from_bytes(blake2b(key, digest_size=6).digest(), "big"))
