"""Directories and links: names, listings, walks."""

import os
import stat as modes
import struct
from collections.abc import Iterator
from errno import ENOTSUP
from typing import Final

from daemon.registry import handles, streams
from daemon.session import Pieces, Session
from daemon.stat import packed_fields
from daemon.xattrs import list_xattrs
from rpc import procedures
from rpc.arguments import Find0Args, InternalLxattrlistArgs, PathArgs, ReaddirArgs
from rpc.codec import FileName
from rpc.hot import STATNS
from rpc.types import Dirent

_TYPE_LETTERS: Final = {
    modes.S_IFBLK: "b",
    modes.S_IFCHR: "c",
    modes.S_IFDIR: "d",
    modes.S_IFIFO: "f",
    modes.S_IFLNK: "l",
    modes.S_IFREG: "r",
    modes.S_IFSOCK: "s",
}
_WORD: Final = struct.Struct(">I")
_TWO_WORDS: Final = struct.Struct(">II")
_PADDING: Final = (b"", b"\0\0\0", b"\0\0", b"\0")
_UNREADABLE: Final = STATNS.pack(0, -1, *([0] * 20))


@handles(procedures.READLINK)
def readlink(session: Session, args: PathArgs) -> bytes:
    """Return where a symbolic link points."""
    with session.sysroot.entered():
        return os.readlink(args.path)


@handles(procedures.INTERNAL_READLINKLIST)
def internal_readlinklist(session: Session, args: InternalLxattrlistArgs) -> list[bytes]:
    """Return the targets of names in one directory, empty for what is not a readable link."""
    with session.sysroot.entered():
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
    with session.sysroot.entered():
        return os.fsdecode(os.path.realpath(args.path, strict=True))


@handles(procedures.READDIR)
def readdir(session: Session, args: ReaddirArgs) -> list[Dirent]:
    """Return the whole directory in one reply, with ``.`` and ``..``."""
    with session.sysroot.entered():
        return _dirents(args.dir)


@streams(procedures.INTERNAL_READDIR)
def internal_readdir(session: Session, args: ReaddirArgs) -> Pieces:
    """Stream the directory as ``dirent`` structs, whole ones in each chunk."""
    with session.sysroot.entered():
        entries = _dirents(args.dir)
    records = (struct.pack(">qi", entry.ino, ord(entry.ftyp)) + _packed_opaque(entry.name) for entry in entries)
    return _whole_records(records, session.chunk_max_bytes)


def _dirents(path: bytes) -> list[Dirent]:
    os.chdir(path)
    entries = [_dirent_of_stat(b"."), _dirent_of_stat(b"..")]
    with os.scandir(b".") as names:
        entries.extend(Dirent(entry.inode(), _letter(entry), FileName(entry.name)) for entry in names)
    return entries


def _dirent_of_stat(name: bytes) -> Dirent:
    return Dirent(os.lstat(name).st_ino, "d", FileName(name))


def _letter(entry: "os.DirEntry[bytes]") -> str:
    if entry.is_symlink():
        return "l"
    if entry.is_dir(follow_symlinks=False):
        return "d"
    if entry.is_file(follow_symlinks=False):
        return "r"
    try:
        return _TYPE_LETTERS.get(modes.S_IFMT(entry.stat(follow_symlinks=False).st_mode), "?")
    except OSError:
        return "u"


@streams(procedures.LIST_DIRECTORY)
def list_directory(session: Session, args: PathArgs) -> Pieces:
    """Stream a directory's entries with attributes, link targets and extended attributes.

    The directory is held open by descriptor, so that each piece enters the root anew and the peer may take its time.
    """
    with session.sysroot.entered():
        directory = os.open(args.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            names = [b".", *map(os.fsencode, os.listdir(directory))]
        except OSError:
            os.close(directory)
            raise
    return _whole_records(_entries(session, directory, names), session.chunk_max_bytes)


def _entries(session: Session, directory: int, names: list[bytes]) -> Iterator[bytes]:
    """Yield one packed ``DirectoryEntry`` a name; closes the directory."""
    with_xattrs = True
    origin = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for start in range(0, len(names), 256):
            batch = []
            os.fchdir(directory)  # names are relative and end at no link, so the root need not be entered
            try:
                for name in names[start : start + 256]:
                    record, with_xattrs = _entry(name, with_xattrs=with_xattrs)
                    batch.append(record)
            finally:
                os.fchdir(origin)
            yield from batch
    finally:
        os.close(origin)
        os.close(directory)


def _entry(name: bytes, *, with_xattrs: bool) -> tuple[bytes, bool]:
    target = b""
    try:
        info = os.lstat(name)
        attributes = STATNS.pack(*packed_fields(info))
        if modes.S_ISLNK(info.st_mode):
            target = os.readlink(name)
    except OSError:
        attributes = _UNREADABLE
    pairs: list[tuple[bytes, bytes]] = []
    listed = True
    if with_xattrs:
        try:
            pairs = list_xattrs(name)
        except OSError as exc:
            listed = with_xattrs = exc.errno != ENOTSUP
            listed = not with_xattrs
    parts = [_packed_opaque(name), attributes, _packed_opaque(target), _TWO_WORDS.pack(listed, len(pairs))]
    for pair in pairs:
        parts += map(_packed_opaque, pair)
    return b"".join(parts), with_xattrs


def _packed_opaque(data: bytes) -> bytes:
    size_bytes = len(data)
    return _WORD.pack(size_bytes) + data + _PADDING[size_bytes & 3]


def _whole_records(records: Iterator[bytes], chunk_max_bytes: int) -> Pieces:
    """Join records into pieces of at most a chunk; a record that does not fit into one ends the transfer."""
    pending: list[bytes] = []
    size_bytes = 0
    for record in records:
        if size_bytes + len(record) > chunk_max_bytes and pending:
            yield b"".join(pending)
            pending, size_bytes = [], 0
        pending.append(record)
        size_bytes += len(record)
    if pending:
        yield b"".join(pending)


@streams(procedures.FIND0)
def find0(session: Session, args: Find0Args) -> Pieces:
    """Stream the paths below a directory, each with a NUL behind it (guestfs-protocol 5.3 says how they begin)."""
    prefix = b"" if args.directory == b"/" else b"/"
    with session.sysroot.entered():
        if not modes.S_ISDIR(os.stat(args.directory).st_mode):
            raise NotADirectoryError(20, os.strerror(20))
        os.chdir(args.directory)
        paths = [
            prefix + os.path.join(parent, name)[2:]
            for parent, directories, files in os.walk(b".")
            for name in directories + files
        ]
    return _whole_records((path + b"\0" for path in paths), session.chunk_max_bytes)
