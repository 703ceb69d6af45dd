"""Handlers of a mount that writes that only look: names, attributes, links' targets, listings."""

import stat as modes
from collections.abc import Sequence
from enum import Enum
from errno import ENODATA
from typing import Final

import pyfuse3

from guestmount_py.attributes import absent_attributes, unreadable_attributes
from guestmount_py.entries import Entry, Xattrs
from guestmount_py.errno_boundary import answers_errno
from guestmount_py.inode_numbers import Inode
from guestmount_py.known_xattrs import KnownXattrs
from guestmount_py.node_table import Node
from guestmount_py.writing_base import CAPABILITY, NAME_MAX_BYTES

_MODE_AT: Final = 2


class Absent(Enum):
    """There is no such name."""

    ABSENT = 0


ABSENT: Final = Absent.ABSENT


class LookingOperations(KnownXattrs):
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
        if not self._has_exact_names(parent):
            absent.entry_timeout = 0
        return absent

    def lookup_now(self, parent_inode: int, name: bytes) -> Node | Absent | None:
        """Find a name in a directory whose listing is here, and count the lookup; None if the guest is to tell."""
        parent = self._inodes.get(parent_inode)
        listing = self._directories.cached(parent.inode)
        if listing is None or not self._has_exact_names(parent) or len(name) > NAME_MAX_BYTES:
            return None
        entry = listing.by_name.get(name)
        if entry is None:
            return ABSENT
        if entry.is_unreadable or not self._paths.is_free:
            return None
        return self._remember(entry, parent.inode)

    @answers_errno
    async def getattr(self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        """Return the attributes of a known file, exactly."""
        node = self.getattr_now(inode, ctx.pid)
        if node is None:
            node = self._inodes.get(inode)
            await self._exact(node)
            self._capability_asked = None
        return self._attributes(node)

    def getattr_now(self, inode: int, pid: int) -> Node | None:
        """Return a file that is known well enough to whoever asks for its attributes; None if the guest is to tell."""
        node = self._inodes.get(inode)
        is_mode_wanted = self._capability_asked == (pid, inode) and inode not in self._stale
        if not is_mode_wanted and not self._is_exact(node):
            if not self._is_estimate_enough(node, pid):
                return None
            self._written.get(node.inode).is_told = True
        self._capability_asked = None
        if self.behind.is_unmade(node.inode):
            self._estimate(node, st_blocks=self.behind.unmade_blocks(node))
        return node

    def _is_estimate_enough(self, node: Node, pid: int) -> bool:
        """Tell whether somebody asks for what he has just been promised.

        Linux asks for the mode of a directory, as for stat(2), after each change in it; and programs ask what a file is
        that they have just made. To wait for exact times then would be to wait for each file by itself.
        """
        written, inode = self._written.find(node.inode), node.inode
        if written is None or pid not in written.promised_to:
            return False
        if not self.behind.is_pending(inode):
            return self.behind.has_names(inode)
        is_regular = modes.S_ISREG(node.entry.fields[_MODE_AT])
        return self.behind.is_unmade(inode) or (not is_regular and self.behind.is_slight(inode))

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
        return _value_of(name, await self._xattrs(inode))

    def getxattr_now(self, inode: int, name: bytes, pid: int) -> bytes | None:
        """Return one extended attribute, as ``getxattr`` does; None if the guest is to tell."""
        known = self._inodes.get(inode).entry.xattrs
        if known is None:
            return None
        if name == CAPABILITY:
            self._capability_asked = (pid, inode)
        return _value_of(name, known)

    @answers_errno
    async def listxattr(self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext) -> Sequence[pyfuse3.XAttrNameT]:
        """Name the extended attributes."""
        return [pyfuse3.XAttrNameT(key) for key, _ in await self._xattrs(inode)]

    def listxattr_now(self, inode: int) -> list[bytes] | None:
        """Name the extended attributes; None if the guest is to tell."""
        known = self._inodes.get(inode).entry.xattrs
        return [key for key, _ in known] if known is not None else None

    # ── directories ──

    @answers_errno
    async def opendir(self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext) -> pyfuse3.FileHandleT:
        """Open a directory; it is listed when reading begins."""
        node = self._inodes.get(inode)
        await self._ahead.opened(node)
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


def _value_of(name: bytes, xattrs: Xattrs) -> bytes:
    for key, value in xattrs:
        if key == name:
            return value
    raise pyfuse3.FUSEError(ENODATA)
