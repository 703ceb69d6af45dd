"""Handlers of pyfuse3, for what does not come often: find the inode, ask, translate."""

import errno
import os
import stat as modes
from typing import Any, NoReturn

import pyfuse3

from guestmount_py.attributes import absent_attributes, entry_attributes
from guestmount_py.errno_boundary import answers_errno
from guestmount_py.tree import Tree


class ReadOnlyOperations(pyfuse3.Operations):
    """A read-only filesystem on a guest, without what ``HotOperations`` answers.

    Whatever a listing tells is kept: attributes, link targets, extended attributes, and which names do not exist.
    """

    supports_dot_lookup = False
    enable_acl = False
    enable_writeback_cache = False

    def __init__(self, tree: Tree) -> None:
        super().__init__()
        self._guest = tree.guest
        self._inodes = tree.inodes
        self._directories = tree.directories

    # ── names and attributes ──

    @answers_errno
    async def lookup(
        self, parent_inode: pyfuse3.InodeT, name: pyfuse3.FileNameT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Find a name in a directory."""
        parent = await self._inodes.node(parent_inode)
        path, size_bytes = self._inodes.path(parent.inode), parent.entry.fields[7]
        entry = await self._directories.entry(parent.inode, path, size_bytes, bytes(name))
        if entry is None:
            return absent_attributes()
        return entry_attributes(entry, self._inodes.remember(entry, parent.inode))

    @answers_errno
    async def getattr(self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        """Return the attributes of a known file."""
        node = await self._inodes.node(inode)
        return entry_attributes(node.entry, node.inode)

    @answers_errno
    async def readlink(self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext) -> pyfuse3.FileNameT:
        """Return a symlink's target."""
        node = await self._inodes.node(inode)
        if node.entry.target is None:
            node.entry.target = await self._guest.readlink(self._inodes.path_of(node))
        return pyfuse3.FileNameT(node.entry.target)

    @answers_errno
    async def access(self, inode: pyfuse3.InodeT, mode: pyfuse3.ModeT, ctx: pyfuse3.RequestContext) -> bool:
        """Let whoever may use the mount read everything, as root in the guest could; nobody may write."""
        node = await self._inodes.node(inode)
        if mode & os.W_OK:
            raise pyfuse3.FUSEError(errno.EROFS)
        permissions = node.entry.fields[2]
        return not mode & os.X_OK or modes.S_ISDIR(permissions) or bool(permissions & 0o111)

    # ── whatever writes; ``flush`` is left unanswered (ENOSYS), so that the kernel stops asking at each close(2) ──

    async def _refuse(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise pyfuse3.FUSEError(errno.EROFS)

    setattr = mknod = mkdir = unlink = rmdir = symlink = rename = link = create = write = _refuse
    setxattr = removexattr = _refuse
