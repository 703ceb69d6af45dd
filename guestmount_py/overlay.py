"""A qcow2 overlay beside an image: made, found to belong to it, dropped.

The image is its backing file and is only read. A dirty bitmap that records what is written to the image gets a namesake
in the overlay before anything is written there, as libvirt's snapshots do it (libvirt: "Internals of incremental
backup handling in qemu"); otherwise the next incremental backup would miss what the overlay brings.
"""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from appliance.config import Drive
from appliance.drives import SPLIT, check_drive
from appliance.image_use import READ, RESIZE, WRITE, denied
from appliance.process import ProgramFailed, run_program
from appliance.qcow2 import MAGIC
from guestmount_py.bitmaps import Bitmap, bitmaps_of, image_info
from guestmount_py.config import MountConfig
from rpc.errors import DriveError

_STAMP: Final = "user.guestmount-py.base"
"""The attribute of an overlay that tells what its base was like: over one that was written to since it is garbage."""
_COMMIT: Final = "user.guestmount-py.commit"
"""The attribute of an overlay that tells that a commit of it was begun, and what it was called then."""
_TOOL_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Overlay:
    """An overlay as its own header tells.

    Attributes:
        base: its backing file.
        size_bytes: of the disk.
    """

    path: Path
    base: Path
    base_format: str
    size_bytes: int
    bitmaps: tuple[Bitmap, ...]

    @property
    def journal_part(self) -> Path:
        """Return where the journal is made, until it is whole."""
        return self.path.with_name(f"{self.path.name}.commit.part")

    @property
    def journal(self) -> Path:
        """Return where a commit keeps the base's bitmaps until it has ended; without one this file is not there."""
        return self.path.with_name(f"{self.path.name}.commit")


async def read_overlay(path: Path) -> Overlay:
    """Return an overlay.

    Raises:
        DriveError: the file is not there, or is none.
    """
    path = path.absolute()
    try:
        with path.open("rb") as file:
            is_qcow2 = file.read(len(MAGIC)) == MAGIC
    except OSError as exc:
        raise DriveError(f"{path}: {exc.strerror}: give the name of an overlay") from exc
    info = await image_info(path, "qcow2") if is_qcow2 else {}
    base, kind = info.get("full-backing-filename", ""), info.get("backing-filename-format")
    if not base.startswith("/") or not kind:
        raise DriveError(f"{path}: is no overlay of a local image: give the name of one, or of a file yet to be made")
    return Overlay(path, Path(base), kind, info["virtual-size"], bitmaps_of(info))


async def overlay_drive(image: Drive, path: Path, *, create: bool) -> Drive:
    """Return the drive to attach in place of an image, so that every write goes to an overlay of it.

    Args:
        image: the base.
        path: the overlay.
        create: make it if it is not there.

    Raises:
        DriveError: the image or the overlay is bad, the overlay is another image's, or the image was written to since.
    """
    if not isinstance(image.path, Path) or image.snapshot is not None or image.format == SPLIT:
        raise DriveError(f"{image.path}: --overlay goes with local images only, not with snapshots or split ones")
    if create and not os.path.lexists(path):
        await _create(image.path.absolute(), (await check_drive(image)).format, path.absolute())
    overlay = await read_overlay(path)
    if not image.path.exists() or not overlay.base.exists() or not overlay.base.samefile(image.path):
        raise DriveError(f"{path}: is an overlay of {overlay.base}, not of {image.path}: give it another name")
    if image.format not in (None, overlay.base_format):
        raise DriveError(f"{path}: is an overlay of a {overlay.base_format} image, not {image.format}")
    check_base(overlay)
    with denied(overlay.base, WRITE, RESIZE):
        pass  # qemu sees to that from now on, but does not say who it is
    return replace(image, path=overlay.path, format="qcow2")


async def overlaid(config: MountConfig) -> MountConfig:
    """Return a mount's configuration with the overlays in place of the images; what is written to is made if need be.

    Raises:
        DriveError: see ``overlay_drive``.
    """
    pairs = zip(config.drives, config.overlays, strict=True)
    drives = [await overlay_drive(image, path, create=config.writable) for image, path in pairs]
    return replace(config, drives=tuple(drives))


async def _create(base: Path, kind: str, path: Path) -> None:
    """Make an overlay, which gets its name when it is whole."""
    if os.fsencode(path).decode("utf-8", "ignore") != str(path):
        raise DriveError(f"{path}: qemu takes only UTF-8 names")
    journal = path.with_name(f"{path.name}.commit")
    if journal.exists():
        raise DriveError(
            f"{journal}: is of an overlay that had this name when a commit of it was interrupted: "
            "give that its name back and end the commit, or give another name"
        )
    bitmaps = bitmaps_of(await image_info(base, kind)) if kind == "qcow2" else ()
    with denied(base, WRITE, RESIZE), _unnamed(path, base.stat().st_mode) as file:
        try:
            await _tool("create", "-q", "-f", "qcow2", "-b", base, "-F", kind, file)
            for bitmap in bitmaps:
                if bitmap.is_valid:
                    granularity = str(bitmap.granularity_bytes)
                    await _tool("bitmap", "--add", "-g", granularity, "-f", "qcow2", file, bitmap.name)
        except ProgramFailed as exc:
            raise DriveError(f"{path}: cannot be made as an overlay of {base}: {exc}") from exc
        stamp(file, base)


