"""Extended attributes."""

import os
from errno import ENODATA, ENOTSUP
from typing import Final

from daemon.registry import handles
from daemon.session import Session
from rpc import procedures
from rpc.arguments import PathArgs, PathNamesArgs
from rpc.procedures.xattrs import GetxattrArgs
from rpc.types import Xattr

_HIDDEN: Final = b"user.WofCompressedData"
"""The whole content of a file that Windows has compressed (guestfs-protocol 5.6)."""


def list_xattrs(path: bytes, *, follow: bool = False) -> list[tuple[bytes, bytes]]:
    """Return the attributes of a file as (name, value), sorted by name; one that vanishes meanwhile is left out."""
    names = os.listxattr(path, follow_symlinks=follow)
    if not names:
        return []
    pairs = []
    for name in sorted(map(os.fsencode, names)):
        if name == _HIDDEN:
            continue
        try:
            pairs.append((name, os.getxattr(path, name, follow_symlinks=follow)))
        except OSError as exc:
            if exc.errno not in (ENODATA, ENOTSUP):
                raise  # left out, it would be lost in every copy
    return pairs


@handles(procedures.LGETXATTRS)
def lgetxattrs(session: Session, args: PathArgs) -> list[Xattr]:
    """Return all attributes of a file; a link is not followed."""
    with session.sysroot:
        return [Xattr(*pair) for pair in list_xattrs(args.path)]


@handles(procedures.GETXATTRS)
def getxattrs(session: Session, args: PathArgs) -> list[Xattr]:
    """Return all attributes of a file; links are followed."""
    with session.sysroot:
        return [Xattr(*pair) for pair in list_xattrs(args.path, follow=True)]


@handles(procedures.LGETXATTR)
def lgetxattr(session: Session, args: GetxattrArgs) -> bytes:
    """Return one attribute of a file; a link is not followed."""
    with session.sysroot:
        return os.getxattr(args.path, args.name, follow_symlinks=False)


@handles(procedures.GETXATTR)
def getxattr(session: Session, args: GetxattrArgs) -> bytes:
    """Return one attribute of a file; links are followed."""
    with session.sysroot:
        return os.getxattr(args.path, args.name)


@handles(procedures.INTERNAL_LXATTRLIST)
def internal_lxattrlist(session: Session, args: PathNamesArgs) -> list[Xattr]:
    """Return the attributes of names in one directory: per name a marker, then its attributes (section 5.6).

    A directory that does not open is one whose names cannot be listed: no error.
    """
    result = []
    with session.sysroot:
        try:
            os.chdir(args.path)
        except OSError:
            return [Xattr(b"", b"")] * len(args.names)
        for name in args.names:
            try:
                pairs = list_xattrs(name)
            except OSError:
                result.append(Xattr(b"", b""))
                continue
            result.append(Xattr(b"", b"%d\0" % len(pairs)))
            result.extend(Xattr(*pair) for pair in pairs)
    return result
