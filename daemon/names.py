"""Making, linking, renaming and removing names."""

import os
import stat as modes
from contextlib import suppress
from errno import EEXIST, EINVAL, ENOTDIR
from typing import Final

from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import procedures
from rpc.arguments import PathArgs
from rpc.procedures.names import (
    ChmodArgs,
    LnArgs,
    MkdirModeArgs,
    MkdtempArgs,
    MknodArgs,
    MktempArgs,
    RenameArgs,
)

_BLANK: Final = b"XXXXXX"
_LETTERS: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_ATTEMPTS: Final = 100


def new_name(prefix: bytes, suffix: bytes) -> bytes:
    """Return a name that nobody has thought of."""
    return prefix + bytes(_LETTERS[number % len(_LETTERS)] for number in os.urandom(len(_BLANK))) + suffix


def checked_mode(mode: int) -> int:
    """Refuse a negative mode."""
    if mode < 0:
        raise CallError(f"mode {mode} is negative")
    return mode


@handles(procedures.MKDIR)
def mkdir(session: Session, args: PathArgs) -> None:
    """Make a directory; its mode is what the umask leaves of 0777."""
    with session.sysroot:
        os.mkdir(args.path)


@handles(procedures.MKDIR_MODE)
def mkdir_mode(session: Session, args: MkdirModeArgs) -> None:
    """Make a directory; its mode is what the umask leaves of the one given."""
    mode = checked_mode(args.mode)
    with session.sysroot:
        os.mkdir(args.path, mode)


@handles(procedures.MKDIR_P)
def mkdir_p(session: Session, args: PathArgs) -> None:
    """Make a directory and those above it that are missing; one that is there already is no error, a link to one is."""
    with session.sysroot:
        _make_directories(args.path)


def _make_directories(path: bytes) -> None:
    missing = [path]
    while missing:
        try:
            os.mkdir(missing[-1])
        except FileNotFoundError:
            above = os.path.dirname(missing[-1].rstrip(b"/"))
            if above == missing[-1]:
                raise
            missing.append(above)
            continue
        except FileExistsError as exc:
            if not modes.S_ISDIR(os.lstat(missing[-1]).st_mode):
                raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR), missing[-1]) from exc
        missing.pop()


@handles(procedures.MKDTEMP)
def mkdtemp(session: Session, args: MkdtempArgs) -> str:
    """Make a directory whose name is the template with its XXXXXX filled in; return its path."""
    return _make_temporary(session, args.tmpl, "", directory=True)


@handles(procedures.MKTEMP)
def mktemp(session: Session, args: MktempArgs) -> str:
    """Make an empty file whose name is the template with its XXXXXX filled in, and a suffix; return its path."""
    return _make_temporary(session, args.tmpl, args.suffix or "", directory=False)


def _make_temporary(session: Session, template: bytes, suffix: str, *, directory: bool) -> str:
    if not template.endswith(_BLANK):
        raise OSError(EINVAL, "a template must end in XXXXXX", template)
    for _ in range(_ATTEMPTS):
        path = new_name(template.removesuffix(_BLANK), os.fsencode(suffix))
        with suppress(FileExistsError), session.sysroot:
            if directory:
                os.mkdir(path, 0o700)
            else:
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            return os.fsdecode(path)
    raise OSError(EEXIST, "all names are taken", template)


@handles(procedures.MKNOD)
def mknod(session: Session, args: MknodArgs) -> None:
    """Make a file of whatever type the mode says."""
    mode = checked_mode(args.mode)
    device = os.makedev(args.devmajor & 0xFFFFFFFF, args.devminor & 0xFFFFFFFF)
    if device >> 32:
        raise OSError(EINVAL, f"{args.devmajor}:{args.devminor} is not the number of a device", args.path)
    with session.sysroot:
        os.mknod(args.path, mode, device)


@handles(procedures.MKFIFO)
def mkfifo(session: Session, args: ChmodArgs) -> None:
    """Make a FIFO."""
    _make_node(session, modes.S_IFIFO, MknodArgs(args.mode, 0, 0, args.path))


@handles(procedures.MKNOD_B)
def mknod_b(session: Session, args: MknodArgs) -> None:
    """Make a block device."""
    _make_node(session, modes.S_IFBLK, args)


@handles(procedures.MKNOD_C)
def mknod_c(session: Session, args: MknodArgs) -> None:
    """Make a character device."""
    _make_node(session, modes.S_IFCHR, args)


def _make_node(session: Session, kind: int, args: MknodArgs) -> None:
    if args.mode & ~0o7777:
        raise CallError(f"mode 0{args.mode & 0xFFFFFFFF:o} is more than permission bits")
    mknod(session, args._replace(mode=kind | args.mode))


@handles(procedures.LN)
def ln(session: Session, args: LnArgs) -> None:
    """Make a hard link, of a symbolic link itself if the target is one."""
    with session.sysroot:
        os.link(args.target, args.linkname, follow_symlinks=False)


@handles(procedures.LN_F)
def ln_f(session: Session, args: LnArgs) -> None:
    """Make a hard link in place of what has its name."""
    with session.sysroot:
        try:
            os.link(args.target, args.linkname, follow_symlinks=False)
        except FileExistsError:
            if os.path.samestat(os.lstat(args.target), os.lstat(args.linkname)):
                return  # to remove the one could be to lose the other
            with suppress(IsADirectoryError):
                os.unlink(args.linkname)
            os.link(args.target, args.linkname, follow_symlinks=False)


@handles(procedures.LN_S)
def ln_s(session: Session, args: LnArgs) -> None:
    """Make a symbolic link; if its name is a directory's, in that, as ln(1) does."""
    with session.sysroot:
        os.symlink(args.target, _link_path(args))


@handles(procedures.LN_SF)
def ln_sf(session: Session, args: LnArgs) -> None:
    """Make a symbolic link in place of what has its name; if that is a directory, in it."""
    with session.sysroot:
        path = _link_path(args)
        try:
            os.symlink(args.target, path)
        except FileExistsError:
            os.unlink(path)
            os.symlink(args.target, path)


def _link_path(args: LnArgs) -> bytes:
    if not os.path.isdir(args.linkname):
        return args.linkname
    return os.path.join(args.linkname, os.path.basename(os.fsencode(args.target).rstrip(b"/")))


@handles(procedures.RENAME)
def rename(session: Session, args: RenameArgs) -> None:
    """Rename within one filesystem, in place of what has the new name."""
    with session.sysroot:
        os.rename(args.oldpath, args.newpath)


@handles(procedures.RM)
def rm(session: Session, args: PathArgs) -> None:
    """Remove a name that is no directory's."""
    with session.sysroot:
        os.unlink(args.path)


@handles(procedures.RM_F)
def rm_f(session: Session, args: PathArgs) -> None:
    """Remove a name that is no directory's, if there is one."""
    with suppress(FileNotFoundError), session.sysroot:
        os.unlink(args.path)


@handles(procedures.RMDIR)
def rmdir(session: Session, args: PathArgs) -> None:
    """Remove an empty directory."""
    with session.sysroot:
        os.rmdir(args.path)
