"""Images: what format they are, whether they are safe and whole, and the overlay that takes what a guest writes."""

import errno
import json
import os
import stat
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from appliance.config import Drive, RemoteDisk
from appliance.image_format import FORMATS, guess_format, refers_elsewhere
from appliance.image_state import ImageState, image_state
from appliance.image_use import check_writable
from appliance.process import ProgramFailed, run_program
from appliance.qcow2 import DISK_MAX_BYTES, Qcow2Header, check_complete, empty_image, read_header
from appliance.source import DiskSource
from rpc.errors import DriveError

SPLIT: Final = "split"
_OLD_ENCRYPTION: Final = 1


@dataclass(frozen=True, slots=True)
class CheckedDrive:
    """An image that was looked at.

    Attributes:
        may_chain: the user named the format, so files that the image names may be opened.
        size_bytes: size of the disk that the guest sees.
        is_block_device: it is no file but a device of the host's, which qemu opens by another driver.
        writable: the guest writes to it.
        files: as they were before qemu opened them: the image, its backing files in order, and whatever else holds data
            of one of them. None at all if one of them is not a file that can be watched.
        key: of an encrypted qcow2 image.
        snapshot: the one that is shown in its place.
        text: what qemu reads in place of the file, and finds the files by.
        source: how to get at it, if it is no plain file; set for the launch.
    """

    path: Path | RemoteDisk
    format: str
    may_chain: bool
    size_bytes: int
    blocksize_bytes: int | None
    is_block_device: bool = False
    writable: bool = False
    files: tuple[ImageState, ...] = ()
    key: str | None = field(default=None, repr=False)
    snapshot: str | None = None
    text: str | None = None
    source: DiskSource | None = None

    @property
    def needs_source(self) -> bool:
        """Tell whether more than its file is needed to open it."""
        return self.is_vouched_for or self.text is not None or self.key is not None

    @property
    def inherited_fds(self) -> tuple[int, ...]:
        """Return the descriptors that qemu must inherit to open it."""
        if self.source is None:
            return ()
        return (*self.source.descriptors, *(descriptor for _, descriptor in self.source.secrets))

    @property
    def is_vouched_for(self) -> bool:
        """Tell whether it is read without being watched.

        Who names a server says that nobody writes to its disk, and nobody writes to a snapshot.
        """
        return isinstance(self.path, RemoteDisk) or self.snapshot is not None


async def check_drive(drive: Drive) -> CheckedDrive:
    """Look at an image without letting it lead anywhere else.

    Raises:
        DriveError: missing, unreadable, empty, damaged, of no known format, or naming other files though its format was
            only guessed; or claiming a disk larger than qemu has overlays for.
    """
    if drive.format is not None and drive.format not in (*FORMATS, SPLIT):
        raise DriveError(f"{drive.path}: unknown format {drive.format}: known are {', '.join(FORMATS)}, {SPLIT}")
    if drive.writable and (drive.snapshot or drive.format == SPLIT or isinstance(drive.path, RemoteDisk)):
        raise DriveError(f"{drive.path}: snapshots, split images and disks of servers are only read: use --ro")
    if isinstance(drive.path, RemoteDisk):
        from appliance.remote import check_remote

        return check_size(await check_remote(drive, drive.path))
    path = drive.path.absolute()
    if not os.fsencode(path).decode("utf-8", "ignore") == str(path):
        raise DriveError(f"{path}: qemu takes only UTF-8 names: give the image a symlink with such a name")
    check_readable(path)
    if drive.writable:
        check_writable(path)
    if drive.format == SPLIT:
        from appliance.split import check_split

        return check_size(check_split(drive, path))
    return check_size(await _check_file(drive, path))


async def _check_file(drive: Drive, path: Path) -> CheckedDrive:
    state = image_state(path)
    kind = drive.format or guess_format(path)
    if kind == "qcow2":
        header = read_header(path)
        if header.refers_elsewhere and drive.format is None:
            raise refers_elsewhere(str(drive.path), kind)
        check_complete(path, header)
        check_key(drive, header)
    images = await _images(path, kind, chained=drive.format is not None)
    if drive.snapshot is not None:
        check_snapshot(path, drive.snapshot, images[0])
    return CheckedDrive(
        path,
        kind,
        drive.format is not None,
        int(images[0]["virtual-size"]),
        drive.blocksize_bytes,
        is_block_device=path.is_block_device(),
        writable=drive.writable,
        files=_files(state, images),
        key=drive.key,
        snapshot=drive.snapshot,
    )


def check_size(drive: CheckedDrive) -> CheckedDrive:
    """Return a drive, if there is an overlay for so large a one.

    Raises:
        DriveError: there is none.
    """
    if drive.size_bytes > DISK_MAX_BYTES:
        raise DriveError(
            f"{drive.path}: claims a disk of {drive.size_bytes} bytes, which qemu has no overlay for: is it damaged?"
        )
    return drive


