"""Names in a directory, and where links point."""

import os
import stat as modes
from struct import Struct
from typing import Final

from daemon.pieces import records_in_pieces
from daemon.registry import handles, streams
from daemon.session import Pieces, Session
from daemon.stat import signed
from rpc import procedures
from rpc.arguments import PathArgs, PathNamesArgs
from rpc.codec import FileName
from rpc.procedures.directories import ReaddirArgs
from rpc.types import Dirent
from rpc.xdr import PADDING

_DIRENT_HEAD: Final = Struct(">qII")
_TYPE_LETTERS: Final = {
    modes.S_IFBLK: "b",
    modes.S_IFCHR: "c",
    modes.S_IFDIR: "d",
    modes.S_IFIFO: "f",
    modes.S_IFLNK: "l",
    modes.S_IFREG: "r",
    modes.S_IFSOCK: "s",
}


@handles(procedures.READLINK)
def readlink(session: Session, args: PathArgs) -> bytes:
    """Return where a symbolic link points."""
    with session.sysroot:
        return os.readlink(args.path)


@handles(procedures.INTERNAL_READLINKLIST)
def internal_readlinklist(session: Session, args: PathNamesArgs) -> list[bytes]:
    """Return the targets of names in one directory, empty for what is not a readable link."""
    with session.sysroot:
        os.chdir(args.path)
        return [_readlink_or_empty(name) for name in args.names]


def _readlink_or_empty(name: bytes) -> bytes:
    try:
        return os.readlink(name)
    except OSError:
        return b""


@handles(procedures.REALPATH)
def realpath(session: Session, args: PathArgs) -> str:
    """Return the path with every link resolved."""
    with session.sysroot:
        os.stat(args.path)  # Python's realpath would go up from what is no directory
        return os.fsdecode(os.path.realpath(args.path, strict=True))


@handles(procedures.READDIR)
def readdir(session: Session, args: ReaddirArgs) -> list[Dirent]:
    """Return the whole directory in one reply, with ``.`` and ``..``."""
    with session.sysroot:
        return _dirents(args.dir)


@streams(procedures.INTERNAL_READDIR)
def internal_readdir(session: Session, args: ReaddirArgs) -> Pieces:
    """Stream the directory as ``dirent`` structs, whole ones in each chunk."""
    with session.sysroot:
        entries = _dirents(args.dir)
    records = (
        _DIRENT_HEAD.pack(ino, ord(letter), len(name)) + name + PADDING[len(name) & 3] for ino, letter, name in entries
    )
    yield from records_in_pieces(records, session.chunk_max_bytes)


@streams(procedures.LS0)
def ls0(session: Session, args: ReaddirArgs) -> Pieces:
    """Stream the names in a directory, each with a NUL behind it, without ``.`` and ``..``."""
    with session.sysroot:
        names = os.listdir(args.dir)
    yield from records_in_pieces((name + b"\0" for name in names), session.chunk_max_bytes)


def _dirents(path: bytes) -> list[Dirent]:
    os.chdir(path)
    entries = [_dirent_of_stat(b"."), _dirent_of_stat(b"..")]
    with os.scandir(b".") as names:
        entries.extend(Dirent(signed(entry.inode()), _letter(entry), FileName(entry.name)) for entry in names)
    return entries


def _dirent_of_stat(name: bytes) -> Dirent:
    return Dirent(signed(os.lstat(name).st_ino), "d", FileName(name))


def _letter(entry: os.DirEntry[bytes]) -> str:
    """Return the type of an entry; only what is no link, directory or regular file is looked at."""
    try:
        if entry.is_file(follow_symlinks=False):
            return "r"
        if entry.is_dir(follow_symlinks=False):
            return "d"
        if entry.is_symlink():
            return "l"
        return _TYPE_LETTERS.get(modes.S_IFMT(entry.stat(follow_symlinks=False).st_mode), "?")
    except OSError:
        return "u"
