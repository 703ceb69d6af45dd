"""Changing files' data and attributes, many in one call; and making them last."""

import os
import stat as modes
from errno import EINVAL, EIO, EPERM, ESTALE
from fcntl import F_GETFL, F_SETFL, fcntl
from typing import Final

from daemon.kept import kept_path
from daemon.mailbox import mailbox
from daemon.namespace import group_of_new
from daemon.registry import handles
from daemon.session import Session
from daemon.statx import OWNERS, Statx, statx_buffer
from rpc import constants, procedures
from rpc.changes import DIRECT_BYTES, PAGE_BYTES, Change, Wish, decode_changes, encode_answer
from rpc.procedures.writing import ChangeFilesArgs, ChangeXattrArgs, SyncFileArgs

_CREATE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FLAGS: Final = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_STATX: Final = bytes(constants.STATX_BYTES)
_TIMES: Final = Wish.ATIME | Wish.MTIME
_OWNER: Final = Wish.UID | Wish.GID
_SPECIAL_BITS: Final = modes.S_ISUID | modes.S_ISGID


@handles(procedures.CHANGE_FILES)
def change_files(session: Session, args: ChangeFilesArgs) -> bytes:
    """Make changes, each for itself, and tell of each what became of it."""
    data = mailbox().read(args.place, args.length) if args.length else memoryview(args.changes)
    direct = bool(args.length)  # the mailbox's data stand at whole pages
    statx = statx_buffer()  # before the guest's root, where nothing may be imported
    answers = []
    umask = os.umask(0)
    try:
        with session.sysroot:
            for change in decode_changes(data):
                if change.kept:
                    session.sysroot.__exit__()
                    try:
                        path = kept_path(change.kept)
                        answers.append(_answer(change._replace(path=path), statx, follow=True, direct=direct))
                    finally:
                        session.sysroot.__enter__()
                else:
                    answers.append(_answer(change, statx, follow=False, direct=direct))
    finally:
        os.umask(umask)
    return b"".join(answers)


def _answer(change: Change, statx: Statx, *, follow: bool, direct: bool) -> bytes:
    done = _Done()
    number = 0
    try:
        if change.wishes & Wish.CREATE:
            _make(change, done, statx, direct=direct)
        elif change.wishes & Wish.REMOVE:
            info = os.lstat(change.path)
            _check(change, info)
            (os.rmdir if modes.S_ISDIR(info.st_mode) else os.unlink)(change.path)
            return encode_answer(0, 0, _NO_STATX)
        else:
            _change(change, done, statx, follow=follow, direct=direct)
    except OSError as exc:
        number = exc.errno or EIO
        if change.wishes & (Wish.REMOVE | Wish.CREATE) and not done.is_there:
            return encode_answer(number, 0, _NO_STATX)
    try:
        found = done.statx or statx.one(change.path, follow=follow)
    except OSError as exc:
        number = number or exc.errno or EIO
        found = _NO_STATX
    return encode_answer(number, done.written, found)


class _Done:
    """What a change has come to."""

    written = 0
    is_there = False
    """The file that was to be made has been."""
    statx = b""
    """The file as it is then, if that is known."""


def _make(change: Change, done: _Done, statx: Statx, *, direct: bool) -> None:
    if modes.S_ISLNK(change.mode):
        os.symlink(b"".join(bytes(data) for _, data in change.writes), change.path)
        done.is_there = True
        _set_times(change.path, change, follow=False)
        found = statx.one(change.path, follow=False)
        if _give_to_owner(change.path, change, found, follow=False):
            found = statx.one(change.path, follow=False)
        done.statx = found
        return
    descriptor = os.open(change.path, _CREATE_FLAGS, change.mode)
    try:
        done.is_there = True
        _write_all(descriptor, change, done, direct=direct)
        _set_times(descriptor, change, follow=True)
        found = statx.one(descriptor, follow=True)
        if _give_to_owner(descriptor, change, found, follow=True):
            found = statx.one(descriptor, follow=True)
        done.statx = found
    finally:
        os.close(descriptor)


def _change(change: Change, done: _Done, statx: Statx, *, follow: bool, direct: bool) -> None:
    wishes = change.wishes
    if not change.writes and not wishes & Wish.SIZE:
        info = os.stat(change.path, follow_symlinks=follow)
        _check(change, info)
        _set(change.path, change, follow=follow)
        return
    descriptor = _opened(change, follow=follow)
    try:
        info = os.fstat(descriptor)
        if not modes.S_ISREG(info.st_mode):
            raise OSError(EINVAL, f"{os.strerror(EINVAL)} (not a regular file)", change.path)
        _check(change, info)
        _write_all(descriptor, change, done, direct=direct)
        if wishes & Wish.APPEND and fcntl(descriptor, F_GETFL) & os.O_APPEND:
            change = change._replace(wishes=wishes & ~_TIMES)  # which nobody may set
        _set(descriptor, change, follow=True)
        done.statx = statx.one(descriptor, follow=True)
    finally:
        os.close(descriptor)


