"""The disk every contender mounts: one ext4 partition holding Debian, big files and many small ones. Needs root."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.guests import disk
from tests.guests.cache import cached, run
from tests.guests.debian import debian_tree

PARTITION_MIB: Final = 3072
SEED: Final = 2
BIG_FILE: Final = "big"
BIG_FILE_MIB: Final = 768
FOUR_FILES: Final = tuple(f"quarter-{number}" for number in range(4))
FOUR_FILES_MIB: Final = 192
SMALL_FILES: Final = "small"
SMALL_FILE_DIRECTORIES: Final = 100
SMALL_FILES_PER_DIRECTORY: Final = 100
SMALL_FILE_MIN_BYTES: Final = 512
SMALL_FILE_MAX_BYTES: Final = 16 << 10


@dataclass(frozen=True, slots=True)
class Workload:
    """An image, raw and as qcow2, and where its only partition lies."""

    image: Path
    qcow2: Path
    partition: disk.Partition


def workload() -> Workload:
    """Build the image once per recipe; the same bytes every time, but for what Debian itself has changed."""
    tree = debian_tree()

    def build(directory: Path) -> None:
        image = directory / "disk.img"
        disk.create_disk(image, [PARTITION_MIB])
        with disk.loop_device(image, 1, read_only=False) as device:
            run("mkfs.ext4", "-q", "-L", "bench", device)
        with disk.kernel_mount_for_writing(image, 1) as root:
            run("cp", "--archive", "--no-target-directory", tree, root)
            write_random_file(root / BIG_FILE, BIG_FILE_MIB, SEED)
            for seed, name in enumerate(FOUR_FILES, SEED + 1):
                write_random_file(root / name, FOUR_FILES_MIB, seed)
            write_small_files(root / SMALL_FILES)
        run("qemu-img", "convert", "-O", "qcow2", image, directory / "disk.qcow2")

    images = cached("bench", f"{tree.name}\n{Path(__file__).read_text()}", build)
    return Workload(images / "disk.img", images / "disk.qcow2", disk.partition(images / "disk.img", 1))


def write_random_file(path: Path, size_mib: int, seed: int) -> None:
    """Write random bytes, so that no layer gains by compressing them or by finding zeros."""
    generator = random.Random(seed)
    with path.open("wb") as file:
        for _ in range(size_mib):
            file.write(generator.randbytes(1 << 20))


def write_small_files(directory: Path) -> None:
    """Write 10 000 files of a few KiB in 100 directories."""
    generator = random.Random(SEED)
    for directory_number in range(SMALL_FILE_DIRECTORIES):
        below = directory / f"directory-{directory_number:02d}"
        below.mkdir(parents=True)
        for file_number in range(SMALL_FILES_PER_DIRECTORY):
            size_bytes = generator.randint(SMALL_FILE_MIN_BYTES, SMALL_FILE_MAX_BYTES)
            (below / f"file-{file_number:02d}").write_bytes(generator.randbytes(size_bytes))
