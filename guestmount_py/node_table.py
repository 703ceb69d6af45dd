"""The inode table of a mount that writes: an object for each file, since files change, move and lose their names."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from guestmount_py.caches import Cache, CacheBudget
from guestmount_py.entries import Entry
from guestmount_py.inode_numbers import ROOT, Inode, InodeNumbers
from guestmount_py.known_files import UnknownInode
from rpc import hot

_NODE_BYTES: Final = 450
"""Objects of a node and its entry, and its part of a dictionary."""
_NODES_BETWEEN_COUNTS: Final = 256
_PROMISED_BYTES: Final = 120
_NOTHING: Final = (0,) * 20
PROMISED_DEVICE: Final = -1
"""What st_dev of a file is until the guest has made it: st_ino is a number of ours then."""


@dataclass(slots=True)
class Node:
    """One inode the kernel knows.

    Attributes:
        parent, entry: where it is found; other hard links lead to the same node.
        lookup_count: how many references the kernel has.
        children: nodes whose ``parent`` this is; it stays, for their paths, until they have gone.
    """

    inode: Inode
    parent: Inode
    entry: Entry
    lookup_count: int = 0
    children: int = 0


class NodeTable:
    """Nodes by inode number.

    Args:
        root: the directory at the root.
        devices: st_dev of all mounts, in their order.

    Files that were promised have a number before the guest has made them, and keep it.

    Invariant: a node is in the table while its lookup count or its number of children is positive; the root always.
    """

    def __init__(self, root: Entry, devices: Iterable[int]) -> None:
        self._nodes: dict[Inode, Node] = {ROOT: Node(ROOT, ROOT, root, lookup_count=1)}
        self._account: Cache | None = None
        # a number that came of a name would change with it: where the guest makes numbers up, those count
        self._guests_number: Final = InodeNumbers(
            root, [*devices, PROMISED_DEVICE], (), self.path, self._device_of
        ).number
        stand_in = Entry(b"", hot.STATNS.pack(PROMISED_DEVICE, 0, *_NOTHING), 0, None, None)
        self._first_promised: Final = self._guests_number(stand_in, ROOT)
        self._promised_count = 0
        self._promised: dict[Inode, Inode] = {}
        """Of files that were promised the number by what the guest's would be."""

    def attach(self, budget: CacheBudget) -> None:
        """Say what bound counts for the table too."""
        self._account = budget.open_cache("inodes", lambda: False)
        self._count()

    def _count(self) -> None:
        if self._account is not None:
            used_bytes = len(self._nodes) * _NODE_BYTES + len(self._promised) * _PROMISED_BYTES
            self._account.set(len(self._nodes), used_bytes)

    def _device_of(self, inode: Inode) -> int | None:
        node = self._nodes.get(inode)
        return node.entry.fields[0] if node is not None else None

    def number(self, entry: Entry, parent: Inode) -> Inode:
        """Return the inode number of an entry of a directory."""
        number = self._guests_number(entry, parent)
        return self._promised.get(number, number)

    def next_promised(self) -> int:
        """Return the st_ino of the next file that is promised, on PROMISED_DEVICE."""
        self._promised_count += 1
        return self._promised_count

    def is_promised(self, inode: Inode) -> bool:
        """Tell whether a number is that of a file that was promised, so that this mount has made it."""
        return self._first_promised < inode <= self._first_promised + self._promised_count

    def keep_promised(self, node: Node) -> None:
        """Note that the guest has made a promised file, whose entry tells so: it keeps the number it was given."""
        self._promised[self._guests_number(node.entry, node.parent)] = node.inode

    def drop_promised(self, entry: Entry, parent: Inode) -> None:
        """Note that a file has gone, or that its number in the guest is that of a new file which was not promised."""
        self._promised.pop(self._guests_number(entry, parent), None)

    def get(self, inode: int) -> Node:
        """Return a node.

        Raises:
            UnknownInode: the kernel does not know it.
        """
        node = self._nodes.get(Inode(inode))
        if node is None:
            raise UnknownInode(inode)
        return node

    async def node(self, inode: int) -> Node:
        """Return a node, as ``get`` does: there is nothing to wait for."""
        return self.get(inode)

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
            if not len(self._nodes) % _NODES_BETWEEN_COUNTS:
                self._count()
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
            if not len(self._nodes) % _NODES_BETWEEN_COUNTS:
                self._count()
            node = self._nodes[node.parent]
            node.children -= 1

    def path(self, inode: int) -> bytes:
        """Return the absolute guest path of an inode; raises what ``get`` raises."""
        names: list[bytes] = []
        node = self.get(inode)
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
