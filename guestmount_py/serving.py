"""Who serves a mount: a record per mount, locked while its process and appliance live.

guestunmount-py finds the record by the mount's device number and waits for the lock; the kernel releases it however the
process ends.
"""

import fcntl
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from rpc.errors import GuestmountError

_RECORD_MAX_BYTES: Final = 64 * 1024


class Mount(NamedTuple):
    """What /proc/self/mountinfo tells of a mount.

    Attributes:
        path: where it is mounted.
        number: its device as ``MAJOR:MINOR``; the kernel gives it to another mount as soon as this one has gone.
        user_id: who mounted it (FUSE's ``user_id``), None for other filesystems.
    """

    path: Path
    number: str
    user_id: int | None


def find_mount(mountpoint: Path) -> Mount | None:
    """Return the uppermost mount on a directory, without touching what is mounted; None if nothing is."""
    path = Path(os.path.abspath(mountpoint))
    resolved = Path(os.path.realpath(path.parent), path.name)
    found = _mount_at(resolved)
    if found is None and resolved.is_symlink():
        return _mount_at(Path(os.path.realpath(resolved)))
    return found


def _mount_at(path: Path) -> Mount | None:
    wanted = os.fsencode(path)
    escaped = b"".join(b"\\%03o" % byte if byte in b" \t\n\\" else bytes([byte]) for byte in wanted)
    found = None
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        fields = line.split()
        if fields[4] == escaped:
            ids = [word[8:] for word in fields[-1].split(b",") if word.startswith(b"user_id=")]
            found = Mount(path, fields[2].decode(), int(ids[0]) if ids else None)
    return found


def runtime_directory() -> Path:
    """Return this user's directory for records, created private.

    Raises:
        GuestmountError: it cannot be created, or belongs to somebody else.
    """
    directory = _runtime_directories(os.getuid())[0]
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise GuestmountError(f"{directory}: {exc.strerror}: set XDG_RUNTIME_DIR to a directory of your own") from exc
    if not _belongs_to(directory, os.getuid()):
        raise GuestmountError(f"{directory}: belongs to somebody else: set XDG_RUNTIME_DIR to a directory of your own")
    return directory


def _runtime_directories(user_id: int) -> list[Path]:
    """Return where a user's records may be; the first is where this process puts its own."""
    login, temporary = Path(f"/run/user/{user_id}"), Path(f"/tmp/guestmount-py-{user_id}")
    found = [login / "guestmount-py"] if login.is_dir() else []
    given = os.environ.get("XDG_RUNTIME_DIR")
    if given and user_id == os.getuid():
        found.insert(0, Path(given) / "guestmount-py")
    return [*found, temporary]


def _belongs_to(directory: Path, user_id: int) -> bool:
    info = directory.lstat()
    return stat.S_ISDIR(info.st_mode) and info.st_uid == user_id


@contextmanager
def serving_record(
    mountpoint: Path, log_file: Path, *, writable: bool = False
) -> Iterator[Callable[[str | None], None]]:
    """Hold the record of a mount that has just been made on a directory whose path has no symlink.

    Yields what notes how it ended: what could not be written, or None for nothing. Until then the record of a mount
    that writes says that nobody knows.

    Raises:
        GuestmountError: there is no place for it, or the mount has gone already.
    """
    mount = find_mount(mountpoint)
    if mount is None:
        raise GuestmountError(f"{mountpoint}: was unmounted before it was ready")
    path = runtime_directory() / f"mount-{mount.number}"
    with suppress(FileNotFoundError):
        path.unlink()  # of a mount that has gone; its process may still be seeing its appliance off
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        facts: dict[str, object] = {"pid": os.getpid(), "log": str(log_file)}

        def note(failure: str | None) -> None:
            data = json.dumps({**facts, "failure": failure}).encode()
            os.ftruncate(descriptor, os.pwrite(descriptor, data, 0))

        note("its process was killed before everything was written" if writable else None)
        yield note
    finally:
        _discard(path, descriptor)  # the descriptor, and with it the lock, stays until the process has ended


def _discard(path: Path, descriptor: int) -> None:
    """Remove a record unless a newer mount of the same number has taken its place."""
    with suppress(OSError):
        if path.stat().st_ino == os.fstat(descriptor).st_ino:
            path.unlink()


@contextmanager
def server_of(mount: Mount) -> Iterator[Callable[[], str | None]]:
    """Get hold of a mount's record before unmounting; yields what waits until its process has ended.

    That returns what could not be written, None if all was.

    If it has no record (it is not ours, or its process was killed) there is nothing to wait for.
    """
    for directory in _runtime_directories(mount.user_id) if mount.user_id is not None else []:
        path = directory / f"mount-{mount.number}"
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue
        if os.fstat(descriptor).st_uid == mount.user_id:
            break
        os.close(descriptor)
    else:
        yield lambda: None
        return

    def wait_gone() -> str | None:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        _discard(path, descriptor)  # one that was killed left it behind
        try:
            record = json.loads(os.pread(descriptor, _RECORD_MAX_BYTES, 0))
            return f"{record['failure']}: see {record['log']}" if record["failure"] else None
        except (ValueError, KeyError, TypeError):
            return None

    try:
        yield wait_gone
    finally:
        os.close(descriptor)
