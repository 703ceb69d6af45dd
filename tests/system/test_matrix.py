"""Every file of every kind of filesystem, on every kind of disk, by every plane: its bytes are those the guest reads.

What the guest reads is told by its own checksums, and what attributes it sees by its own find(1). Which way the bytes
came stands in tests/guests/results.json.
"""

import hashlib
import os
import random
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest

from guestmount_py.config import PLANES, Plane
from tests.guests.cache import run
from tests.guests.disk import mounted as mounted_by_kernel
from tests.guests.mapped import loop_devices
from tests.guests.matrix import FILESYSTEMS, Filesystem, appliance, fill_plainly, matrix_disk
from tests.guests.results import Note
from tests.guests.stacks import KEY, SOURCE, STACKS, TREE, devices, stacked_disks
from tests.system.conftest import open_sandbox
from tests.system.sandbox import Sandbox
from tests.system.test_planes import statistics_after

pytestmark = [pytest.mark.appliance, pytest.mark.fuse, pytest.mark.root]

GUEST: Final = {"small", "stream", "pread"}
"""Ways of bytes that the guest reads; zeros have none."""
FORMATS: Final[Mapping[str, tuple[str, Sequence[Plane]]]] = {
    "raw": ("raw", PLANES),
    "qcow2": ("qcow2", ("auto",)),
    "qcow2-compressed": ("qcow2", ("auto",)),
    "qcow2-chain": ("qcow2", ("auto", "qemu")),
    "vmdk": ("export", ("auto",)),
    "vdi": ("export", ("auto",)),
    "vhdx": ("export", ("auto",)),
}
"""Of each format the way that mapped files are read if nothing else is asked for, and with which ``--plane`` they are.

What only the guest can read, it reads of a raw image only: it sees no format.
"""
Sums: TypeAlias = dict[str, str]
"""MD5 sums of files by their paths from the root of their filesystem."""
Entries: TypeAlias = dict[str, str]
"""Attributes of files, directories and links by their paths."""
ENTRY: Final = r"%P\0%y %m %U:%G %s bytes, %b blocks, %n links, %T@, %C@, %l\0"
"""What find(1) is to print of each file, directory or link: all but its inode and the time of its last access."""


@dataclass(frozen=True, slots=True)
class Tree:
    """What is on a filesystem."""

    sums: Sums
    entries: Entries
    blocks: int


def ways(planes: Mapping[str, int]) -> str:
    """Return how bytes came, in letters: docs/guests.md says which."""
    found = "".join(letter for letter, way in (("R", "raw"), ("Q", "qcow2"), ("E", "export")) if way in planes)
    if GUEST & planes.keys():
        found += "g" if found else "G"
    return found


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


def trees_of_guest(images: Sequence[Path], devices: Mapping[str, str]) -> dict[str, Tree]:
    """Have the guest itself look at filesystems: of the first one, which is mounted on /, at one directory."""
    with appliance(list(images)) as guest:
        for name, device in devices.items():
            guest.mount_ro(device, f"/{name}" if name != next(iter(devices)) else "/")
        found = {}
        for name in devices:
            lines = guest.checksums_out("md5", f"/{name}").read().decode().splitlines()
            sums = {path.removeprefix("./"): digest for digest, path in (line.split("  ", 1) for line in lines)}
            found[name] = Tree(
                sums,
                _entries(guest.debug("sh", [f"find /sysroot/{name} -printf '{ENTRY}'"])),
                guest.statvfs(f"/{name}").blocks,
            )
        return found


def entries_of_mount(root: Path) -> Entries:
    """Look at all below a directory with this machine's find(1)."""
    return _entries(run("find", root, "-printf", ENTRY))


def _entries(listing: str) -> Entries:
    words = listing.split("\0")
    entries = dict(zip(words[:-1:2], words[1::2], strict=True))
    del entries[""]  # the root of some filesystems has no times but that of the mount
    return entries


