"""Images: what format they are, whether they are safe and whole, and the overlay that takes what a guest writes."""

import errno
import json
import os
import stat
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from appliance.config import Drive
from appliance.image_state import ImageState, image_state
from appliance.image_use import check_writable
from appliance.process import ProgramFailed, run_program
from appliance.qcow2 import DISK_MAX_BYTES, MAGIC, check_complete, empty_image, read_header
from rpc.errors import DriveError

FORMATS: Final = ("raw", "qcow2", "qcow", "qed", "vmdk", "vdi", "vhdx", "vpc", "parallels", "dmg", "cloop", "bochs")
_SECTOR_BYTES: Final = 512
_PROBED_BYTES: Final = 64 * 1024
_MAGICS: Final = ((0, MAGIC, "qcow2"), (0, b"KDMV", "vmdk"), (0, b"COWD", "vmdk"), (0, b"vhdxfile", "vhdx"))
_MORE_MAGICS: Final = ((0x40, b"\x7f\x10\xda\xbe", "vdi"), (0, b"conectix", "vpc"), (0, b"# Disk Descriptor", "vmdk"))


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
    """

    path: Path
    format: str
    may_chain: bool
    size_bytes: int
    blocksize_bytes: int | None
    is_block_device: bool = False
    writable: bool = False
    files: tuple[ImageState, ...] = ()


async def check_drive(drive: Drive) -> CheckedDrive:
    """Look at an image without letting it lead anywhere else.

    Raises:
        DriveError: missing, unreadable, empty, damaged, of no known format, or naming other files though its format was
            only guessed; or claiming a disk larger than qemu has overlays for.
    """
    path = drive.path.absolute()
    if not os.fsencode(path).decode("utf-8", "ignore") == str(path):
        raise DriveError(f"{path}: qemu takes only UTF-8 names: give the image a symlink with such a name")
    _check_readable(path)
    if drive.writable:
        check_writable(path)
    if drive.format is not None and drive.format not in FORMATS:
        raise DriveError(f"{drive.path}: unknown format {drive.format}: known are {', '.join(FORMATS)}")
    state = image_state(path)
    kind = drive.format or _guess(path)
    if kind == "qcow2":
        header = read_header(path)
        if header.refers_elsewhere and drive.format is None:
            raise _refers_elsewhere(drive.path, kind)
        check_complete(path, header)
    images = await _images(path, kind, chained=drive.format is not None)
    size_bytes = int(images[0]["virtual-size"])
    if size_bytes > DISK_MAX_BYTES:
        raise DriveError(f"{path}: claims a disk of {size_bytes} bytes, which qemu has no overlay for: is it damaged?")
    return CheckedDrive(
        path,
        kind,
        drive.format is not None,
        size_bytes,
        drive.blocksize_bytes,
        is_block_device=path.is_block_device(),
        writable=drive.writable,
        files=_files(state, images),
    )


def _check_readable(path: Path) -> None:
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


def _guess(path: Path) -> str:
    """Return the format by its magic number; anything else is raw, if it can be a disk at all."""
    with path.open("rb") as file:
        start = file.read(_PROBED_BYTES)
        size_bytes = file.seek(0, os.SEEK_END)
    for offset, magic, kind in (*_MAGICS, *_MORE_MAGICS):
        if start[offset : offset + len(magic)] == magic:
            if kind == "vmdk" and not _is_single_vmdk(path, start):
                raise _refers_elsewhere(path, kind)
            return kind
    with path.open("rb") as file:
        file.seek(max(0, size_bytes - _SECTOR_BYTES))
        if file.read(8) == b"conectix":
            return "vpc"
    if size_bytes % _SECTOR_BYTES:
        raise DriveError(
            f"{path}: not a disk image: no known format, and {size_bytes} bytes are no whole number of sectors: "
            "pass --format=raw if it is a disk all the same"
        )
    return "raw"


def _is_single_vmdk(path: Path, start: bytes) -> bool:
    """Tell whether a VMDK is one file without a parent or extents elsewhere (VMware: Virtual Disk Format 1.1).

    qemu's own reading is what counts: without a capacity the descriptor's extents are opened, whatever its type; the
    parent's name is looked for in 20 sectors from sector 1, wherever the descriptor is (block/vmdk.c).
    """
    if not start.startswith(b"KDMV") or not any(start[12:20]):
        return False
    sector, sectors = (int.from_bytes(start[at : at + 8], "little") for at in (28, 36))
    with path.open("rb") as file:
        file.seek(min(sector, 1 << 40) * _SECTOR_BYTES)
        descriptor = file.read(min(sectors, 2048) * _SECTOR_BYTES).lower()
    single = b'createtype="monolithicsparse"' in descriptor or b'createtype="streamoptimized"' in descriptor
    has_parent = b"parentfilenamehint" in descriptor + start[_SECTOR_BYTES : 21 * _SECTOR_BYTES].lower()
    return single and not has_parent and b"parentcid=ffffffff" in descriptor.replace(b" ", b"")


def _refers_elsewhere(path: Path, kind: str) -> DriveError:
    return DriveError(
        f"{path}: this {kind} image names other files (such as a backing file), and a guest could have written that: "
        f"pass --format={kind} if you trust it"
    )


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
