"""Files whose bytes lie in awkward ways, on filesystems of the host's kernel, and what reads them by their maps."""

import os
import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from daemon.device_map import layout, mount_of
from daemon.extents import mount_number
from guestmount_py.extents import AddressMap, FileMap, file_map
from guestmount_py.mapping import GuestMapping
from rpc.client import open_channel
from rpc.extents import MapPart
from rpc.pool import ChannelPool
from rpc.procedures.extensions import DeviceMap, DeviceSegment
from tests.guests.cache import run
from tests.guests.disk import mounted
from tests.mount.server import start_daemon

MANY: Final = 1500
"""Extents of the file ``many``: more than the daemon asks for at once."""


def write_awkward_files(root: Path, block_bytes: int = 4096, many: int = MANY) -> None:
    """Write files with tails, holes, unwritten and very many extents; all data is random, so nothing compresses."""
    source = random.Random(5)
    for size_bytes in (0, 1, 60, 100, 1023, 4095, 4096, 4097, 100_001, 3_000_000):
        (root / f"plain-{size_bytes}").write_bytes(source.randbytes(size_bytes))
    with (root / "holes").open("wb") as file:
        for offset in (100_000, 500_000, 501_000, 5_000_000):
            file.seek(offset)
            file.write(source.randbytes(20_001))
        file.truncate(9_000_001)
    with (root / "all-hole").open("wb") as file:
        file.truncate(123_457)
    with (root / "unwritten").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 2_000_003)
        for offset in (0, 65_536, 700_001, 1_999_990):
            os.pwrite(file.fileno(), source.randbytes(13), offset)
    with (root / "room-behind-the-end").open("wb") as file:
        file.write(source.randbytes(70_007))
    with suppress(RuntimeError):  # ext2 and ext3 have no such thing
        run("fallocate", "--keep-size", "--length", "400000", root / "room-behind-the-end")
    with (root / "many").open("wb") as file:
        for index in range(many):
            os.pwrite(file.fileno(), source.randbytes(block_bytes), index * 2 * block_bytes)
    (root / "sub").mkdir()
    (root / "sub/inner").write_bytes(source.randbytes(12_345))
    (root / "link").symlink_to("holes")
    os.mkfifo(root / "fifo")


def write_shared_files(root: Path) -> None:
    """Write files that share their blocks."""
    source = random.Random(6)
    (root / "original").write_bytes(source.randbytes(1_000_001))
    for name in ("copy", "changed"):
        run("cp", "--reflink=always", root / "original", root / name)
    with (root / "changed").open("r+b") as file:
        file.seek(300_000)
        file.write(source.randbytes(50_000))


@contextmanager
def loop_devices(images: Sequence[Path], *options: str) -> Iterator[list[Path]]:
    """Attach whole images to loop devices for as long as the block runs."""
    with ExitStack() as stack:
        devices = []
        for image in images:
            device = run("losetup", "--find", "--show", *options, image).strip()
            stack.callback(run, "losetup", "--detach", device)
            devices.append(Path(device))
        yield devices


def empty_image(path: Path, size_mib: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size_mib << 20)
    return path


class Images:
    """Images that stand for drives, by the serial numbers that a test gives them."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self.paths = paths
        self.sizes: Final = {serial: path.stat().st_size for serial, path in paths.items()}

    def read(self, mapped: FileMap, offset: int, count: int) -> bytes:
        """Read part of a file by its map."""
        parts = []
        for piece in mapped.pieces(offset, count):
            assert piece.size_bytes > 0
            if piece.serial is None:
                parts.append(bytes(piece.size_bytes))
                continue
            with self.paths[piece.serial].open("rb") as file:
                parts.append(os.pread(file.fileno(), piece.size_bytes, piece.offset))
            assert len(parts[-1]) == piece.size_bytes
        return b"".join(parts)


def told_layout(directory: Path) -> DeviceMap:
    """Return what the daemon would tell of a filesystem of this machine, with disks called as the kernel does."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        number = mount_number(descriptor)
        mount = mount_of(number)
        parts = layout(descriptor, mount)
        segments = [DeviceSegment(start, size_bytes, disk, offset) for start, (disk, offset, size_bytes) in parts]
        return DeviceMap(number, mount.fstype, "", os.statvfs(directory).f_bsize, segments)
    finally:
        os.close(descriptor)


@asynccontextmanager
async def mapping_of(root: Path) -> AsyncIterator[GuestMapping]:
    """Own a real daemon that serves a directory of this machine, and the verbs on it."""
    async with AsyncExitStack() as stack:
        daemon, stream = start_daemon(os.fspath(root), "daemon")
        stack.callback(daemon.wait)
        channel = await stack.enter_async_context(open_channel(stream))
        await channel.wait_launch()
        await channel.hello()
        yield GuestMapping(ChannelPool([channel]))


@dataclass(frozen=True, slots=True)
class Compared:
    """Names of the files of a tree, from its root: those that are mapped, with their maps, and the others."""

    mapped: dict[str, FileMap]
    refused: set[str]


async def extents_of(verbs: GuestMapping, path: bytes, names: Sequence[bytes]) -> MapPart:
    """Return the packed extents of files in one directory, which must be on one filesystem."""
    async with verbs.map_directories([(path, names)]) as stream:
        parts = [part async for part in stream]
    (filesystem,) = {part.filesystem for part in parts}
    return MapPart(filesystem, [extents for part in parts for extents in part.files])


Contents: TypeAlias = dict[str, bytes | None]
"""What the files of a tree hold, by their paths from its root; None for what is no regular file."""


def contents_of(root: Path) -> Contents:
    """Read a tree."""
    paths = sorted(root.rglob("*"))
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() and not path.is_symlink() else None
        for path in paths
    }


async def compare(contents: Contents, verbs: GuestMapping, addresses: AddressMap, images: Images) -> Compared:
    """Read every file of a tree by its map, whole and in odd parts, and compare with what it holds."""
    found = Compared({}, set())
    source = random.Random(7)
    places = [place.rpartition("/") for place in contents]
    for directory in sorted({directory for directory, _, _ in places}):
        names = [name for place, _, name in places if place == directory]
        extents = await extents_of(verbs, os.fsencode("/" + directory), [os.fsencode(name) for name in names])
        assert extents.filesystem == addresses.filesystem
        for name, packed in zip(names, extents.files, strict=True):
            place = f"{directory}/{name}".lstrip("/")
            data = contents[place]
            if data is None:  # never asked for
                continue
            mapped = None if packed is None else file_map(packed, len(data), addresses)
            if mapped is None:
                found.refused.add(place)
                continue
            found.mapped[place] = mapped
            assert images.read(mapped, 0, len(data) + 5) == data, place
            for _ in range(20):
                offset, count = source.randrange(len(data) + 2), source.randrange(70_000)
                assert images.read(mapped, offset, count) == data[offset : offset + count], place
    return found


@contextmanager
def remounted(
    images: Sequence[Path], mkfs: Sequence[str], fill: Callable[[Path], None], options: str = "rw"
) -> Iterator[tuple[Path, list[Path]]]:
    """Make a filesystem on images, fill it, and mount it again read-only; yield the mount point and the devices.

    Args:
        images: the first is mounted.
        mkfs: the command but for the devices.
        fill: writes into the mounted filesystem.
        options: to fill it with.
    """
    with loop_devices(images) as devices:
        run(*mkfs, *devices)
        with mounted(devices[0], "-o", options) as root:
            fill(root)
        with mounted(devices[0], "-o", "ro") as root:
            yield root, devices
