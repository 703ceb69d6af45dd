"""The disk of the rows about scale: trees of 10 000, 100 000 and 1 000 000 files on one partition. Needs root."""

import os
from pathlib import Path
from typing import Final

from bench.image import Workload
from tests.guests import disk
from tests.guests.cache import cached, run

COUNTS: Final = (10_000, 100_000, 1_000_000)
FILES_PER_DIRECTORY: Final = 100
_DIRECTORIES_PER_DIRECTORY: Final = 100
_PARTITION_MIB: Final = 2048
_INODES: Final = 1_300_000


def tree(count: int) -> str:
    """Return the directory, below the root, that holds so many files."""
    return f"files-{count}"


def scale_image() -> Workload:
    """Build the image once per recipe."""

    def build(directory: Path) -> None:
        image = directory / "disk.img"
        disk.create_disk(image, [_PARTITION_MIB])
        with disk.loop_device(image, 1, read_only=False) as device:
            run("mkfs.ext4", "-q", "-L", "scale", "-N", str(_INODES), device)
        with disk.kernel_mount_for_writing(image, 1) as root:
            for count in COUNTS:
                _write_tree(root / tree(count), count)

    images = cached("scale", Path(__file__).read_text(), build)
    return Workload(images / "disk.img", images / "disk.img", disk.partition(images / "disk.img", 1))


def _write_tree(top: Path, count: int) -> None:
    """Write empty files: what is measured is what a file costs before anybody reads it."""
    for number in range(count // FILES_PER_DIRECTORY):
        above = top / f"group-{number // _DIRECTORIES_PER_DIRECTORY:03d}"
        below = above / f"directory-{number % _DIRECTORIES_PER_DIRECTORY:02d}"
        below.mkdir(parents=True)
        for file_number in range(FILES_PER_DIRECTORY):
            os.close(os.open(below / f"a-file-of-number-{file_number:03d}", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC))
