"""Handlers of a mount that writes: extended attributes.

pyfuse3 sees to XATTR_CREATE and XATTR_REPLACE by asking for the attribute first.
"""

import pyfuse3

from guestmount_py.errno_boundary import answers_errno
from guestmount_py.node_table import Node
from guestmount_py.writing_base import CAPABILITY
from guestmount_py.writing_renaming import RenamingOperations


class XattrOperations(RenamingOperations):
    """Extended attributes come and go when the guest has done it."""

    @answers_errno
    async def setxattr(
        self, inode: pyfuse3.InodeT, name: pyfuse3.XAttrNameT, value: bytes, ctx: pyfuse3.RequestContext
    ) -> None:
        """Set an extended attribute."""
        node = self._inodes.get(inode)
        await self.space.take(len(value))
        await self.behind.settle(node.inode)  # an ACL is the mode too, and is inherited
        async with self._paths.shared():
            path, kept = self._where(node)
            await self._writing.set_xattr(path, kept, bytes(name), bytes(value))
            known = node.entry.xattrs or ()
            self._changed_xattrs(node)
            if kept:
                others = tuple(pair for pair in known if pair[0] != name)
                node.entry.xattrs = (*others, (bytes(name), bytes(value)))

    @answers_errno
    async def removexattr(self, inode: pyfuse3.InodeT, name: pyfuse3.XAttrNameT, ctx: pyfuse3.RequestContext) -> None:
        """Remove an extended attribute."""
        node = self._inodes.get(inode)
        await self.behind.settle(node.inode)  # an ACL is the mode too, and is inherited
        async with self._paths.shared():
            path, kept = self._where(node)
            await self._writing.remove_xattr(path, kept, bytes(name))
            known = node.entry.xattrs or ()
            self._changed_xattrs(node)
            if kept:
                node.entry.xattrs = tuple(pair for pair in known if pair[0] != name)

    def _changed_xattrs(self, node: Node) -> None:
        self._note_stale(node.inode)
        self._forget_xattrs(node)

    def _forget_xattrs(self, node: Node) -> None:
        """Have the extended attributes asked for again, by whatever name."""
        written = self._written.get(node.inode)
        known = node.entry.xattrs if written.kept else None
        # One without a name cannot be asked; a change of its data has taken no more than that.
        node.entry.xattrs = None if known is None else tuple(pair for pair in known if pair[0] != CAPABILITY)
        places = {(node.parent, node.entry.name), *written.aliases}
        for parent, name in places:
            listing = self._directories.cached(parent)
            entry = listing.by_name.get(name) if listing is not None else None
            if entry is not None:
                entry.xattrs = None
        linked = self._linked.get(node.inode)
        if linked is not None and linked is not node.entry:  # it tells what the file is by a name that nobody knows now
            linked.xattrs = None
