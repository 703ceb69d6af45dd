"""Who serves a mount: a record per mount, locked while its process and appliance live.

guestunmount-py finds the record by the mount's device number and waits for the lock; the kernel releases it however the
process ends.
"""

import fcntl
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rpc.errors import GuestmountError


def runtime_directory() -> Path:
    """Return the user's directory for records, created private.

    Raises:
        GuestmountError: it exists and belongs to somebody else.
    """
    base = os.environ.get("XDG_RUNTIME_DIR")
    directory = Path(base) / "guestmount-py" if base else Path(tempfile.gettempdir()) / f"guestmount-py-{os.getuid()}"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    info = directory.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid():
        raise GuestmountError(f"{directory}: belongs to somebody else: set XDG_RUNTIME_DIR")
    return directory


def mount_number(mountpoint: Path) -> str | None:
    """Return the device number of the mount whose mount point this is, None if nothing is mounted there (mountinfo)."""
    wanted = os.fsencode(os.path.realpath(mountpoint.parent) + "/" + mountpoint.name).rstrip(b"/")
    escaped = b"".join(b"\\%03o" % byte if byte in b" \t\n\\" else bytes([byte]) for byte in wanted)
    number = None
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        fields = line.split()
        if fields[4] == escaped:
            number = fields[2].decode()
    return number


@contextmanager
def serving_record(mountpoint: Path, log_file: Path) -> Iterator[None]:
    """Hold the record of a mount that has just been made."""
    path = runtime_directory() / f"mount-{mount_number(mountpoint)}"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(descriptor, json.dumps({"pid": os.getpid(), "log": str(log_file)}).encode())
        yield
    finally:
        with suppress(FileNotFoundError):
            path.unlink()
        os.close(descriptor)


def open_record(number: str) -> int | None:
    """Return a descriptor of a mount's record, None if it has none (it is not ours, or its process has gone)."""
    try:
        return os.open(runtime_directory() / f"mount-{number}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None


def wait_gone(descriptor: int) -> None:
    """Wait until the process that holds a record has ended."""
    fcntl.flock(descriptor, fcntl.LOCK_SH)
