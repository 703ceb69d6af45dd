"""vfat and ntfs, which the host's kernel may not know: the expected contents are what was written. Needs root."""

import os
from pathlib import Path
from typing import Final

from tests.guests import disk
from tests.guests.cache import cached, run
from tests.guests.disk import create_disk, loop_device, mounted, partition

# /dev/sda1 and /dev/sda2.
FILESYSTEMS: Final = ("vfat", "ntfs")
PARTITION_MIB: Final = 128
# FAT stores modification times to two seconds.
MODIFIED_S: Final = 1_700_000_000


def foreign_disk() -> Path:
    """Return a raw image: sda1 vfat filled with mtools, sda2 ntfs filled with ntfs-3g, both with ``write_contents``."""

    def build(directory: Path) -> None:
        image = directory / "foreign.img"
        contents = directory / "contents"
        contents.mkdir()
        write_contents(contents)
        create_disk(image, [PARTITION_MIB] * len(FILESYSTEMS))
        _fill_vfat(image, contents)
        _fill_ntfs(image, contents)

    return cached("foreign", Path(__file__).read_text() + Path(disk.__file__).read_text(), build) / "foreign.img"


def written_contents() -> Path:
    """Return the directory that was copied into both filesystems."""
    return foreign_disk().parent / "contents"


def write_contents(root: Path) -> None:
    """Fill a directory with what vfat can hold."""
    (root / "empty").touch()
    for size_bytes in (1, 511, 512, 4096, 65_537, 5_000_001):
        (root / f"size-{size_bytes}.bin").write_bytes(bytes(index * 31 % 251 for index in range(size_bytes)))
    names = root / "Names"
    names.mkdir()
    for name in ("A long name with spaces.TXT", "SHORT.TXT", "naïve-Ünïcödé-雪.txt", "n" * 200, "lower.case.many.dots"):
        (names / name).write_text(name)
    (root / "empty directory").mkdir()
    deep = root
    for level in range(12):
        deep = deep / f"level {level}"
        deep.mkdir()
    (deep / "bottom").write_text("bottom")
    many = root / "many"
    many.mkdir()
    for count in range(500):
        (many / f"file number {count}.dat").write_text(str(count))
    for path in (root, *root.rglob("*")):
        os.utime(path, (MODIFIED_S, MODIFIED_S))


def _fill_vfat(image: Path, contents: Path) -> None:
    where = partition(image, 1)
    sectors = (where.start_bytes // disk.SECTOR_BYTES, where.size_bytes // 1024)
    run("mkfs.vfat", f"--offset={sectors[0]}", "-n", "FOREIGN", image, str(sectors[1]))
    # -s with subdirectories, -m keeping times, -Q stopping at the first error; names are in the locale's encoding.
    run(
        *("env", "LC_ALL=C.UTF-8", "TZ=UTC", "MTOOLS_SKIP_CHECK=1"),
        *("mcopy", "-i", f"{image}@@{where.start_bytes}", "-s", "-m", "-Q"),
        *sorted(contents.iterdir()),
        "::/",
    )


def _fill_ntfs(image: Path, contents: Path) -> None:
    with loop_device(image, 2, read_only=False) as device:
        run("mkntfs", "--quick", "--quiet", "--label", "FOREIGN", device)
        with mounted(device, "-t", "ntfs-3g") as root:
            run("cp", "--recursive", "--preserve=timestamps", "--no-target-directory", contents, root)
            with (root / "sparse.bin").open("wb") as file:
                file.seek(32 << 20)
                file.write(b"the end")
