"""One disk with a filesystem of every kind. Needs root.

Each filesystem holds files whose bytes lie in awkward ways, as far as it can: with tails, holes, unwritten extents,
more than 340 of them, contents that compress, that are kept in the inode, that are shared.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Final, TypeAlias

from guestmount_py.sync import SyncGuest
from tests.guests import disk
from tests.guests.cache import cached, run
from tests.guests.disk import create_disk, loop_device, mounted, partition
from tests.guests.mapped import write_awkward_files, write_shared_files

MANY: Final = 400
"""Extents of the files ``many``: a directory's files fit in one answer of 340 extents no more."""
_UFS1_SUPERBLOCK: Final = 8192
_UFS2_SUPERBLOCK: Final = 65536
_SUPERBLOCK_BYTES: Final = 2048
_APPLE_PARTITION: Final = Struct(">8xII")
"""Of an entry of Apple's partition map: first sector, sectors."""
_ENTRY: Final = 3
"""The sector of that map which describes the HFS+ that xorriso makes."""
_HEADER_OFFSET: Final = 1024
"""Of an HFS+, from its beginning."""


Make: TypeAlias = Callable[[Path, int, Path, Sequence[str]], None]
"""Makes a filesystem, given the disk's image, the partition's number, a tree of files and the words of a command."""


@dataclass(frozen=True, slots=True)
class Filesystem:
    """One filesystem of the disk, in the order of the partitions; the first is mounted on /, and holds ``files``.

    Attributes:
        mkfs: the command that makes it.
        make: uses it, and fills the filesystem.
        is_mapped: its files are read from the image, but for ``refused`` ones.
        refused: patterns of paths whose bytes are not simply on the disk.
        is_filled_by_guest: the host's kernel may not know it, so our appliance writes its files.
    """

    name: str
    size_mib: int
    mkfs: str
    make: Make
    is_mapped: bool = True
    refused: tuple[str, ...] = ()
    is_filled_by_guest: bool = False


def fill(root: Path, block_bytes: int = 4096) -> None:
    """Write what every filesystem of Linux can hold."""
    write_awkward_files(root, block_bytes, MANY)
    (root / "text").write_bytes(b"".join(b"line %d of a compressible text\n" % number for number in range(30_000)))


def fill_plainly(root: Path) -> None:
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


def _by_kernel(write: Callable[[Path], None] = fill, options: str = "rw") -> Make:
    """Return what makes a filesystem that the host's kernel writes."""

    def make(image: Path, number: int, _tree: Path, mkfs: Sequence[str]) -> None:
        with loop_device(image, number, read_only=False) as device:
            run(*mkfs, device)
            with mounted(device, "-o", options) as root:
                if number == 1:
                    for filesystem in FILESYSTEMS:
                        (root / filesystem.name).mkdir()
                    root = root / FILESYSTEMS[0].name
                write(root)

    return make


def _make_empty(image: Path, number: int, _tree: Path, mkfs: Sequence[str]) -> None:
    """Make a filesystem that our appliance fills afterwards."""
    with loop_device(image, number, read_only=False) as device:
        run(*mkfs, device)


def _fill_in_guest(image: Path, tree: Path) -> None:
    archive = image.with_suffix(".tar")
    run("tar", "--sparse", "--format=gnu", "-C", tree, "-cf", archive, ".")
    with appliance([image], writable=True) as guest:
        for number, filesystem in enumerate(FILESYSTEMS, start=1):
            if filesystem.is_filled_by_guest:
                guest.mount(f"/dev/sda{number}", "/")
                guest.tar_in(archive, "/")
                guest.umount_all()
        guest.shutdown()
    archive.unlink()


def _make_f2fs(image: Path, number: int, tree: Path, mkfs: Sequence[str]) -> None:
    with loop_device(image, number, read_only=False) as device:
        run(*mkfs, device)
        run("sload.f2fs", "-f", tree, device)


