"""Attributes of files: stat(2) and its kin."""

import os
import stat as modes
from struct import Struct
from typing import Final

from daemon.registry import handles
from daemon.session import Session
from rpc import procedures
from rpc.arguments import PathArgs, PathNamesArgs
from rpc.procedures.attributes import FilesizeArgs, IsFileArgs
from rpc.types import Statns, Statvfs

_NS: Final = 1_000_000_000
_SPARE: Final = (0,) * 6
_UNREADABLE: Final = Statns(0, -1, *([0] * 20))
"""Stands for a name whose attributes could not be read (``internal_lstatnslist``)."""


PACKED: Final = Struct(">16q48x")
"""``statns`` on the wire; its spare fields are zero."""


def stat_fields(info: os.stat_result) -> tuple[int, ...]:
    """Return a stat result as the fields of ``statns``, in wire order, without the spare ones."""
    mode, ino, dev, nlink, uid, gid, size_bytes = info[:7]
    return (
        *(
            dev,
            ino - (ino >> 63 << 64),
            mode,
            nlink,
            uid,
            gid,
            info.st_rdev,
            size_bytes,
            info.st_blksize,
            info.st_blocks,
        ),
        *divmod(info.st_atime_ns, _NS),
        *divmod(info.st_mtime_ns, _NS),
        *divmod(info.st_ctime_ns, _NS),
    )


def statns_of(info: os.stat_result) -> Statns:
    """Return a stat result as it goes over the wire."""
    return Statns._make((*stat_fields(info), *_SPARE))


@handles(procedures.LSTATNS)
def lstatns(session: Session, args: PathArgs) -> Statns:
    """Return the attributes of a file; a link is not followed."""
    with session.sysroot:
        return statns_of(os.lstat(args.path))


@handles(procedures.STATNS)
def statns(session: Session, args: PathArgs) -> Statns:
    """Return the attributes of a file; links are followed."""
    with session.sysroot:
        return statns_of(os.stat(args.path))


@handles(procedures.INTERNAL_LSTATNSLIST)
def internal_lstatnslist(session: Session, args: PathNamesArgs) -> list[Statns]:
    """Return the attributes of names in one directory, in order."""
    with session.sysroot:
        os.chdir(args.path)
        return [_lstat_or_mark(name) for name in args.names]


def _lstat_or_mark(name: bytes) -> Statns:
    try:
        return statns_of(os.lstat(name))
    except OSError:
        return _UNREADABLE


@handles(procedures.STATVFS)
def statvfs(session: Session, args: PathArgs) -> Statvfs:
    """Return size and use of the filesystem that holds a path."""
    with session.sysroot:
        info = os.statvfs(args.path)
    return Statvfs(
        info.f_bsize,
        info.f_frsize,
        info.f_blocks,
        info.f_bfree,
        info.f_bavail,
        info.f_files,
        info.f_ffree,
        info.f_favail,
        signed(info.f_fsid),
        info.f_flag,
        info.f_namemax,
    )


def signed(pattern: int) -> int:
    """Return a number of 64 bits, such as the inode numbers that btrfs may have, as the wire carries it."""
    return pattern - (1 << 64) if pattern >> 63 else pattern


def mode_of(session: Session, path: bytes, *, follow: bool = False) -> int | None:
    """Return the mode of a path, None if there is nothing (ENOENT and ENOTDIR)."""
    try:
        with session.sysroot:
            return os.stat(path, follow_symlinks=follow).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


@handles(procedures.EXISTS)
def exists(session: Session, args: PathArgs) -> bool:
    """Tell whether something has that name; a dangling link counts."""
    return mode_of(session, args.path) is not None


@handles(procedures.IS_FILE)
def is_file(session: Session, args: IsFileArgs) -> bool:
    """Tell whether it is a regular file."""
    return modes.S_ISREG(mode_of(session, args.path, follow=bool(args.followsymlinks)) or 0)


@handles(procedures.IS_DIR)
def is_dir(session: Session, args: IsFileArgs) -> bool:
    """Tell whether it is a directory."""
    return modes.S_ISDIR(mode_of(session, args.path, follow=bool(args.followsymlinks)) or 0)


@handles(procedures.IS_SYMLINK)
def is_symlink(session: Session, args: PathArgs) -> bool:
    """Tell whether it is a symbolic link."""
    return modes.S_ISLNK(mode_of(session, args.path) or 0)


@handles(procedures.FILESIZE)
def filesize(session: Session, args: FilesizeArgs) -> int:
    """Return the size of a file in bytes; links are followed."""
    with session.sysroot:
        return os.stat(args.file).st_size
