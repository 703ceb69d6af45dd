"""Mount the filesystems inside a virtual machine's disk: command line, FUSE handlers, inode table, caches.

cli → mount → operations → inodes, dircache, filedata → guest_files → rpc.pool.
"""

from typing import Final

VERSION: Final = "0.1.0"
