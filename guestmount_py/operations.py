"""Handlers of pyfuse3, for what does not come often: find the inode, ask, translate."""

import errno
import os
import stat as modes
from typing import Any, Final, NoReturn

import pyfuse3

from guestmount_py.attributes import absent_attributes, entry_attributes, statvfs_data
from guestmount_py.entries import Entry
from guestmount_py.errno_boundary import answers_errno
from guestmount_py.inodes import Node
from guestmount_py.tree import Tree
from rpc.errors import ProcedureError

_LARGE_DIRECTORY_BYTES: Final = 256 * 1024
"""A single name in a directory file longer than this is asked for by itself, not by listing it all."""


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
        entry = await self._entry(parent, bytes(name))
        if entry is None:
            return absent_attributes()
        return entry_attributes(entry, self._inodes.remember(entry, parent.inode))

    async def _entry(self, parent: Node, name: bytes) -> Entry | None:
        path = self._inodes.path(parent.inode)
        listing = self._directories.cached(parent.inode)
        if listing is None and parent.entry.fields[7] <= _LARGE_DIRECTORY_BYTES:
            listing = await self._directories.listing(parent.inode, path)
        entry = listing.by_name.get(name) if listing is not None else None
        if entry is not None and not entry.is_unreadable:
            return entry
        try:  # a name that is not listed may still be there: some filesystems fold case or have short names
            return await self._guest.lstat(os.path.join(path, name), name)
        except ProcedureError as exc:
            if exc.errno == errno.ENOENT:
                return None
            raise

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

    @answers_errno
    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        """Return the root filesystem's size and use."""
        return statvfs_data(await self._guest.statvfs(b"/"))

    # ── whatever writes; ``flush`` is left unanswered (ENOSYS), so that the kernel stops asking at each close(2) ──

    async def _refuse(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise pyfuse3.FUSEError(errno.EROFS)

    setattr = mknod = mkdir = unlink = rmdir = symlink = rename = link = create = write = _refuse
    setxattr = removexattr = _refuse