def _opened(change: Change, *, follow: bool) -> int:
    flags = _OPEN_FLAGS & ~os.O_NOFOLLOW if follow else _OPEN_FLAGS
    try:
        return os.open(change.path, flags)
    except PermissionError:
        if not change.wishes & Wish.APPEND:
            raise
    return _opened_at_end(change, flags | os.O_APPEND)


def _opened_at_end(change: Change, flags: int) -> int:
    """Open a file that may only be appended to, for what lies behind its end: all else would land there too."""
    descriptor = os.open(change.path, flags)
    try:
        if [offset for offset, _ in change.writes] != [os.fstat(descriptor).st_size]:
            raise PermissionError(EPERM, os.strerror(EPERM), change.path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _give_to_owner(target: int | bytes, change: Change, statx: bytes, *, follow: bool) -> bool:
    """Give a file that has just been made to its owner if it is not his; ``follow`` must be true for a descriptor."""
    uid, gid = OWNERS.unpack_from(statx)
    wanted = change.gid if change.wishes & Wish.GID else group_of_new(change.path, gid, change.gid)
    if uid == change.uid and gid == wanted:
        return False
    os.chown(target, change.uid, wanted, follow_symlinks=follow)
    if change.mode & _SPECIAL_BITS:  # which chown(2) takes away
        os.chmod(target, change.mode)
    return True


def _check(change: Change, info: os.stat_result) -> None:
    if change.ino and info.st_ino != change.ino:
        raise OSError(ESTALE, os.strerror(ESTALE), change.path)


def _write_all(descriptor: int, change: Change, done: _Done, *, direct: bool) -> None:
    """Cut a file, and write to it."""
    if change.wishes & Wish.SIZE:
        os.truncate(change.path if change.wishes & Wish.BY_NAME else descriptor, change.size)
    for offset, data in change.writes:
        if direct and len(data) >= DIRECT_BYTES and not offset % PAGE_BYTES and not change.wishes & Wish.APPEND:
            offset, data = _write_directly(descriptor, offset, memoryview(data), done)
        while data:
            count = os.pwrite(descriptor, data, offset)
            done.written += count
            offset += count
            data = data[count:]


def _write_directly(descriptor: int, offset: int, data: memoryview, done: _Done) -> tuple[int, memoryview]:
    """Write whole pages past the cache, where copying them is half of the guest's work; return what is left.

    The data must stand at a whole page of memory. What cannot be written like that is left too.
    """
    fcntl(descriptor, F_SETFL, os.O_DIRECT)
    try:
        while whole := len(data) & -PAGE_BYTES:
            count = os.pwrite(descriptor, data[:whole], offset)
            done.written += count
            offset += count
            data = data[count:]
            if not count or count % PAGE_BYTES:
                break
    except OSError as exc:
        if exc.errno != EINVAL:
            raise
    finally:
        fcntl(descriptor, F_SETFL, 0)
    return offset, data


def _set(target: int | bytes, change: Change, *, follow: bool) -> None:
    """Set what is wished of owner, mode and times; ``follow`` must be true for a descriptor."""
    wishes = change.wishes
    if wishes & _OWNER:
        uid = change.uid if wishes & Wish.UID else -1
        gid = change.gid if wishes & Wish.GID else -1
        os.chown(target, uid, gid, follow_symlinks=follow)
    if wishes & Wish.MODE:
        os.chmod(target, change.mode)
    _set_times(target, change, follow=follow)


def _set_times(target: int | bytes, change: Change, *, follow: bool) -> None:
    wishes = change.wishes & _TIMES
    if not wishes:
        return
    atime_ns, mtime_ns = change.atime_ns, change.mtime_ns
    if wishes != _TIMES:  # the other one stays: of mtime, what was written moved it
        info = os.stat(target, follow_symlinks=follow)
        atime_ns = atime_ns if wishes & Wish.ATIME else info.st_atime_ns
        mtime_ns = mtime_ns if wishes & Wish.MTIME else info.st_mtime_ns
    os.utime(target, ns=(atime_ns, mtime_ns), follow_symlinks=follow)


@handles(procedures.SYNC_FILE)
def sync_file(session: Session, args: SyncFileArgs) -> None:
    """Make a file, or a directory, last: its data are on the disk, and the disk has written them out."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    if args.kept:
        descriptor = os.open(kept_path(args.kept), flags)
    else:
        with session.sysroot:
            descriptor = os.open(args.path, flags | os.O_NOFOLLOW)
    try:
        if args.datasync:
            os.fdatasync(descriptor)
        else:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@handles(procedures.CHANGE_XATTR)
def change_xattr(session: Session, args: ChangeXattrArgs) -> None:
    """Set or remove an extended attribute of a file; a link is not followed."""
    if args.kept:
        _change_xattr(kept_path(args.kept), args, follow=True)
    else:
        with session.sysroot:
            _change_xattr(args.path, args, follow=False)


def _change_xattr(path: bytes, args: ChangeXattrArgs, *, follow: bool) -> None:
    if args.remove:
        os.removexattr(path, args.name, follow_symlinks=follow)
    else:
        os.setxattr(path, args.name, args.value, args.flags, follow_symlinks=follow)
