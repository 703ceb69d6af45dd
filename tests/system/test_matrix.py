"""Every file of every kind of filesystem, on every kind of disk, by every plane: its bytes are those the guest reads.

What the guest reads is told by its own checksums. A table of what came which way is written at the end.
"""

import hashlib
import os
import random
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest

from guestmount_py.config import PLANES, Plane
from tests.guests.cache import run
from tests.guests.matrix import (
    ENCRYPTED,
    FILESYSTEMS,
    KEY,
    OPENED,
    STACKS,
    Filesystem,
    appliance,
    matrix_disk,
    stacked_disks,
)
from tests.system.conftest import open_sandbox
from tests.system.sandbox import Sandbox
from tests.system.test_planes import statistics_after

pytestmark = [pytest.mark.appliance, pytest.mark.fuse, pytest.mark.root]

GUEST: Final = {"small", "stream", "pread"}
"""Ways of bytes that the guest reads; zeros have none."""
FORMATS: Final = {
    "raw": "raw",
    "qcow2": "qcow2",
    "qcow2-compressed": "qcow2",
    "qcow2-chain": "qcow2",
    "vmdk": "export",
    "vdi": "export",
    "vhdx": "export",
}
"""Of each format the way that mapped files are read if nothing else is asked for."""
Sums: TypeAlias = dict[str, str]
"""MD5 sums of files by their paths from the root of their filesystem."""
Table: TypeAlias = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[Table]:
    """Collect rows of cells by column, which are written when all is done."""
    rows: Table = {}
    yield rows
    reporter, capture = map(request.config.pluginmanager.get_plugin, ("terminalreporter", "capturemanager"))
    assert reporter is not None
    assert capture is not None
    columns = list(dict.fromkeys(column for cells in rows.values() for column in cells))
    lines = [("", *columns), *((name, *(cells.get(column, "") for column in columns)) for name, cells in rows.items())]
    with capture.global_and_fixture_disabled():
        reporter.write(f"\nfiles read with {', '.join(f'--plane={plane}' for plane in PLANES)}, each the guest's:\n")
        reporter.write("R from a raw image, Q from a qcow2 one, E from qemu's export, G by the guest, g some of them\n")
        for line in lines:
            reporter.write("".join(f"{word:<18}" for word in line).rstrip() + "\n")


def note(table: Table, row: str, column: str, planes: Mapping[str, int]) -> None:
    """Add to a cell how bytes came."""
    ways = "".join(letter for letter, way in (("R", "raw"), ("Q", "qcow2"), ("E", "export")) if way in planes)
    if GUEST & planes.keys():
        ways += "g" if ways else "G"
    cells = table.setdefault(row, {})
    cells[column] = f"{cells.get(column, '')} {ways:<2}".lstrip()


def converted(raw: Path, image_format: str, directory: Path) -> Path:
    """Give a raw image in another format; what takes a key of ``--format`` is in its name before the first hyphen."""
    kind, _, how = image_format.partition("-")
    if kind == "raw":
        return raw
    image = directory / f"{image_format}.{kind}"
    if how == "chain":
        return _chain(raw, image)
    options = ("-c", "-o", "compression_type=zstd") if how == "compressed" else ()
    run("qemu-img", "convert", "-f", "raw", "-O", kind, *options, raw, image)
    return image


def _chain(raw: Path, top: Path) -> Path:
    """Each of three layers, the lowest a raw one, has parts of the disk that no other has."""
    base, middle = top.with_name("base.img"), top.with_name("middle.qcow2")
    run("cp", "--sparse=always", raw, base)
    step = 3 << 20
    for offset in range(0, raw.stat().st_size, 3 * step):
        run("fallocate", "--punch-hole", f"--offset={offset}", f"--length={2 * step}", base)
    partly = top.with_name("partly.img")
    run("cp", "--sparse=always", raw, partly)
    for offset in range(0, raw.stat().st_size, 3 * step):
        run("fallocate", "--punch-hole", f"--offset={offset}", f"--length={step}", partly)
    for source, below, kind, image in ((partly, base, "raw", middle), (raw, middle, "qcow2", top)):
        run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-B", below, "-F", kind, source, image)
    partly.unlink()
    return top


def sums_of_guest(images: Sequence[Path], devices: Mapping[str, str], *, encrypted: bool = False) -> dict[str, Sums]:
    """Have the guest itself add up all files of filesystems: of the first one, mounted on /, those in one directory."""
    with appliance(list(images)) as guest:
        if encrypted:
            guest.luks_open_ro(ENCRYPTED, KEY, OPENED)
        for name, device in devices.items():
            guest.mount_ro(device, f"/{name}" if name != next(iter(devices)) else "/")
        found = {}
        for name in devices:
            lines = guest.checksums_out("md5", f"/{name}").read().decode().splitlines()
            found[name] = {path.removeprefix("./"): digest for digest, path in (line.split("  ", 1) for line in lines)}
        return found


def sums_of_mount(root: Path) -> Sums:
    """Read all files of a tree, some in order and some in odd parts."""
    found = {}
    for directory, _, names in os.walk(root):
        for name in names:
            path = Path(directory, name)
            if path.is_file() and not path.is_symlink():
                place = str(path.relative_to(root))
                with path.open("rb", buffering=0) as file:
                    data = _in_parts(file.fileno()) if zlib.crc32(place.encode()) % 3 == 0 else file.readall()
                found[place] = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return found


