"""Handlers of a mount that writes that only look: names, attributes, links' targets, listings."""

from collections.abc import Sequence
from errno import ENODATA

import pyfuse3

from guestmount_py.attributes import absent_attributes, unreadable_attributes
from guestmount_py.entries import Entry
from guestmount_py.errno_boundary import answers_errno
from guestmount_py.inode_numbers import Inode
from guestmount_py.node_table import Node
from guestmount_py.writing_base import CAPABILITY, WritingBase


class LookingOperations(WritingBase):
    """What there is, as it is when nothing of it is pending."""

    @answers_errno
    async def lookup(
        self, parent_inode: pyfuse3.InodeT, name: pyfuse3.FileNameT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Find a name in a directory."""
        parent = self._inodes.get(parent_inode)
        entry = await self._entry(parent, bytes(name))
        if entry is not None:
            return self._attributes(self._remember(entry, parent.inode))
        absent = absent_attributes()
        if not self._exact_names:
            absent.entry_timeout = 0
        return absent

    @answers_errno
    async def getattr(self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        """Return the attributes of a known file, exactly."""
        node = self._inodes.get(inode)
        if self._capability_asked != (ctx.pid, inode) and not self._is_estimate_enough(node, ctx.pid):
            await self._exact(node)
        self._capability_asked = None
        return self._attributes(node)

    def _is_estimate_enough(self, node: Node, pid: int) -> bool:
        """Tell whether somebody asks for what he has just been promised.

        Linux asks for the mode of a directory, as for stat(2), after each change in it; and programs ask what a file is
        that they have just made. To wait for exact times then would be to wait for each file by itself.
        """
        if self._promised_to.get(node.inode) != pid:
            return False
        return self.behind.has_names(node.inode) or self.behind.is_empty_unmade(node.inode)

    @answers_errno
    async def readlink(self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext) -> pyfuse3.FileNameT:
        """Return a symlink's target."""
        node = self._inodes.get(inode)
        if node.entry.target is None:
            async with self._paths.shared():
                path, _ = self._where(node)
                node.entry.target = await self._guest.readlink(path)
        return pyfuse3.FileNameT(node.entry.target)

    @answers_errno
    async def getxattr(self, inode: pyfuse3.InodeT, name: pyfuse3.XAttrNameT, ctx: pyfuse3.RequestContext) -> bytes:
        """Return one extended attribute.

        Linux asks for capabilities when a file gets another owner or length, and for the mode thereafter, as it would
        for stat(2): it need not wait for exact times then (fs/fuse/dir.c, fuse_setattr).
        """
        if name == CAPABILITY:
            self._capability_asked = (ctx.pid, inode)
        for key, value in await self._xattrs(inode):
            if key == name:
                return value
        raise pyfuse3.FUSEError(ENODATA)

    @answers_errno
    async def listxattr(self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext) -> Sequence[pyfuse3.XAttrNameT]:
        """Name the extended attributes."""
        return [pyfuse3.XAttrNameT(key) for key, _ in await self._xattrs(inode)]

    # ── directories ──

    @answers_errno
    async def opendir(self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext) -> pyfuse3.FileHandleT:
        """Open a directory; it is listed when reading begins."""
        node = self._inodes.get(inode)
        handle = self._next_handle
        self._next_handle += 1
        self._listings[handle] = (node.inode, await self._listed(node))
        return pyfuse3.FileHandleT(handle)

    async def _listed(self, node: Node) -> list[Entry]:
        written = self._written.find(node.inode)
        if written is not None and written.is_gone:
            return []
        async with self._settled_paths(node.inode, self._directories.cached(node.inode)):
            return (await self._directories.listing(node.inode, self._inodes.path(node.inode))).entries

    @answers_errno
    async def readdir(self, fh: pyfuse3.FileHandleT, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        """Hand out entries as the directory was when reading began, without those that have gone since."""
        inode, entries = self._listings[fh]
        node = self._inodes.get(inode)
        if start_id == 0:
            entries = await self._listed(node)
            self._listings[fh] = inode, entries
        for position, (name, dot) in enumerate(((b".", node), (b"..", self._inodes.get(node.parent)))):
            if start_id <= position and not pyfuse3.readdir_reply(
                token, pyfuse3.FileNameT(name), self._attributes(dot), position + 1
            ):
                return
        if not entries:
            return
        await self._listed(node)  # if it was given up, it is asked for again: there must be no name that has gone
        present = self._directories.cached(inode)
        for index in range(max(start_id - 2, 0), len(entries)):
            entry = present.by_name.get(entries[index].name) if present is not None else None
            if entry is not None and not self._hand_out(entry, inode, token, index + 3):
                return

    def _hand_out(self, entry: Entry, parent: Inode, token: pyfuse3.ReaddirToken, next_id: int) -> bool:
        name = pyfuse3.FileNameT(entry.name)
        if entry.is_unreadable:
            return pyfuse3.readdir_reply(token, name, unreadable_attributes(), next_id)
        node = self._remember(entry, parent)
        if pyfuse3.readdir_reply(token, name, self._attributes(node), next_id):
            return True
        self._inodes.forget(node.inode, 1)
        return False

    @answers_errno
    async def releasedir(self, fh: pyfuse3.FileHandleT) -> None:
        """Let a listing go."""
        del self._listings[fh]