def check_key(drive: Drive, header: Qcow2Header) -> None:
    """Insist on a key where there must be one.

    Raises:
        DriveError: there is none, or qemu knows no such encryption any more.
    """
    if header.encryption == _OLD_ENCRYPTION:
        raise DriveError(f"{drive.path}: qcow2's old encryption, which only qemu-img reads: 'qemu-img convert' it")
    if header.is_encrypted and drive.key is None:
        raise DriveError(f"{drive.path}: is encrypted: give its key with --key, without --overlay")


def check_snapshot(path: Path, wanted: str, info: dict[str, Any]) -> None:
    """Insist that an image has a snapshot.

    Raises:
        DriveError: it has not.
    """
    snapshots = info.get("snapshots", [])
    if wanted not in [each[key] for each in snapshots for key in ("name", "id")]:
        names = ", ".join(each["name"] for each in snapshots) or "none"
        raise DriveError(f"{path}: no internal snapshot {wanted}: there are: {names}")


def check_readable(path: Path) -> None:
    """Insist on a file or block device that can be read.

    Raises:
        DriveError: it is none.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as exc:
        raise DriveError(f"{path}: no such image: check the name given to -a") from exc
    except PermissionError as exc:
        raise DriveError(f"{path}: permission denied: you need read permission on the image") from exc
    except OSError as exc:
        raise DriveError(f"{path}: cannot be opened: {exc.strerror}") from exc
    try:
        info = os.fstat(descriptor)
        if stat.S_ISDIR(info.st_mode):
            raise DriveError(f"{path}: is a directory, not an image")
        if not stat.S_ISREG(info.st_mode) and not stat.S_ISBLK(info.st_mode):
            raise DriveError(f"{path}: is neither a file nor a block device")
        if os.lseek(descriptor, 0, os.SEEK_END) == 0:
            raise DriveError(f"{path}: is empty, not a disk image")
    finally:
        os.close(descriptor)


async def _images(path: Path, kind: str, *, chained: bool) -> list[dict[str, Any]]:
    """Return what qemu-img says of an image; with ``chained`` of its backing files, which must name their formats."""
    chain = ["--backing-chain"] if chained else []
    try:
        output = await run_program(["qemu-img", "info", "-U", "--output=json", *chain, "-f", kind, path], timeout_s=60)
    except ProgramFailed as exc:
        if "is not installed" in str(exc):
            raise DriveError("qemu-img is not installed: install the package qemu-utils") from exc
        raise DriveError(f"{path}: cannot be read as {kind}: {_reason(str(exc), path)}") from exc
    images: list[dict[str, Any]] = json.loads(output) if chained else [json.loads(output)]
    for image in images[:-1]:
        if "backing-filename-format" not in image:
            raise DriveError(
                f"{image['filename']}: names a backing file but not its format: "
                "record it with 'qemu-img rebase -u -F FORMAT'"
            )
    return images


def _files(image: ImageState, images: Sequence[dict[str, Any]]) -> tuple[ImageState, ...]:
    """Return the state of all that an image's bytes are in; nothing if something of it is not a file here."""
    names = [each["filename"] for each in images[1:]]
    for each in images:
        details = each.get("format-specific", {}).get("data", {})
        names += [details["data-file"]] if "data-file" in details else []
        names += [extent["filename"] for extent in details.get("extents", ())]
    files = {image.path: image}
    for path in dict.fromkeys(names):
        if not path.startswith("/"):
            return ()
        try:
            files.setdefault(Path(path), image_state(Path(path)))
        except DriveError:
            return ()
    return tuple(files.values())


def _reason(text: str, path: Path) -> str:
    """Return qemu-img's message without its own name and the image's; another file, such as a backing file, stays."""
    opened = f"Could not open '{path}': "
    words = text.removeprefix("qemu-img: ").removeprefix(opened).removeprefix(opened)
    head, _, tail = words.rpartition("Could not open ")
    return f"cannot open {tail}" if head or tail != words else words


def make_overlay(drive: CheckedDrive, directory: Path) -> BinaryIO:
    """Return an empty qcow2 overlay of the drive's size, a file that never has a name and so is never left behind.

    Raises:
        DriveError: there is no space for it.
    """
    try:
        with ExitStack() as undo:
            file = undo.enter_context(tempfile.TemporaryFile(dir=directory, buffering=0))
            start, length_bytes = empty_image(drive.size_bytes)
            if file.write(start) < len(start):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            file.truncate(length_bytes)
            undo.pop_all()
    except OSError as exc:
        raise DriveError(
            f"cannot make a temporary overlay in {directory}: {exc}: TMPDIR can name another place"
        ) from exc
    return file
