"""Where paths lead in one of several systems that are mounted side by side: its links mean its own root."""

import errno
import os
import stat as modes
from typing import Final

from guestmount_py.guest_files import GuestFiles
from rpc.errors import ProcedureError

_LINKS_MAX: Final = 40
"""As many as Linux follows (path_resolution(7))."""


async def path_within(files: GuestFiles, root: bytes, path: bytes) -> bytes:
    """Return the path without links of what a process finds whose root is a directory.

    Raises:
        ProcedureError: something is not there; ELOOP for too many links.
    """
    names = path.split(b"/")[::-1]
    found: list[bytes] = []
    links = 0
    while names:
        name = names.pop()
        if name == b"..":
            del found[-1:]
        elif name not in (b"", b"."):
            here = b"/".join((root, *found, name))
            if modes.S_ISLNK((await files.lstat(here, name)).fields[2]):
                links += 1
                if links > _LINKS_MAX:
                    raise ProcedureError("lstatns", errno.ELOOP, "ELOOP", os.strerror(errno.ELOOP))
                target = await files.readlink(here)
                if target.startswith(b"/"):
                    found.clear()
                names += target.split(b"/")[::-1]
            else:
                found.append(name)
    return b"/".join((root, *found))