def _in_parts(descriptor: int) -> bytearray:
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
    data = bytearray(os.fstat(descriptor).st_size)
    view = memoryview(data)
    size_bytes = max(200_003, len(data) // 10 + 3)
    parts = list(range(0, len(data), size_bytes))
    random.Random(len(data)).shuffle(parts)
    for offset in parts:
        part = view[offset : offset + size_bytes]
        assert os.preadv(descriptor, (part,), offset) == len(part)
    return data


class Mounted:
    """A mount, and what it did since it was last asked."""

    def __init__(self, sandbox: Sandbox, root: Path) -> None:
        self.root = root
        self._sandbox = sandbox
        self._before: dict[str, dict[str, int]] = {}

    def planes(self) -> dict[str, int]:
        """Return the bytes that came each way."""
        stats = self._sandbox.directory / "stats.json"
        stats.unlink(missing_ok=True)
        found: dict[str, Any] = statistics_after(self._sandbox, stats)["planes"]
        new = {name: each["bytes"] - self._before.get(name, {"bytes": 0})["bytes"] for name, each in found.items()}
        self._before = found
        return {name: size_bytes for name, size_bytes in new.items() if size_bytes}


@contextmanager
def mounted(
    sandbox: Sandbox,
    images: Sequence[Path],
    devices: Mapping[str, str],
    plane: Plane,
    *words: str,
    encrypted: bool = False,
) -> Iterator[Mounted]:
    first = next(iter(devices))
    mounts = [device if name == first else f"{device}:/{name}" for name, device in devices.items()]
    files = ("--stats", sandbox.directory / "stats.json", "--pid-file", sandbox.directory / "pid")
    added = [word for image in images[:-1] for word in ("-a", image)]
    prefix = (sys.executable, "-m", "tests.system.unlocked", ENCRYPTED, KEY, OPENED) if encrypted else ()
    with sandbox.mounted(images[-1], mounts, f"--plane={plane}", *files, *words, *added, prefix=prefix) as root:
        yield Mounted(sandbox, root)


@pytest.fixture(scope="module")
def filesystems() -> tuple[Path, dict[str, Sums]]:
    """The disk with all filesystems, and what the guest reads of it."""
    image = matrix_disk()
    return image, sums_of_guest([image], _partitions())


def _partitions() -> dict[str, str]:
    return {each.name: f"/dev/sda{number}" for number, each in enumerate(FILESYSTEMS, start=1)}


@pytest.mark.parametrize("image_format", FORMATS)
def test_files_of_every_filesystem_are_the_guests_by_every_plane(
    appliance_directory: Path, filesystems: tuple[Path, dict[str, Sums]], table: Table, image_format: str
) -> None:
    raw, expected = filesystems
    with open_sandbox(appliance_directory) as sandbox:
        image = converted(raw, image_format, sandbox.directory)
        for plane in PLANES:
            # What the guest reads though it need not, it reads as it does what it must.
            read = [each for each in FILESYSTEMS if plane == "auto" or each.is_mapped]
            devices = {name: device for name, device in _partitions().items() if name in {each.name for each in read}}
            named = f"--format={image_format.partition('-')[0]}"
            with mounted(sandbox, [image], devices, plane, named) as mount:
                for filesystem in read:
                    assert sums_of_mount(mount.root / filesystem.name) == expected[filesystem.name], filesystem.name
                    planes = mount.planes()
                    note(table, filesystem.name, image_format, planes)
                    sizes = {
                        path: (mount.root / filesystem.name / path).stat().st_size for path in expected[filesystem.name]
                    }
                    check_planes(
                        filesystem, planes, sizes, {"auto": FORMATS[image_format], "qemu": "export"}.get(plane)
                    )


def check_planes(filesystem: Filesystem, planes: Mapping[str, int], sizes: Mapping[str, int], way: str | None) -> None:
    """Insist that bytes came the way they should, and only those of some files another way.

    Args:
        filesystem: whose files were read.
        planes: bytes by the way they came.
        sizes: of all files.
        way: for files that are mapped; None if the guest was to read them.
    """
    assert sum(planes.values()) >= sum(sizes.values())  # the kernel may ask twice
    if way is None or not filesystem.is_mapped:
        assert planes.keys() <= GUEST
        return
    refused = sum(size for path, size in sizes.items() if any(fnmatch(path, each) for each in filesystem.refused))
    assert planes.keys() <= GUEST | {way, "zeros"}
    assert planes[way] > 2_000_000
    assert sum(planes.get(each, 0) for each in GUEST) <= 2 * refused


@pytest.fixture(scope="module")
def stacks() -> tuple[list[Path], dict[str, Sums]]:
    """Disks with volumes, arrays and encryption, and what the guest reads of them."""
    images = stacked_disks()
    return images, sums_of_guest(images, STACKS, encrypted=True)


@pytest.mark.parametrize("plane", PLANES)
def test_files_on_volumes_arrays_and_encrypted_disks_are_the_guests_by_every_plane(
    sandbox: Sandbox, stacks: tuple[list[Path], dict[str, Sums]], table: Table, plane: Plane
) -> None:
    images, expected = stacks
    for sums in expected.values():  # they are clones, and the first one's directory is on each of them
        assert {place.removeprefix("linear/"): digest for place, digest in sums.items()} == expected["linear"]
    with mounted(sandbox, images, STACKS, plane, "--format=raw", encrypted=True) as mount:
        for name in STACKS:
            assert sums_of_mount(mount.root / name) == expected[name], name
            planes = mount.planes()
            note(table, name, "raw", planes)
            way = {"auto": "raw", "qemu": "export"}.get(plane) if name == "linear" else None
            assert planes.keys() <= (GUEST if way is None else {way, "zeros"})
