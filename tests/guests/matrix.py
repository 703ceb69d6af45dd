"""One disk with a filesystem of every kind, and disks with volumes, arrays and encryption. Needs root.

Each filesystem holds files whose bytes lie in awkward ways, as far as it can: with tails, holes, unwritten extents,
more than 340 of them, contents that compress, that are kept in the inode, that are shared.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from guestmount_py.sync import SyncGuest
from tests.guests import disk, mapped
from tests.guests.cache import cached, run
from tests.guests.disk import create_disk, loop_device, mounted, partition
from tests.guests.mapped import empty_image, write_awkward_files, write_shared_files

MANY: Final = 400
"""Extents of the files ``many``: a directory's files fit in one answer of 340 extents no more."""
KEY: Final = "a secret"
OPENED: Final = "opened"
"""What the encrypted disk is called once it is open."""
_STACKED_MIB: Final = 80
_LARGE_BYTES: Final = 44 << 20
"""With it the first of the linear volumes' disks is full."""


@dataclass(frozen=True, slots=True)
class Filesystem:
    """One filesystem of the disk, in the order of the partitions; the first is mounted on /, and holds ``files``.

    Attributes:
        is_mapped: its files are read from the image, but for ``refused`` ones.
        refused: patterns of paths whose bytes are not simply on the disk.
        options: to mount it with, besides ``ro``.
    """

    name: str
    size_mib: int
    make: Callable[[Path, int, Path], None]
    is_mapped: bool = True
    refused: tuple[str, ...] = ()


def fill(root: Path, block_bytes: int = 4096) -> None:
    """Write what every filesystem of Linux can hold."""
    write_awkward_files(root, block_bytes, MANY)
    (root / "text").write_bytes(b"".join(b"line %d of a compressible text\n" % number for number in range(30_000)))


def _fill_plainly(root: Path) -> None:
    """Write what other systems' filesystems can hold, too."""
    fill(root)
    for name in ("fifo", "link"):
        (root / name).unlink()


def _fill_sharing(root: Path) -> None:
    fill(root)
    write_shared_files(root)


def _fill_subvolumes(root: Path) -> None:
    for name in ("one", "two"):
        run("btrfs", "subvolume", "create", root / name)
        _fill_sharing(root / name)


def _by_kernel(
    *mkfs: str, write: Callable[[Path], None] = fill, options: str = "rw"
) -> Callable[[Path, int, Path], None]:
    """Return what makes a filesystem that the host's kernel writes."""

    def make(image: Path, number: int, _plain: Path) -> None:
        with loop_device(image, number, read_only=False) as device:
            run(*mkfs, device)
            with mounted(device, "-o", options) as root:
                if number == 1:
                    for filesystem in FILESYSTEMS:
                        (root / filesystem.name).mkdir()
                    root = root / FILESYSTEMS[0].name
                write(root)

    return make


def _make_f2fs(image: Path, number: int, plain: Path) -> None:
    with loop_device(image, number, read_only=False) as device:
        run("mkfs.f2fs", "-q", device)
        run("sload.f2fs", "-f", plain, device)