def _make_vfat(image: Path, number: int, tree: Path, mkfs: Sequence[str]) -> None:
    where = partition(image, number)
    run(*mkfs, f"--offset={where.start_bytes // disk.SECTOR_BYTES}", image, str(where.size_bytes // 1024))
    run(
        *("env", "LC_ALL=C.UTF-8", "MTOOLS_SKIP_CHECK=1", "mcopy", "-i", f"{image}@@{where.start_bytes}", "-s", "-Q"),
        *sorted(tree.iterdir()),
        "::/",
    )


def _make_ntfs(image: Path, number: int, tree: Path, mkfs: Sequence[str]) -> None:
    """Files below ``compressed`` are; those of a few hundred bytes are resident, within the table of all files."""
    with loop_device(image, number, read_only=False) as device:
        run(*mkfs, device)
        with mounted(device, "-t", "ntfs-3g", "-o", "compression") as root:
            (root / "compressed").mkdir()
            run("setfattr", "-n", "system.ntfs_attrib_be", "-v", "0x00000810", root / "compressed")
            for directory in (root, root / "compressed"):
                run("cp", "--recursive", "--sparse=always", "--no-target-directory", tree, directory)
            assert (root / "compressed/text").stat().st_blocks * 512 < 200_000


def _put(image: Path, number: int, tree: Path, mkfs: Sequence[str]) -> None:
    """Have a program write a filesystem into a file, and put that into a partition."""
    written = image.with_suffix(".part")
    run(*(word.format(image=written, tree=tree) for word in mkfs))
    _move(image, number, written, 0, written.stat().st_size)


def _put_ufs2(image: Path, number: int, tree: Path, mkfs: Sequence[str]) -> None:
    """Put a UFS2; makefs(8) writes the superblock where UFS1 has it, not where newfs(8) does and Linux looks for it.

    There are so many inodes that the right place lies among those that are free.
    """
    _put(image, number, tree, mkfs)
    start = partition(image, number).start_bytes
    with image.open("r+b") as file:
        file.seek(start + _UFS1_SUPERBLOCK)
        superblock = file.read(_SUPERBLOCK_BYTES)
        file.seek(start + _UFS2_SUPERBLOCK)
        assert not any(file.read(_SUPERBLOCK_BYTES))
        file.seek(start + _UFS2_SUPERBLOCK)
        file.write(superblock)


def _put_hfsplus(image: Path, number: int, tree: Path, mkfs: Sequence[str]) -> None:
    """Put the HFS+ that xorriso(1) writes beside an ISO 9660 filesystem, in a partition of Apple's.

    Linux looks for the copy of the volume's header two sectors before the end of the device.
    """
    disc = image.with_suffix(".iso")
    run(*(word.format(image=disc, tree=tree) for word in mkfs))
    with disc.open("rb") as file:
        entry = os.pread(file.fileno(), _APPLE_PARTITION.size, _ENTRY * disk.SECTOR_BYTES)
        start, size = (sectors * disk.SECTOR_BYTES for sectors in _APPLE_PARTITION.unpack(entry))
        header = os.pread(file.fileno(), disk.SECTOR_BYTES, start + _HEADER_OFFSET)
    _move(image, number, disc, start, size)
    where = partition(image, number)
    with image.open("r+b") as file:
        file.seek(where.start_bytes + where.size_bytes - _HEADER_OFFSET)
        file.write(header)


def _move(image: Path, number: int, source: Path, start: int, size_bytes: int) -> None:
    """Move part of a file into a partition."""
    where = partition(image, number)
    assert size_bytes <= where.size_bytes
    part = ("iflag=skip_bytes,count_bytes", f"skip={start}", f"count={size_bytes}")
    run("dd", f"if={source}", f"of={image}", "bs=1M", *part, f"seek={where.start_bytes >> 20}", "conv=notrunc,sparse")
    source.unlink()


def _of_others(name: str, size_mib: int, mkfs: str, make: Make) -> Filesystem:
    return Filesystem(name, size_mib, mkfs, make, is_mapped=False, is_filled_by_guest=make is _make_empty)


FILESYSTEMS: Final = (
    Filesystem("ext4", 64, "mkfs.ext4 -q -b 4096", _by_kernel()),
    Filesystem("ext2", 64, "mkfs.ext2 -q -b 4096", _by_kernel()),
    Filesystem("ext3", 64, "mkfs.ext3 -q -b 4096", _by_kernel()),
    Filesystem("ext4-inline", 64, "mkfs.ext4 -q -b 4096 -O inline_data", _by_kernel(), refused=("plain-*",)),
    Filesystem("ext4-1k", 64, "mkfs.ext4 -q -b 1024", _by_kernel(lambda root: fill(root, 1024))),
    Filesystem("ext4-bigalloc", 64, "mkfs.ext4 -q -b 4096 -O bigalloc -C 16384", _by_kernel()),
    Filesystem("xfs", 320, "mkfs.xfs -q", _by_kernel(_fill_sharing)),
    Filesystem("btrfs", 256, "mkfs.btrfs -q", _by_kernel(_fill_subvolumes), refused=("*plain-*",)),
    Filesystem(
        "btrfs-compressed",
        256,
        "mkfs.btrfs -q",
        _by_kernel(_fill_sharing, "compress=zstd"),
        refused=("plain-*", "text"),
    ),
    _of_others("f2fs", 128, "mkfs.f2fs -q", _make_f2fs),
    _of_others("vfat", 64, "mkfs.vfat -F 16", _make_vfat),
    _of_others("ntfs", 64, "mkntfs --quick --quiet", _make_ntfs),
    _of_others("iso9660", 64, "genisoimage -quiet -r -J -o {image} {tree}", _put),
    _of_others("squashfs", 64, "mksquashfs {tree} {image} -no-progress -quiet", _put),
    _of_others("erofs", 64, "mkfs.erofs --quiet {image} {tree}", _put),
    _of_others("ufs", 64, "makefs -t ffs -s 48m {image} {tree}", _put),
    _of_others("ufs2", 64, "makefs -t ffs -s 48m -o version=2 -f 2000 {image} {tree}", _put_ufs2),
    _of_others("hfsplus", 64, "xorriso -as mkisofs -hfsplus -o {image} {tree}", _put_hfsplus),
    _of_others("exfat", 64, "mkfs.exfat", _make_empty),
    _of_others("jfs", 64, "mkfs.jfs -q", _make_empty),
    _of_others("minix", 64, "mkfs.minix -3", _make_empty),
    _of_others("nilfs2", 192, "mkfs.nilfs2 -q", _make_empty),
    _of_others("reiserfs", 96, "mkfs.reiserfs -q -f", _make_empty),
    _of_others("udf", 64, "mkudffs --blocksize=512", _make_empty),
)


def matrix_disk() -> Path:
    """Return a raw image with one partition for each of ``FILESYSTEMS``."""

    def build(directory: Path) -> None:
        image, plain = directory / "matrix.img", directory / "plain"
        create_disk(image, [each.size_mib for each in FILESYSTEMS])
        plain.mkdir()
        fill_plainly(plain)
        for number, filesystem in enumerate(FILESYSTEMS, start=1):
            filesystem.make(image, number, plain, filesystem.mkfs.split())
        _fill_in_guest(image, plain)
        run("rm", "-r", plain)

    return cached("matrix", _recipe(), build) / "matrix.img"


@contextmanager
def appliance(images: Sequence[Path], *, writable: bool = False) -> Iterator[SyncGuest]:
    """Launch an appliance with raw images."""
    with SyncGuest() as guest:
        for image in images:
            guest.add_drive(image, format="raw", writable=writable)
        guest.launch()
        yield guest


def _recipe() -> str:
    here = Path(__file__).parent
    return "\n".join((here / f"{name}.py").read_text() for name in ("disk", "mapped", "matrix"))
