"""Where built appliances are kept, by content; one builder at a time."""

import errno
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import trio

from appliance.config import ApplianceFiles
from appliance.packages import PACKAGES_FILE, Log, PackageList
from appliance.root_image import daemon_sources
from rpc.errors import ImageError

_UNUSED_S: Final = 24 * 3600.0
"""An appliance of another version that nobody launched for so long is removed; a running qemu keeps its files open."""
RESUMABLE: Final = "Its daemon can be saved and restored."
"""What README.fixed says of such an appliance."""
_FILES: Final = ("kernel", "initrd", "root")


def cache_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Return LIBGUESTFS_CACHEDIR, else XDG_CACHE_HOME, else ~/.cache, with ``guestmount-py`` below.

    Raises:
        ImageError: there is none of them.
    """
    base = environment.get("LIBGUESTFS_CACHEDIR") or environment.get("XDG_CACHE_HOME")
    try:
        return Path(base or Path.home() / ".cache") / "guestmount-py"
    except RuntimeError as exc:
        raise ImageError("there is no home directory to keep an appliance in: set LIBGUESTFS_CACHEDIR") from exc


def content_key(packages: PackageList) -> str:
    """Return what an appliance's content depends on, as a short hash: packages, builder, scripts and daemon."""
    digest = hashlib.sha256(packages.distribution.encode())
    here = PACKAGES_FILE.parent
    sources = [PACKAGES_FILE, here / "init", here / "initrd-init"]
    sources += [here / f"{name}.py" for name in ("packages", "tree", "kernel", "initrd", "root_image")]
    for directory in daemon_sources().values():
        sources += sorted(directory.rglob("*.py"))
    for source in sources:
        data = source.read_bytes()
        digest.update(f"{source.name} {len(data)} ".encode() + data)
    return digest.hexdigest()[:16]


def tree_key(packages: PackageList) -> str:
    """Return what an unpacked tree's content depends on, as a short hash."""
    here = PACKAGES_FILE.parent
    digest = hashlib.sha256(repr(packages).encode())
    digest.update((here / "packages.py").read_bytes() + (here / "tree.py").read_bytes())
    return digest.hexdigest()[:16]


def files_in(directory: Path) -> ApplianceFiles | None:
    """Return the appliance in a directory, None if it is not complete."""
    if not all((directory / name).is_file() for name in (*_FILES, "README.fixed")):
        return None
    return ApplianceFiles(
        kernel=directory / "kernel",
        initrd=directory / "initrd",
        root=directory / "root",
        resumable=RESUMABLE in (directory / "README.fixed").read_text(errors="replace"),
    )


def make_private(directory: Path, *, to_write: bool = True) -> None:
    """Create the cache directory, for its user only: who can write there decides what runs as the appliance.

    Args:
        directory: where.
        to_write: it shall be written to, not only read.

    Raises:
        ImageError: it cannot be created or written, or is another user's.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = directory.stat()
    except OSError as exc:
        raise _unwritable(directory, exc.strerror) from exc
    if info.st_uid != os.geteuid():
        raise _unwritable(directory, "it belongs to another user")
    if info.st_mode & 0o022:
        raise _unwritable(directory, "others can write there")
    if not os.access(directory, (os.W_OK if to_write else os.R_OK) | os.X_OK):
        raise _unwritable(directory, os.strerror(errno.EACCES))


def _unwritable(directory: Path, reason: str | None) -> ImageError:
    return ImageError(
        f"cannot keep the appliance in {directory}: {reason}: set LIBGUESTFS_CACHEDIR to a directory of your own"
    )


@asynccontextmanager
async def build_lock(
    directory: Path, log: Log, *, name: str = "lock", work: str = "building the appliance"
) -> AsyncIterator[None]:
    """Hold the one lock of those who do the same work; wait, and say so, while another process has it."""
    try:
        descriptor = os.open(directory / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise _unwritable(directory, exc.strerror) from exc
    try:
        told = False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    log(f"another process is {work}; waiting for it")
                    told = True
                await trio.sleep(0.2)
        yield
    finally:
        os.close(descriptor)


def prune(directory: Path, keep: set[str]) -> None:
    """Remove what killed builders left, and what was not used for a day; call with the lock held."""
    for path in directory.iterdir():
        if path.name.startswith("building-"):
            shutil.rmtree(path, ignore_errors=True)
        elif path.name not in keep and path.name.startswith(("accelerator-", "appliance-", "tree-", "packages-")):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _UNUSED_S:
                    path.unlink() if path.is_file() else shutil.rmtree(path, ignore_errors=True)
