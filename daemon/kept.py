"""Files that have no name any more but are still in use: one process of the daemon keeps them, all can reach them."""

import os
import resource
from contextlib import suppress
from errno import EBADF, EMFILE
from typing import Final

from daemon.registry import handles
from daemon.session import Session
from rpc import procedures
from rpc.procedures.writing import KeptArgs, ReadKeptArgs

_KEPT_MAX: Final = 16384
_OPEN_MAX: Final = _KEPT_MAX + 1024
_SHIFT: Final = 32
_descriptors: Final[set[int]] = set()


def keep(path: bytes) -> int:
    """Keep a file, not followed if it is a link; return its number, which is also good in other processes."""
    if len(_descriptors) >= _KEPT_MAX:
        raise OSError(EMFILE, os.strerror(EMFILE), path)
    if not _descriptors:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_MAX, max(hard, _OPEN_MAX)))
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    _descriptors.add(descriptor)
    return os.getpid() << _SHIFT | descriptor


def kept_path(kept: int) -> bytes:
    """Return the path, outside the guest's root, that leads to a file that is kept by whichever process."""
    return b"/proc/%d/fd/%d" % (kept >> _SHIFT, kept & ((1 << _SHIFT) - 1))


def drop(kept: int) -> None:
    """Let a file go that this process keeps."""
    descriptor = kept & ((1 << _SHIFT) - 1)
    if kept >> _SHIFT != os.getpid() or descriptor not in _descriptors:
        raise OSError(EBADF, os.strerror(EBADF))
    _descriptors.remove(descriptor)
    os.close(descriptor)


@handles(procedures.READ_KEPT)
def read_kept(_session: Session, args: ReadKeptArgs) -> bytes:
    """Return part of a file that has no name any more, shorter only at its end."""
    descriptor = os.open(kept_path(args.kept), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, args.length, args.offset)
    finally:
        os.close(descriptor)


@handles(procedures.CLOSE_KEPT)
def close_kept(_session: Session, args: KeptArgs) -> None:
    """Let a file go; it must be the process that keeps it."""
    drop(args.kept)