async def _tool(*arguments: str | Path) -> None:
    await run_program(["qemu-img", *arguments], timeout_s=_TOOL_S)


@contextmanager
def _unnamed(path: Path, mode: int) -> Iterator[Path]:
    """Yield a file to fill, that then gets its name if that is still free; it is no more readable than the base."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:200]}.", dir=path.parent)
        file = Path(name)
        try:
            os.fchmod(descriptor, (stat.S_IMODE(mode) & 0o644) | 0o600)
            yield file
            os.fsync(descriptor)
            os.link(file, path)
            sync(path.parent)
        finally:
            os.close(descriptor)
            file.unlink(missing_ok=True)  # qemu-img removes what it cannot make
    except OSError as exc:
        raise DriveError(f"{path}: cannot be made: {exc.strerror}") from exc


def stamp(path: Path, base: Path) -> None:
    """Note in an overlay what its base is like now, where the filesystem can."""
    with suppress(OSError):
        os.setxattr(path, _STAMP, _state(base))


def check_base(overlay: Overlay) -> None:
    """Insist that nobody wrote to an overlay's base since it was made, as far as the file tells.

    A commit that was begun did write; it is the one to end it.

    Raises:
        DriveError: somebody did, or it is gone.
    """
    try:
        noted = os.getxattr(overlay.path, _STAMP)
    except OSError:
        noted = b""  # made by others, or kept where there are no such attributes
    try:
        now = _state(overlay.base)
    except OSError as exc:
        raise DriveError(
            f"{overlay.path}: its base {overlay.base}: {exc.strerror}: "
            "put it back, or name its new place with 'qemu-img rebase -u -b'"
        ) from exc
    if noted and now and noted != now and not (overlay.journal.exists() or _begun(overlay)):
        raise DriveError(
            f"{overlay.path}: its base {overlay.base} was written to since, so that the overlay fits it no more: "
            f"discard it, or if you know better, 'setfattr -x {_STAMP} {overlay.path}'"
        )


def _state(base: Path) -> bytes:
    info = base.stat()
    return b"%d %d" % (info.st_size, info.st_mtime_ns) if stat.S_ISREG(info.st_mode) else b""


async def discard_overlay(path: Path) -> None:
    """Remove an overlay, and with it all that was written to it.

    Raises:
        DriveError: it is none, is in use, or its base alone is no whole disk any more.
    """
    overlay = await read_overlay(path)
    with denied(overlay.path, READ, WRITE, RESIZE, alone=True):
        check_no_commit(overlay)
        remove(overlay)


def check_no_commit(overlay: Overlay) -> None:
    """Insist that no commit was begun, of which the base has some part.

    Raises:
        DriveError: one was.
    """
    check_journal(overlay)
    if overlay.journal.exists():
        raise DriveError(
            f"{overlay.path}: a commit of it was interrupted, and its base holds part of it: "
            f"end it with 'guestmount-py overlay commit {overlay.path}'"
        )


def check_journal(overlay: Overlay) -> None:
    """Insist that an overlay of which a commit was begun has its journal beside it.

    Raises:
        DriveError: it was renamed since.
    """
    former = _begun(overlay)
    if former and not overlay.journal.exists():
        raise DriveError(
            f"{overlay.path}: a commit of it was interrupted when it was called {former}, and its base holds part of "
            f"it: rename {Path(former).name}.commit to {overlay.journal}, and run 'guestmount-py overlay commit'"
        )


def _begun(overlay: Overlay) -> str:
    """Return what an overlay was called when a commit of it was begun; empty if none was."""
    try:
        return os.fsdecode(os.getxattr(overlay.path, _COMMIT))
    except OSError:
        return ""


def note_commit(overlay: Overlay, *, begun: bool) -> None:
    """Note in an overlay that a commit of it was begun, or has ended, where the filesystem can."""
    with suppress(OSError):
        if begun:
            os.setxattr(overlay.path, _COMMIT, os.fsencode(overlay.path))
        else:
            os.removexattr(overlay.path, _COMMIT)
    sync(overlay.path)


def remove(overlay: Overlay) -> None:
    """Remove the overlay's file.

    Raises:
        DriveError: it cannot be removed.
    """
    try:
        overlay.journal_part.unlink(missing_ok=True)
        overlay.path.unlink()
        sync(overlay.path.parent)
    except OSError as exc:
        raise DriveError(f"{overlay.path}: cannot be removed: {exc.strerror}") from exc


def sync(path: Path) -> None:
    """Make a file, or what names a directory has, durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
