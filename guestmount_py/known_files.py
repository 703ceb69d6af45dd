"""What whoever reads files asks of a table of inodes, whichever that is."""

from typing import Protocol

from guestmount_py.entries import Entry
from guestmount_py.inode_numbers import Inode


class UnknownInode(KeyError):
    """The kernel speaks of an inode that it was not told of, or that the guest has not any more."""


class KnownFile(Protocol):
    """One inode that the kernel knows."""

    @property
    def inode(self) -> Inode:
        """Return its number."""

    @property
    def parent(self) -> Inode:
        """Return the directory of the place where it is found; it may have others."""

    @property
    def entry(self) -> Entry:
        """Return what stands there."""


class KnownFiles(Protocol):
    """What the kernel knows, by inode number."""

    def number(self, entry: Entry, parent: Inode, /) -> Inode:
        """Return the inode number of an entry and its directory's."""

    def get(self, inode: int, /) -> KnownFile:
        """Return what an inode number means; KeyError if the kernel does not know it, ``Unlisted`` if it cannot say."""

    async def node(self, inode: int, /) -> KnownFile:
        """Return what an inode number means; KeyError if the kernel does not know it."""

    def path(self, inode: int, /) -> bytes:
        """Return the absolute guest path of an inode; raises what ``get`` raises."""
