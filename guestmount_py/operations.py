"""The FUSE handlers: find the inode, ask, translate."""

import errno
import os
import stat as modes
from collections.abc import Sequence
from typing import Any, Final, NoReturn, cast

import pyfuse3
import trio

from guestmount_py.attributes import absent_attributes, entry_attributes, statvfs_data, unreadable_attributes
from guestmount_py.caches import CacheBudget
from guestmount_py.config import DEFAULT_CACHE_MIB
from guestmount_py.dircache import DirectoryCache, Listing
from guestmount_py.direct import Images
from guestmount_py.entries import Entry, Xattrs
from guestmount_py.errno_boundary import answers_errno
from guestmount_py.filedata import FileData
from guestmount_py.guest_files import GuestFiles
from guestmount_py.inodes import Inode, InodeTable, Node
from guestmount_py.prefetch import Prefetcher
from guestmount_py.statistics import Statistics
from rpc.errors import ProcedureError

_LARGE_DIRECTORY_BYTES: Final = 256 * 1024
"""A single name in a directory file longer than this is asked for by itself, not by listing it all."""


class ReadOnlyOperations(pyfuse3.Operations):
    """A read-only filesystem on a guest.

    Whatever a listing tells is kept: attributes, link targets, extended attributes, and which names do not exist.
    """

    supports_dot_lookup = False
    enable_acl = False
    enable_writeback_cache = False

    def __init__(
        self,
        guest: GuestFiles,
        inodes: InodeTable,
        nursery: trio.Nursery,
        statistics: Statistics | None = None,
        images: Images | None = None,
        cache_mib: int = DEFAULT_CACHE_MIB,
    ) -> None:
        super().__init__()
        self._guest = guest
        self._inodes = inodes
        statistics = statistics or Statistics()
        budget = CacheBudget(cache_mib << 20, statistics)
        self._directories = self._directory_cache(guest, budget)
        self._files = FileData(guest, inodes, self._directories, nursery, statistics, images, budget)
        self._prefetcher = Prefetcher(guest, self._directories, inodes, nursery)
        self._open_directories: dict[int, tuple[Inode, Listing]] = {}
        self._next_directory = 1

    def _directory_cache(self, guest: GuestFiles, budget: CacheBudget) -> DirectoryCache:
        return DirectoryCache(guest, budget)

    def _node(self, inode: int) -> Node:
        try:
            return self._inodes.get(inode)
        except KeyError as exc:
            raise pyfuse3.FUSEError(errno.ESTALE) from exc

    # ── names and attributes ──

    @answers_errno
    async def lookup(
        self, parent_inode: pyfuse3.InodeT, name: pyfuse3.FileNameT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Find a name in a directory."""
        parent = self._node(parent_inode)
        entry = await self._entry(parent, bytes(name))
        if entry is None:
            return absent_attributes()
        node = self._inodes.remember(entry, parent.inode)
        return entry_attributes(node.entry, node.inode)

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

    async def forget(self, inode_list: Sequence[tuple[pyfuse3.InodeT, int]]) -> None:
        """Take back lookups."""
        for inode, count in inode_list:
            self._inodes.forget(inode, count)

    @answers_errno
    async def getattr(self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        """Return the attributes of a known file."""
        node = self._node(inode)
        return entry_attributes(node.entry, node.inode)

    @answers_errno
    async def readlink(self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext) -> pyfuse3.FileNameT:
        """Return a symlink's target."""
        node = self._node(inode)
        if node.entry.target is None:
            node.entry.target = await self._guest.readlink(self._inodes.path(inode))
        return pyfuse3.FileNameT(node.entry.target)

    @answers_errno
    async def access(self, inode: pyfuse3.InodeT, mode: pyfuse3.ModeT, ctx: pyfuse3.RequestContext) -> bool:
        """Let whoever may use the mount read everything, as root in the guest could; nobody may write."""
        node = self._node(inode)
        if mode & os.W_OK:
            raise pyfuse3.FUSEError(errno.EROFS)
        permissions = node.entry.fields[2]
        return not mode & os.X_OK or modes.S_ISDIR(permissions) or bool(permissions & 0o111)

    @answers_errno
    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        """Return the root filesystem's size and use."""
        return statvfs_data(await self._guest.statvfs(b"/"))

    # ── extended attributes ──

    async def _xattrs(self, inode: int) -> Xattrs:
        """Return a file's extended attributes; the first time, ask for those of its directory's files too."""
        node = self._node(inode)
        entry = node.entry
        if entry.xattrs is None:
            listing = self._directories.cached(node.parent)
            if listing is not None and listing.by_name.get(entry.name) is entry:
                unknown = [each for each in listing.entries if each.xattrs is None and not each.is_unreadable]
                if len(unknown) > 1:
                    await self._guest.neighbours_xattrs(self._inodes.path(node.parent), unknown)
                    self._directories.count_again(node.parent)
        if entry.xattrs is None:
            entry.xattrs = await self._guest.xattrs(self._inodes.path(inode))
        return entry.xattrs

    @answers_errno
    async def getxattr(self, inode: pyfuse3.InodeT, name: pyfuse3.XAttrNameT, ctx: pyfuse3.RequestContext) -> bytes:
        """Return one extended attribute."""
        for key, value in await self._xattrs(inode):
            if key == name:
                return value
        raise pyfuse3.FUSEError(errno.ENODATA)

    @answers_errno
    async def listxattr(self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext) -> Sequence[pyfuse3.XAttrNameT]:
        """Name the extended attributes."""
        return [pyfuse3.XAttrNameT(key) for key, _ in await self._xattrs(inode)]

    # ── directories ──

    @answers_errno
    async def opendir(self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext) -> pyfuse3.FileHandleT:
        """List a directory and hold the listing, so that offsets stay right however long reading takes."""
        node = self._node(inode)
        path = self._inodes.path(inode)
        listing = await self._directories.listing(node.inode, path)
        if self._guest.extended:
            self._prefetcher.opened(node, path)
        handle = self._next_directory
        self._next_directory += 1
        self._open_directories[handle] = (node.inode, listing)
        return pyfuse3.FileHandleT(handle)

    @answers_errno
    async def readdir(self, fh: pyfuse3.FileHandleT, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        """Hand out entries with their attributes; offset n stands before the n-th, ``.`` and ``..`` being 0 and 1."""
        inode, listing = self._open_directories[fh]
        node = self._inodes.get(inode)
        for position, (name, dot) in enumerate(((b".", node), (b"..", self._inodes.get(node.parent)))):
            if start_id <= position:
                attributes = entry_attributes(dot.entry, dot.inode)
                if not pyfuse3.readdir_reply(token, pyfuse3.FileNameT(name), attributes, position + 1):
                    return
        entries = listing.entries
        for index in range(max(start_id - 2, 0), len(entries)):
            entry = entries[index]
            is_unreadable = entry.is_unreadable
            attributes = (
                unreadable_attributes() if is_unreadable else entry_attributes(entry, self._inodes.number(entry, inode))
            )
            if not pyfuse3.readdir_reply(token, pyfuse3.FileNameT(entry.name), attributes, index + 3):
                return
            if not is_unreadable:
                self._inodes.remember(entry, inode)

    @answers_errno
    async def releasedir(self, fh: pyfuse3.FileHandleT) -> None:
        """Let a listing go."""
        del self._open_directories[fh]

    # ── files; ``flush`` is left unanswered (ENOSYS), so that the kernel stops asking at each close(2) ──

    @answers_errno
    async def open(self, inode: pyfuse3.InodeT, flags: pyfuse3.FlagT, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        """Open a file for reading; what the kernel has cached of it stays valid."""
        if flags & os.O_ACCMODE != os.O_RDONLY or flags & os.O_TRUNC:
            raise pyfuse3.FUSEError(errno.EROFS)
        return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(self._files.open(self._node(inode))), keep_cache=True)

    @answers_errno
    async def read(self, fh: pyfuse3.FileHandleT, off: int, size: int) -> bytes:
        """Return part of a file."""
        return cast("bytes", await self._files.read(fh, off, size))  # pyfuse3 takes any buffer, whatever it declares

    @answers_errno
    async def release(self, fh: pyfuse3.FileHandleT) -> None:
        """Close a file."""
        self._files.close(fh)

    # ── whatever writes ──

    async def _refuse(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise pyfuse3.FUSEError(errno.EROFS)

    mknod: Any = _refuse
    mkdir = unlink = rmdir = symlink = rename = link = create = write = setattr = setxattr = removexattr = mknod