def _make_vfat(image: Path, number: int, plain: Path) -> None:
    where = partition(image, number)
    run(
        "mkfs.vfat",
        "-F",
        "16",
        f"--offset={where.start_bytes // disk.SECTOR_BYTES}",
        image,
        str(where.size_bytes // 1024),
    )
    run(
        *("env", "LC_ALL=C.UTF-8", "MTOOLS_SKIP_CHECK=1", "mcopy", "-i", f"{image}@@{where.start_bytes}", "-s", "-Q"),
        *sorted(plain.iterdir()),
        "::/",
    )


def _make_ntfs(image: Path, number: int, plain: Path) -> None:
    """Files below ``compressed`` are; those of a few hundred bytes are resident, within the table of all files."""
    with loop_device(image, number, read_only=False) as device:
        run("mkntfs", "--quick", "--quiet", device)
        with mounted(device, "-t", "ntfs-3g", "-o", "compression") as root:
            (root / "compressed").mkdir()
            run("setfattr", "-n", "system.ntfs_attrib_be", "-v", "0x00000810", root / "compressed")
            for directory in (root, root / "compressed"):
                run("cp", "--recursive", "--sparse=always", "--no-target-directory", plain, directory)
            assert (root / "compressed/text").stat().st_blocks * 512 < 200_000


def _make_iso9660(image: Path, number: int, plain: Path) -> None:
    _write(image, number, plain, "genisoimage", "-quiet", "-r", "-J", "-o")


def _make_squashfs(image: Path, number: int, plain: Path) -> None:
    _write(image, number, plain, "mksquashfs", plain)


def _write(image: Path, number: int, plain: Path, *command: str | Path) -> None:
    """Have a program write a filesystem into a file, and put that into a partition."""
    where = partition(image, number)
    written = image.with_suffix(".part")
    more = ("-no-progress", "-quiet") if command[0] == "mksquashfs" else (plain,)
    run(*command, written, *more)
    assert written.stat().st_size <= where.size_bytes
    run("dd", f"if={written}", f"of={image}", "bs=1M", f"seek={where.start_bytes >> 20}", "conv=notrunc,sparse")
    written.unlink()


_EXT: Final = ("-q", "-b", "4096")
FILESYSTEMS: Final = (
    Filesystem("ext4", 64, _by_kernel("mkfs.ext4", *_EXT)),
    Filesystem("ext2", 64, _by_kernel("mkfs.ext2", *_EXT)),
    Filesystem("ext3", 64, _by_kernel("mkfs.ext3", *_EXT)),
    Filesystem("ext4-inline", 64, _by_kernel("mkfs.ext4", *_EXT, "-O", "inline_data"), refused=("plain-*",)),
    Filesystem("ext4-1k", 64, _by_kernel("mkfs.ext4", "-q", "-b", "1024", write=lambda root: fill(root, 1024))),
    Filesystem("ext4-bigalloc", 64, _by_kernel("mkfs.ext4", *_EXT, "-O", "bigalloc", "-C", "16384")),
    Filesystem("xfs", 320, _by_kernel("mkfs.xfs", "-q", write=_fill_sharing)),
    Filesystem("btrfs", 256, _by_kernel("mkfs.btrfs", "-q", write=_fill_subvolumes), refused=("*plain-*",)),
    Filesystem(
        "btrfs-compressed",
        256,
        _by_kernel("mkfs.btrfs", "-q", write=_fill_sharing, options="compress=zstd"),
        refused=("plain-*", "text"),
    ),
    Filesystem("f2fs", 128, _make_f2fs, is_mapped=False),
    Filesystem("vfat", 64, _make_vfat, is_mapped=False),
    Filesystem("ntfs", 64, _make_ntfs, is_mapped=False),
    Filesystem("iso9660", 64, _make_iso9660, is_mapped=False),
    Filesystem("squashfs", 64, _make_squashfs, is_mapped=False),
)


def matrix_disk() -> Path:
    """Return a raw image with one partition for each of ``FILESYSTEMS``."""

    def build(directory: Path) -> None:
        image, plain = directory / "matrix.img", directory / "plain"
        create_disk(image, [each.size_mib for each in FILESYSTEMS])
        plain.mkdir()
        _fill_plainly(plain)
        for number, filesystem in enumerate(FILESYSTEMS, start=1):
            filesystem.make(image, number, plain)
        run("rm", "-r", plain)

    return cached("matrix", _recipe(), build) / "matrix.img"


STACKS: Final = {
    "linear": "/dev/linear/lv",
    "striped": "/dev/striped/lv",
    "luks": f"/dev/mapper/{OPENED}",
    "raid1": "/dev/md127",
}
"""What each of the stacked disks' filesystems is on; they are clones. The first is mounted on /."""
ENCRYPTED: Final = "/dev/sde"
_SIZES_MIB: Final = (50, 50, 50, 50, 100, 84, 84)
"""Two disks of linear volumes, the first one partitioned; two of striped ones; an encrypted one; two of an array."""


def stacked_disks() -> list[Path]:
    """Return raw images that together hold the filesystems of ``STACKS``."""
    names = [f"disk{index}.img" for index in range(len(_SIZES_MIB))]

    def build(directory: Path) -> None:
        images = [empty_image(directory / name, size_mib) for name, size_mib in zip(names, _SIZES_MIB, strict=True)]
        run("sfdisk", "--quiet", images[0], stdin="label: gpt\ntype=L\n")
        fast = ("--type", "luks2", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")
        run("cryptsetup", "--batch-mode", *fast, "--key-file", "-", "luksFormat", images[4], stdin=KEY)
        source = empty_image(directory / "source.img", _STACKED_MIB)
        with mapped.loop_devices([source]) as (device,):
            run("mkfs.ext4", *_EXT, device)
            with mounted(device) as root:
                for name in STACKS:
                    (root / name).mkdir()
                fill(root / next(iter(STACKS)))
                (root / next(iter(STACKS)) / "large").write_bytes(random.Random(8).randbytes(_LARGE_BYTES))
        _build_stacks([*images, source])
        source.unlink()

    directory = cached("stacked", _recipe(), build)
    return [directory / name for name in names]


def _build_stacks(images: list[Path]) -> None:
    """Make the stacks in an appliance, whose writes go to overlays, and save the disks."""
    devices = [f"/dev/sd{letter}" for letter in "abcdefg"]
    with appliance(images) as guest:
        guest.vgcreate("linear", ["/dev/sda1", "/dev/sdb"])
        guest.vgcreate("striped", ["/dev/sdc", "/dev/sdd"])
        guest.lvcreate_free("lv", "linear", 100)
        guest.debug("sh", ["lvcreate --yes --wipesignatures n --stripes 2 --extents 100%FREE --name lv striped"])
        guest.luks_open(ENCRYPTED, KEY, OPENED)
        guest.md_create("mirror", devices[5:7])
        for device in STACKS.values():
            guest.copy_device_to_device("/dev/sdh", device, size=_STACKED_MIB << 20)
        guest.sync()
        guest.luks_close(f"/dev/mapper/{OPENED}")
        for md in guest.list_md_devices():
            guest.md_stop(md)
        guest.vg_activate_all(False)
        for device, image in zip(devices, images, strict=False):
            made = image.with_suffix(".made")
            guest.download(device).save(made)
            run("cp", "--sparse=always", made, image)
            made.unlink()


@contextmanager
def appliance(images: list[Path]) -> Iterator[SyncGuest]:
    """Launch an appliance with raw images."""
    with SyncGuest() as guest:
        for image in images:
            guest.add_drive(image, format="raw")
        guest.launch()
        yield guest


def _recipe() -> str:
    here = Path(__file__).parent
    return "\n".join((here / f"{name}.py").read_text() for name in ("disk", "mapped", "matrix"))
