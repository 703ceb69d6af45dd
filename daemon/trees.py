"""Walking, copying, moving, removing and measuring whole trees: work for find, cp, mv, rm, du and ls."""

import os
import stat as modes
from errno import EBUSY, EINVAL, ENOTDIR

from daemon.confined import argument, run_confined, stream_confined
from daemon.registry import handles, streams
from daemon.session import Pieces, Session
from daemon.stat import mode_of
from rpc import procedures
from rpc.arguments import PathArgs
from rpc.procedures.directories import Find0Args
from rpc.procedures.names import MvArgs


@streams(procedures.FIND0)
def find0(session: Session, args: Find0Args) -> Pieces:
    """Stream the paths below a directory, each with a NUL behind it (guestfs-protocol 5.3 says how they begin).

    A link to a directory has none, unless a slash ends its name, as with find(1).
    """
    with session.sysroot:
        is_link = os.path.isdir(args.directory) and os.path.islink(args.directory)
    if is_link:
        return
    prefix = "" if args.directory.endswith(b"/") else "/"
    yield from stream_confined(session, ["find", ".", "-mindepth", "1", "-printf", f"{prefix}%P\\0"], args.directory)


@handles(procedures.CP)
def cp(session: Session, args: MvArgs) -> None:
    """Copy a file; links are followed."""
    _check_that_nothing_blocks(session, args)
    source, destination = (argument(session, path, follow=True) for path in (args.src, args.dest))
    run_confined(session, ["cp", "--", source, destination])


@handles(procedures.CP_A)
def cp_a(session: Session, args: MvArgs) -> None:
    """Copy a file or a tree with all attributes; links are copied as links."""
    _copy(session, args, "-a")


@handles(procedures.CP_R)
def cp_r(session: Session, args: MvArgs) -> None:
    """Copy a file or a tree; links are copied as links."""
    _copy(session, args, "-rP")


def _copy(session: Session, args: MvArgs, how: str) -> None:
    """Copy; a regular file is written through a link to another, anything else replaces the link."""
    with session.sysroot:
        from_file = os.path.isfile(args.src) and not os.path.islink(args.src)
        follow = from_file or os.path.isdir(args.dest)
    if from_file:
        _check_that_nothing_blocks(session, args)
    run_confined(session, ["cp", how, "--", argument(session, args.src), argument(session, args.dest, follow=follow)])


def _check_that_nothing_blocks(session: Session, args: MvArgs) -> None:
    """Refuse to copy from or to what is neither a file nor a directory: cp would wait at a FIFO for ever."""
    for path in args:
        mode = mode_of(session, path, follow=True)
        if mode is not None and not modes.S_ISREG(mode) and not modes.S_ISDIR(mode):
            raise OSError(EINVAL, f"{os.strerror(EINVAL)} (not a regular file)", path)


@handles(procedures.MV)
def mv(session: Session, args: MvArgs) -> None:
    """Move a file or a tree, also to another filesystem, into the destination if that is a directory."""
    if os.path.basename(args.src.rstrip(b"/")) in (b"", b".", b".."):
        raise OSError(EBUSY, os.strerror(EBUSY), args.src)
    with session.sysroot:
        into = os.path.isdir(args.dest)
    destination = argument(session, args.dest, follow=into)
    run_confined(session, ["mv", "-f", "--", argument(session, args.src), destination])


@handles(procedures.RM_RF)
def rm_rf(session: Session, args: PathArgs) -> None:
    """Remove a file or a tree, if there is one; a link is not followed."""
    name = args.path.rstrip(b"/")
    if os.path.basename(name) in (b"", b".", b".."):
        raise OSError(EBUSY, os.strerror(EBUSY), args.path)
    with session.sysroot:
        if name != args.path and os.path.islink(name):
            raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR), args.path)
    try:
        path = argument(session, name)
    except (FileNotFoundError, NotADirectoryError):
        return
    run_confined(session, ["rm", "-rf", "--", path])


@handles(procedures.DU)
def du(session: Session, args: PathArgs) -> int:
    """Return the space that a file or a tree takes, in KiB."""
    return int(
        run_confined(
            session, ["du", "-s", "-k", "--", argument(session, args.path, follow=args.path.endswith(b"/"))]
        ).split()[0]
    )


@handles(procedures.LL)
def ll(session: Session, args: Find0Args) -> str:
    """List a directory as ls(1) does with all its details."""
    return _listing(session, args.directory, "-la")


@handles(procedures.LLZ)
def llz(session: Session, args: Find0Args) -> str:
    """List a directory as ``ll`` does, with the SELinux label of each name."""
    return _listing(session, args.directory, "-laZ")


def _listing(session: Session, path: bytes, flags: str) -> str:
    with session.sysroot:
        os.stat(path)
    return os.fsdecode(run_confined(session, ["ls", flags, "--", argument(session, path, follow=True)]))
