"""What a mount shows: which inodes, listings and contents there are, for all handlers of requests."""

import trio

from guestmount_py.caches import CacheBudget
from guestmount_py.config import DEFAULT_CACHE_MIB
from guestmount_py.dircache import DirectoryCache
from guestmount_py.direct import Images
from guestmount_py.file_maps import FileMaps
from guestmount_py.filedata import FileData
from guestmount_py.guest_files import GuestFiles
from guestmount_py.inodes import InodeTable
from guestmount_py.prefetch import Prefetcher
from guestmount_py.statistics import Statistics
from guestmount_py.xattrs import XattrReader


class Tree:
    """The guest's files and what is kept of them.

    Args:
        guest: answers what is not kept.
        inodes: the kernel's.
        nursery: for what is fetched ahead.
        statistics: are told of caches and reads.
        images: None if only the guest reads.
        cache_mib: bound of all that is kept.

    Attributes:
        guest, inodes: the same.
        directories: listings.
        files: contents.
        xattrs: extended attributes.
        prefetcher: walks ahead of walkers; told which directories are read.
    """

    def __init__(
        self,
        guest: GuestFiles,
        inodes: InodeTable,
        nursery: trio.Nursery,
        statistics: Statistics | None = None,
        images: Images | None = None,
        cache_mib: int = DEFAULT_CACHE_MIB,
    ) -> None:
        statistics = statistics or Statistics()
        budget = CacheBudget(cache_mib << 20, statistics)
        self.guest = guest
        self.inodes = inodes
        self.directories = DirectoryCache(guest, budget)
        inodes.attach(self.directories, budget)
        maps = FileMaps(images, inodes, self.directories, budget, nursery) if images is not None else None
        self.files = FileData(guest, inodes, self.directories, nursery, statistics, budget, images, maps)
        self.xattrs = XattrReader(guest, inodes, self.directories)
        self.prefetcher = Prefetcher(guest, self.directories, inodes, nursery)
