"""Making, linking, renaming and removing names."""

import os
import stat as modes
from collections.abc import Callable
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
_MAJOR_MAX: Final = 0xFFF
_MINOR_MAX: Final = 0xFFFFF


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
    if not (0 <= args.devmajor <= _MAJOR_MAX and 0 <= args.devminor <= _MINOR_MAX):
        raise OSError(EINVAL, f"{args.devmajor}:{args.devminor} is not the number of a device", args.path)
    with session.sysroot:
        os.mknod(args.path, mode, os.makedev(args.devmajor, args.devminor))


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
            if modes.S_ISDIR(os.lstat(args.linkname).st_mode):
                raise
            _replace(args.linkname, lambda name: os.link(args.target, name, follow_symlinks=False))


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
            _replace(path, lambda name: os.symlink(args.target, name))


def _replace(path: bytes, make: Callable[[bytes], None]) -> None:
    """Make a link under another name and rename it: what is there stays until there is something else."""
    name = new_name(os.path.join(os.path.dirname(path), b".link-"), b"")
    make(name)
    try:
        os.replace(name, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)  # left there if both are names of one file, too


def _link_path(args: LnArgs) -> bytes:
    if not os.path.isdir(args.linkname):
        return args.linkname
    return os.path.join(args.linkname, os.path.basename(os.fsencode(args.target).rstrip(b"/")))


@handles(procedures.RENAME)
def rename(session: Session, args: RenameArgs) -> None:
    """Rename within one filesystem, in place of what has the new name."""
    with session.sysroot:
        os.rename(args.oldpath, args.newpath)


@handles(procedures.TOUCH)
def touch(session: Session, args: PathArgs) -> None:
    """Make a file if there is none, and set its times to now; anything but a regular file is refused, links too."""
    with session.sysroot:
        try:
            regular = modes.S_ISREG(os.lstat(args.path).st_mode)
        except FileNotFoundError:
            regular = True
        if regular:
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            descriptor = os.open(args.path, flags, 0o666)
            try:
                os.utime(descriptor)
            finally:
                os.close(descriptor)
            return
    raise CallError(f"{os.fsdecode(args.path)}: only a regular file can be touched")


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
