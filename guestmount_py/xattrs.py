"""Extended attributes of files: asked for with those of a directory's other files."""

from guestmount_py.dircache import DirectoryCache
from guestmount_py.entries import Xattrs
from guestmount_py.guest_files import GuestFiles
from guestmount_py.inodes import InodeTable, Unlisted


class XattrReader:
    """Extended attributes by inode; they are kept in listings."""

    def __init__(self, guest: GuestFiles, inodes: InodeTable, directories: DirectoryCache) -> None:
        self._guest = guest
        self._inodes = inodes
        self._directories = directories

    def known(self, inode: int) -> Xattrs | None:
        """Return those of a file if they are here; KeyError if the kernel does not know the file."""
        try:
            return self._inodes.get(inode).entry.xattrs
        except Unlisted:
            return None

    async def get(self, inode: int) -> Xattrs:
        """Return those of a file; the first time, ask for those of its directory's files too.

        Raises:
            KeyError: the kernel does not know the file.
            GuestmountError: the guest cannot tell.
        """
        node = await self._inodes.node(inode)
        entry = node.entry
        if entry.xattrs is None:
            listing = self._directories.peek(node.parent)
            if listing is not None and listing.by_name.get(entry.name) is entry:
                unknown = [each for each in listing.entries if each.xattrs is None and not each.is_unreadable]
                if len(unknown) > 1:
                    await self._guest.neighbours_xattrs(self._inodes.path(node.parent), unknown)
                    self._directories.count_again(node.parent)
        if entry.xattrs is None:
            entry.xattrs = await self._guest.xattrs(self._inodes.path_of(node))
        return entry.xattrs
