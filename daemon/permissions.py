"""Changing who owns a file, who may do what with it, its times and its extended attributes."""

import os
import time
from errno import EINVAL
from stat import S_IMODE
from typing import Final

from daemon.names import checked_mode
from daemon.registry import handles
from daemon.session import CallError, Session
from daemon.xattrs import list_xattrs
from rpc import procedures
from rpc.procedures.names import ChmodArgs, ChownArgs, UtimensArgs
from rpc.procedures.permissions import CopyAttributesArgs
from rpc.procedures.xattrs import RemovexattrArgs, SetxattrArgs

_NS: Final = 1_000_000_000
_NOW: Final = -1
_OMIT: Final = -2


@handles(procedures.CHMOD)
def chmod(session: Session, args: ChmodArgs) -> None:
    """Change the permission bits of a file; links are followed."""
    mode = checked_mode(args.mode)
    with session.sysroot:
        os.chmod(args.path, S_IMODE(mode))


@handles(procedures.CHOWN)
def chown(session: Session, args: ChownArgs) -> None:
    """Change owner and group of a file, -1 leaves one as it is; links are followed."""
    with session.sysroot:
        os.chown(args.path, _id(args.owner), _id(args.group))


@handles(procedures.LCHOWN)
def lchown(session: Session, args: ChownArgs) -> None:
    """Change owner and group of a file, -1 leaves one as it is; a link is not followed."""
    with session.sysroot:
        os.lchown(args.path, _id(args.owner), _id(args.group))


def _id(number: int) -> int:
    """Return an owner or a group as the kernel counts them: ids from 2**31 on come as negative numbers."""
    return number if number == -1 else number & 0xFFFFFFFF


@handles(procedures.UTIMENS)
def utimens(session: Session, args: UtimensArgs) -> None:
    """Change access and modification time, of a link itself; nanoseconds -1 mean now, -2 as it is."""
    if args.atnsecs == args.mtnsecs == _OMIT:
        return
    with session.sysroot:
        info = os.lstat(args.path)
        for ns in (args.atnsecs, args.mtnsecs):
            if not _OMIT <= ns < _NS:
                raise OSError(EINVAL, f"{ns} is not a number of nanoseconds", args.path)
        if args.atnsecs == args.mtnsecs == _NOW:
            os.utime(args.path, None, follow_symlinks=False)
            return
        times = (
            _time_ns(args.atsecs, args.atnsecs, info.st_atime_ns),
            _time_ns(args.mtsecs, args.mtnsecs, info.st_mtime_ns),
        )
        os.utime(args.path, ns=times, follow_symlinks=False)


def _time_ns(seconds: int, ns: int, present_ns: int) -> int:
    if ns == _OMIT:
        return present_ns
    return time.time_ns() if ns == _NOW else seconds * _NS + ns


@handles(procedures.SETXATTR)
def setxattr(session: Session, args: SetxattrArgs) -> None:
    """Set an extended attribute of a file; links are followed."""
    _set(session, args, follow=True)


@handles(procedures.LSETXATTR)
def lsetxattr(session: Session, args: SetxattrArgs) -> None:
    """Set an extended attribute of a file; a link is not followed."""
    _set(session, args, follow=False)


def _set(session: Session, args: SetxattrArgs, *, follow: bool) -> None:
    """Set an attribute to the first ``vallen`` bytes of its value.

    libguestfs's library cuts a value at its first NUL, but says how long it was (guestfs-protocol 7.5). If one byte is
    missing, it was that NUL, which SELinux labels have at their end; if more are, nobody knows them.
    """
    value = os.fsencode(args.val)
    if args.vallen == len(value) + 1:
        value += b"\0"
    if not 0 <= args.vallen <= len(value):
        raise CallError(f"vallen {args.vallen} is not within the value's {len(value)} bytes")
    with session.sysroot:
        os.setxattr(args.path, args.xattr, value[: args.vallen], follow_symlinks=follow)


@handles(procedures.REMOVEXATTR)
def removexattr(session: Session, args: RemovexattrArgs) -> None:
    """Remove an extended attribute of a file; links are followed."""
    with session.sysroot:
        os.removexattr(args.path, args.xattr)


@handles(procedures.LREMOVEXATTR)
def lremovexattr(session: Session, args: RemovexattrArgs) -> None:
    """Remove an extended attribute of a file; a link is not followed."""
    with session.sysroot:
        os.removexattr(args.path, args.xattr, follow_symlinks=False)


@handles(procedures.COPY_ATTRIBUTES)
def copy_attributes(session: Session, args: CopyAttributesArgs) -> None:
    """Copy the chosen attributes of one file to another; links are followed.

    All are chosen by ``all``, but for those that are expressly not wanted.
    """
    mode, xattributes, ownership = (args.all if wish is None else wish for wish in args[3:])
    with session.sysroot:
        info = os.stat(args.src)
        os.stat(args.dest)
        if ownership:
            os.chown(args.dest, info.st_uid, info.st_gid)
        if mode:  # after the owner, whose change takes setuid bits away
            os.chmod(args.dest, S_IMODE(info.st_mode))
        if xattributes:
            for name, value in list_xattrs(args.src, follow=True):
                os.setxattr(args.dest, name, value)
