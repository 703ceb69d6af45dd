"""Changing files' data and attributes, many in one call; and making them last."""

import mmap
import os
import stat as modes
import time
from contextlib import suppress
from errno import EINVAL, EIO, EPERM, ESTALE
from fcntl import F_GETFL, F_SETFL, fcntl
from functools import cache
from typing import Final

from daemon.devices import labelled_disks
from daemon.kept import kept_path
from daemon.namespace import group_of_new
from daemon.registry import handles
from daemon.session import CallError, Session
from daemon.stat import PACKED, stat_fields
from rpc import constants, procedures
from rpc.changes import DIRECT_BYTES, PAGE_BYTES, Change, Wish, decode_changes, encode_answer
from rpc.procedures.writing import ChangeFilesArgs, ChangeXattrArgs, OpenMailboxArgs, SyncFileArgs

_CREATE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FLAGS: Final = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_STAT: Final = bytes(PACKED.size)
_SECTOR_BYTES: Final = 512
_TIMES: Final = Wish.ATIME | Wish.MTIME
_OWNER: Final = Wish.UID | Wish.GID
_SPECIAL_BITS: Final = modes.S_ISUID | modes.S_ISGID
_NS: Final = 1_000_000_000
_MAILBOX_S: Final = 30.0


class _Mailbox:
    """A disk that the host writes to and we read from, past the kernel's cache."""

    def __init__(self, name: str) -> None:
        self._disk: Final = os.open(f"/dev/{name}", os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
        self.size_bytes: Final = os.lseek(self._disk, 0, os.SEEK_END)
        self._buffer: Final = memoryview(mmap.mmap(-1, constants.MAILBOX_SLOT_BYTES))

    def read(self, place: int, length: int) -> memoryview:
        """Return what lies at a place; it is good until the next reading."""
        rounded = length + -length % _SECTOR_BYTES
        if rounded > len(self._buffer) or os.preadv(self._disk, (self._buffer[:rounded],), place) < length:
            raise OSError(EIO, f"{length} bytes at {place} are not in the mailbox")
        return self._buffer[:length]


@cache
def _mailbox() -> _Mailbox:
    name = labelled_disks().get(constants.MAILBOX_SERIAL)
    if name is None:
        raise CallError("there is no mailbox")
    return _Mailbox(name)


@handles(procedures.OPEN_MAILBOX)
def open_mailbox(_session: Session, args: OpenMailboxArgs) -> int:
    """Wait for the disk that is the mailbox; return its size in bytes."""
    if args.serial != constants.MAILBOX_SERIAL:
        raise CallError(f"{args.serial} is not what a mailbox is called")
    end_s = time.monotonic() + _MAILBOX_S
    while time.monotonic() < end_s:
        with suppress(CallError, FileNotFoundError):
            return _mailbox().size_bytes
        time.sleep(0.005)
    raise CallError("the mailbox does not come")


@handles(procedures.CHANGE_FILES)
def change_files(session: Session, args: ChangeFilesArgs) -> bytes:
    """Make changes, each for itself, and tell of each what became of it."""
    data = _mailbox().read(args.place, args.length) if args.length else memoryview(args.changes)
    direct = bool(args.length)  # the mailbox's data stand at whole pages
    answers = []
    umask = os.umask(0)
    try:
        with session.sysroot:
            for change in decode_changes(data):
                if change.kept:
                    session.sysroot.__exit__()
                    try:
                        answers.append(
                            _answer(change._replace(path=kept_path(change.kept)), follow=True, direct=direct)
                        )
                    finally:
                        session.sysroot.__enter__()
                else:
                    answers.append(_answer(change, follow=False, direct=direct))
    finally:
        os.umask(umask)
    return b"".join(answers)


def _answer(change: Change, *, follow: bool, direct: bool) -> bytes:
    done = _Done()
    number = 0
    try:
        if change.wishes & Wish.REMOVE:
            info = os.lstat(change.path)
            _check(change, info)
            (os.rmdir if modes.S_ISDIR(info.st_mode) else os.unlink)(change.path)
            return encode_answer(0, 0, _NO_STAT)
        _make(change, done, follow=follow, direct=direct)
    except OSError as exc:
        number = exc.errno or EIO
        if change.wishes & (Wish.REMOVE | Wish.CREATE) and not done.is_there:
            return encode_answer(number, 0, _NO_STAT)
    try:
        info = done.info or os.stat(change.path, follow_symlinks=follow)
        stat = PACKED.pack(*stat_fields(info))
    except OSError as exc:
        number = number or exc.errno or EIO
        stat = _NO_STAT
    return encode_answer(number, done.written, stat)


class _Done:
    """What a change has come to."""

    written = 0
    is_there = False
    """The file that was to be made has been."""
    info: os.stat_result | None = None


def _make(change: Change, done: _Done, *, follow: bool, direct: bool) -> None:
    wishes = change.wishes
    if wishes & Wish.CREATE and modes.S_ISLNK(change.mode):
        _make_link(change, done)
        return
    if change.writes or wishes & (Wish.SIZE | Wish.CREATE):
        descriptor = _opened(change, follow=follow)
        try:
            info = os.fstat(descriptor)
            if wishes & Wish.CREATE:
                done.is_there = True
                change = _for_new_file(change, info)
                wishes = change.wishes
            elif not modes.S_ISREG(info.st_mode):
                raise OSError(EINVAL, f"{os.strerror(EINVAL)} (not a regular file)", change.path)
            _check(change, info)
            if wishes & Wish.SIZE:
                os.truncate(change.path if wishes & Wish.BY_NAME else descriptor, change.size)
            for offset, data in change.writes:
                if direct and len(data) >= DIRECT_BYTES and not offset % PAGE_BYTES and not wishes & Wish.APPEND:
                    offset, data = _write_directly(descriptor, offset, memoryview(data), done)
                _write(descriptor, offset, data, done)
            if wishes & Wish.APPEND and fcntl(descriptor, F_GETFL) & os.O_APPEND:
                change = change._replace(wishes=wishes & ~_TIMES)  # which nobody may set
            _set(descriptor, change, info, follow=True)
            done.info = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        return
    info = os.stat(change.path, follow_symlinks=follow)
    _check(change, info)
    if wishes:
        _set(change.path, change, info, follow=follow)
    else:
        done.info = info


def _make_link(change: Change, done: _Done) -> None:
    os.symlink(b"".join(bytes(data) for _, data in change.writes), change.path)
    done.is_there = True
    info = os.lstat(change.path)
    _set(change.path, _for_new_file(change, info), info, follow=False)


def _opened(change: Change, *, follow: bool) -> int:
    if change.wishes & Wish.CREATE:
        return os.open(change.path, _CREATE_FLAGS, change.mode)
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


def _for_new_file(change: Change, info: os.stat_result) -> Change:
    """Return a change with what is left to be wished of a file that has just been made."""
    wishes = change.wishes & ~(Wish.MODE | _OWNER)
    gid = change.gid if change.wishes & Wish.GID else group_of_new(change.path, info, change.gid)
    if (info.st_uid, info.st_gid) != (change.uid, gid):
        wishes |= _OWNER
        if change.mode & _SPECIAL_BITS:  # which chown(2) takes away
            wishes |= Wish.MODE
    return change._replace(ino=0, wishes=wishes, gid=gid)


def _check(change: Change, info: os.stat_result) -> None:
    if change.ino and info.st_ino != change.ino:
        raise OSError(ESTALE, os.strerror(ESTALE), change.path)


def _write(descriptor: int, offset: int, data: bytes | memoryview, done: _Done) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(descriptor, view, offset)
        done.written += count
        offset += count
        view = view[count:]


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


def _set(target: int | bytes, change: Change, info: os.stat_result, *, follow: bool) -> None:
    """Set owner, mode and times; ``follow`` must be true for a descriptor."""
    wishes = change.wishes
    if wishes & _OWNER:
        uid = change.uid if wishes & Wish.UID else -1
        gid = change.gid if wishes & Wish.GID else -1
        os.chown(target, uid, gid, follow_symlinks=follow)
    if wishes & Wish.MODE:
        os.chmod(target, change.mode)
    if wishes & _TIMES:
        atime_ns = _ns(change.atime) if wishes & Wish.ATIME else info.st_atime_ns
        mtime_ns = _ns(change.mtime)
        if not wishes & Wish.MTIME:  # as it is now: what was written moved it
            mtime_ns = os.stat(target, follow_symlinks=follow).st_mtime_ns
        os.utime(target, ns=(atime_ns, mtime_ns), follow_symlinks=follow)


def _ns(moment: tuple[int, int]) -> int:
    return moment[0] * _NS + moment[1]


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
