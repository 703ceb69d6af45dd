"""Making, linking, removing and renaming files for a mount that writes: one call for each, attributes in the answer."""

import ctypes
import os
import stat as modes
from errno import EINVAL, EISDIR
from functools import cache
from typing import Any, Final

from daemon.kept import drop, keep
from daemon.registry import handles
from daemon.session import Session
from daemon.stat import statns_of
from daemon.statx import NAMES_AT_ONCE, statx_buffer
from rpc import procedures
from rpc.arguments import PathArgs
from rpc.procedures.writing import (
    LinkFileArgs,
    Made,
    MakeFileArgs,
    OpenFileArgs,
    Removed,
    RemoveNameArgs,
    Renamed,
    RenameFileArgs,
)
from rpc.types import Statns

_CREATE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FLAGS: Final = os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_WISHES: Final = os.O_ACCMODE | os.O_TRUNC | os.O_APPEND
_SPECIAL_BITS: Final = modes.S_ISUID | modes.S_ISGID
_AT_FDCWD: Final = -100
_PROTECTED: Final = 0x30
"""STATX_ATTR_IMMUTABLE and STATX_ATTR_APPEND (linux/stat.h)."""


@handles(procedures.MAKE_FILE)
def make_file(session: Session, args: MakeFileArgs) -> Made:
    """Make a file of any type that belongs to somebody."""
    umask = os.umask(0)
    try:
        with session.sysroot:
            return Made(_made(args), _directory_of(args.path))
    finally:
        os.umask(umask)


def _directory_of(path: bytes) -> Statns:
    return statns_of(os.lstat(os.path.dirname(path)))


def _made(args: MakeFileArgs) -> Statns:
    path, mode = args.path, args.mode
    kind, bits = modes.S_IFMT(mode), modes.S_IMODE(mode)
    if kind == modes.S_IFREG:
        descriptor = os.open(path, _CREATE_FLAGS, bits)
        try:
            info = os.fstat(descriptor)
            if _give(descriptor, info, args, follow=True):
                info = os.fstat(descriptor)
            return statns_of(info)
        finally:
            os.close(descriptor)
    if kind == modes.S_IFDIR:
        os.mkdir(path, bits)
    elif kind == modes.S_IFLNK:
        os.symlink(args.target, path)
    else:
        os.mknod(path, mode, args.rdev)
    info = os.lstat(path)
    if _give(path, info, args, follow=False):
        info = os.lstat(path)
    return statns_of(info)


def _give(target: int | bytes, info: os.stat_result, args: MakeFileArgs, *, follow: bool) -> bool:
    """Give a new file to its owner; tell whether that changed anything."""
    gid = group_of_new(args.path, info.st_gid, args.gid)
    if (info.st_uid, info.st_gid) == (args.uid, gid):
        return False
    os.chown(target, args.uid, gid, follow_symlinks=follow)
    if info.st_mode & _SPECIAL_BITS and not modes.S_ISLNK(info.st_mode):  # which chown(2) has taken away
        os.chmod(target, modes.S_IMODE(info.st_mode))
    return True


def group_of_new(path: bytes, gid: int, wanted: int) -> int:
    """Return the group of a new file that somebody of the group ``wanted`` makes: a setgid directory decides.

    Args:
        path: of the file.
        gid: which it has got.
        wanted: if nothing decides.
    """
    if gid == wanted or gid != os.getegid():  # another than the daemon's own is the directory's
        return gid
    return gid if os.lstat(os.path.dirname(path)).st_mode & modes.S_ISGID else wanted


@handles(procedures.LINK_FILE)
def link_file(session: Session, args: LinkFileArgs) -> Made:
    """Give a file one name more."""
    with session.sysroot:
        os.link(args.path, args.linkname, follow_symlinks=False)
        return Made(statns_of(os.lstat(args.linkname)), _directory_of(args.linkname))


@handles(procedures.REMOVE_NAME)
def remove_name(session: Session, args: RemoveNameArgs) -> Removed:
    """Remove a name, or a directory."""
    with session.sysroot:
        if args.directory:
            os.rmdir(args.path)
            return Removed(0, _directory_of(args.path))
        kept = keep(args.path) if args.keep else 0
        try:
            os.unlink(args.path)
        except OSError:
            if kept:
                drop(kept)
            raise
        return Removed(kept, _directory_of(args.path))


@handles(procedures.ANY_PROTECTED)
def any_protected(session: Session, args: PathArgs) -> bool:
    """Tell whether a directory or a file in it may be immutable or append-only, so that the file cannot be removed."""
    statx = statx_buffer()
    with session.sysroot:
        os.chdir(args.path)
        names = [b".", *os.listdir(b".")]
        for start in range(0, len(names), NAMES_AT_ONCE):
            part = names[start : start + NAMES_AT_ONCE]
            statx.look(part)
            if any(attributes & _PROTECTED for attributes in statx.attributes[: len(part)]):
                return True
            if any(~known & _PROTECTED for known in statx.known_attributes[: len(part)]):
                return True
    return False


@handles(procedures.RENAME_FILE)
def rename_file(session: Session, args: RenameFileArgs) -> Renamed:
    """Rename as renameat2(2) does."""
    with session.sysroot:
        kept = keep(args.newpath) if args.keep else 0
        try:
            if args.flags:
                _rename(args.path, args.newpath, args.flags)
            else:
                os.rename(args.path, args.newpath)
        except OSError:
            if kept:
                drop(kept)
            raise
        return Renamed(kept, _directory_of(args.path), _directory_of(args.newpath))


def _rename(path: bytes, newpath: bytes, flags: int) -> None:
    if _renameat2()(_AT_FDCWD, path, _AT_FDCWD, newpath, flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)


@cache
def _renameat2() -> Any:
    return ctypes.CDLL(None, use_errno=True).renameat2


@handles(procedures.OPEN_FILE)
def open_file(session: Session, args: OpenFileArgs) -> Statns:
    """Open a regular file as somebody wants to, which may cut it, and close it; return its attributes."""
    with session.sysroot:
        descriptor = os.open(args.path, _OPEN_FLAGS | args.flags & _OPEN_WISHES)
        try:
            info = os.fstat(descriptor)
        finally:
            os.close(descriptor)
    if not modes.S_ISREG(info.st_mode):
        number = EISDIR if modes.S_ISDIR(info.st_mode) else EINVAL
        raise OSError(number, f"{os.strerror(number)} (not a regular file)", args.path)
    return statns_of(info)
