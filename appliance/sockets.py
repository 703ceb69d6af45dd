"""Listening sockets that nobody else can reach."""

import os
import socket
import tempfile
from contextlib import ExitStack
from typing import Final

from rpc.errors import DriveError

_BACKLOG: Final = 16


def bind_nameless(listener: socket.socket) -> int:
    """Bind a socket to a name in a private directory, take both away at once, and return the inode's descriptor.

    The directory goes by its descriptor, because its own name may be longer than a socket's may be. Connect to
    ``/proc/self/fd/N``.

    Raises:
        DriveError: there is no place for it.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="guestmount-py-") as directory, ExitStack() as opened:
            directory_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            opened.callback(os.close, directory_fd)
            listener.bind(f"/proc/self/fd/{directory_fd}/nbd")
            listener.listen(_BACKLOG)
            return os.open("nbd", os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=directory_fd)
    except OSError as exc:
        raise DriveError(f"cannot make a socket for qemu's export: {exc}: TMPDIR can name another place") from exc