def sums_of_mount(root: Path) -> Sums:
    """Read all files of a tree, some in order and some in odd parts."""
    found = {}
    for directory, _, names in os.walk(root):
        for name in names:
            path = Path(directory, name)
            if not path.is_symlink() and path.is_file():
                place = str(path.relative_to(root))
                with path.open("rb", buffering=0) as file:
                    data = _in_parts(file.fileno()) if zlib.crc32(os.fsencode(place)) % 3 == 0 else file.readall()
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
) -> Iterator[Mounted]:
    first = next(iter(devices))
    mounts = [device if name == first else f"{device}:/{name}" for name, device in devices.items()]
    files = ("--stats", sandbox.directory / "stats.json", "--pid-file", sandbox.directory / "pid")
    added = [word for image in images[:-1] for word in ("-a", image)]
    with sandbox.mounted(images[-1], mounts, f"--plane={plane}", *files, *words, *added) as root:
        yield Mounted(sandbox, root)


@pytest.fixture(scope="module")
def filesystems(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tree]]:
    """The disk with all filesystems, and what the guest reads of it: on those of other systems, what was put there."""
    image = matrix_disk()
    found = trees_of_guest([image], partitions())
    plain = tmp_path_factory.mktemp("plain")
    fill_plainly(plain)
    put = sums_of_mount(plain)
    for each in FILESYSTEMS:
        assert each.is_mapped or put.items() <= found[each.name].sums.items(), each.name
    return image, found


def partitions() -> dict[str, str]:
    """Return what each filesystem is on, by its name."""
    return {each.name: f"/dev/sda{number}" for number, each in enumerate(FILESYSTEMS, start=1)}


@pytest.mark.parametrize("image_format", FORMATS)
def test_files_of_every_filesystem_are_the_guests_by_every_plane(
    appliance_directory: Path, filesystems: tuple[Path, dict[str, Tree]], note: Note, image_format: str
) -> None:
    raw, expected = filesystems
    way, planes = FORMATS[image_format]
    found: dict[str, list[str]] = {}
    with open_sandbox(appliance_directory) as sandbox:
        image = converted(raw, image_format, sandbox.directory)
        for plane in planes:
            read = [each for each in FILESYSTEMS if each.is_mapped or (image_format, plane) == ("raw", "auto")]
            devices = {each.name: partitions()[each.name] for each in read}
            named = f"--format={image_format.partition('-')[0]}"
            with mounted(sandbox, [image], devices, plane, named) as mount:
                for filesystem in read:
                    tree, root = expected[filesystem.name], mount.root / filesystem.name
                    assert entries_of_mount(root) == tree.entries, filesystem.name
                    assert os.statvfs(root).f_blocks == tree.blocks, filesystem.name
                    assert sums_of_mount(root) == tree.sums, filesystem.name
                    came = mount.planes()
                    found.setdefault(filesystem.name, []).append(ways(came))
                    sizes = {path: (root / path).stat().st_size for path in tree.sums}
                    check_planes(filesystem, came, sizes, {"auto": way, "qemu": "export"}.get(plane))
    for name, letters in found.items():
        note("filesystems", name, **{image_format: " ".join(letters)}, files=str(len(expected[name].sums)))


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
def stacks() -> tuple[list[Path], Sums]:
    """Disks with partitions, volumes, arrays and encryption, and what was put on each of them."""
    images = stacked_disks()
    source = images[0].with_name(SOURCE)
    with loop_devices([source], "--read-only") as (device,), mounted_by_kernel(device, "-o", "ro,noload") as root:
        return images, sums_of_mount(root / TREE)


@pytest.mark.parametrize("plane", PLANES)
def test_files_on_every_storage_stack_are_those_put_there_by_every_plane(
    sandbox: Sandbox, stacks: tuple[list[Path], Sums], note: Note, plane: Plane
) -> None:
    images, expected = stacks
    found = {}
    with mounted(sandbox, images, devices(), plane, "--format=raw", f"--key=all:key:{KEY}") as mount:
        for stack in STACKS:
            place = mount.root if stack is STACKS[0] else mount.root / stack.name
            assert sums_of_mount(place / TREE) == expected, stack.name
            planes = mount.planes()
            found[stack.name] = ways(planes)
            way = {"auto": "raw", "qemu": "export"}.get(plane) if stack.is_mapped else None
            assert planes.keys() <= (GUEST if way is None else {way, "zeros"})
    for name, letters in found.items():
        note("stacks", name, **{plane: letters}, files=str(len(expected)))
