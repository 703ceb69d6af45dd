"""Extended attributes of files in a mount that writes: asked for once, with those of their neighbours."""

import os
from typing import Final

from guestmount_py.entries import Entry, Xattrs
from guestmount_py.inode_numbers import Inode
from guestmount_py.node_table import Node
from guestmount_py.writing_base import WritingBase

_NEIGHBOURS_MIN: Final = 4


class KnownXattrs(WritingBase):
    """What is known of extended attributes, or asked."""

    async def _xattrs(self, inode: int) -> Xattrs:
        """Return a file's extended attributes, as they are when nothing of it is pending."""
        node = self._inodes.get(inode)
        while node.entry.xattrs is None:
            await self.behind.settle(node.inode)
            async with self._paths.shared():
                path, kept = self._where(node)
                if kept:
                    for parent, name in self._names_beside(self._written.get(node.inode)):
                        path = os.path.join(self._inodes.path(parent), name)
                        break
                    else:
                        return ()
                elif await self._ask_neighbours(node):
                    continue
                found = await self._guest.xattrs(path)
                if not self.behind.is_pending(node.inode):
                    node.entry.xattrs = found
        return node.entry.xattrs

    async def _ask_neighbours(self, node: Node) -> bool:
        """Ask for the extended attributes of a file and of those in its directory that nobody has changed or opened.

        Tell whether those of the file are known now. The lock of paths is held.
        """
        listing, path = self._directories.peek(node.parent), self._inodes.path(node.parent)
        if listing is None or listing.by_name.get(node.entry.name) is not node.entry:
            return False
        asked = [entry for entry in listing.entries if self._is_as_listed(entry, node.parent)]
        if len(asked) < _NEIGHBOURS_MIN:
            return False
        copies, forgotten = [entry.copy() for entry in asked], self._written.forgotten
        await self._guest.neighbours_xattrs(path, copies)
        if self._written.forgotten != forgotten:  # perhaps one that was changed meanwhile
            return False
        for entry, copy in zip(asked, copies, strict=True):
            if listing.by_name.get(entry.name) is entry and self._is_as_listed(entry, node.parent):
                entry.xattrs = copy.xattrs
        self._directories.count_again(node.parent)
        return node.entry.xattrs is not None

    def _is_as_listed(self, entry: Entry, parent: Inode) -> bool:
        """Tell whether a file's extended attributes have not been asked for, and it is as the guest said."""
        if entry.xattrs is not None or entry.is_unreadable:
            return False
        inode = self._inodes.number(entry, parent)
        return self._written.find(inode) is None and not self.behind.is_pending(inode) and inode not in self._linked
