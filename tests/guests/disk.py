"""Disk images with a partition table, and the host kernel's own view of them; needs root."""

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.guests.cache import run

SECTOR_BYTES: Final = 512
ALIGNMENT_BYTES: Final = 1 << 20
GPT_TAIL_BYTES: Final = 1 << 20

# The kernel's own view, touching nothing: no journal replay, no UUID clash with another mount of the same image.
READ_ONLY_OPTIONS: Final = {"ext4": "ro,noload", "xfs": "ro,norecovery,nouuid", "btrfs": "ro"}


@dataclass(frozen=True, slots=True)
class Partition:
    """Where a partition lies in its image."""

    start_bytes: int
    size_bytes: int


def create_disk(image: Path, sizes_mib: Sequence[int]) -> None:
    """Create a sparse raw image with a GPT holding one Linux partition per size, in order."""
    size_bytes = ALIGNMENT_BYTES + sum(sizes_mib) * (1 << 20) + GPT_TAIL_BYTES
    with image.open("wb") as file:
        file.truncate(size_bytes)
    table = "label: gpt\n" + "".join(f"size={size_mib}MiB, type=L\n" for size_mib in sizes_mib)
    run("sfdisk", "--quiet", image, stdin=table)


def partition(image: Path, number: int) -> Partition:
    """Find partition ``number`` (from 1) of a raw image."""
    table = json.loads(run("sfdisk", "--json", image))["partitiontable"]
    found = table["partitions"][number - 1]
    return Partition(found["start"] * SECTOR_BYTES, found["size"] * SECTOR_BYTES)


@contextmanager
def loop_device(image: Path, number: int, *, read_only: bool) -> Iterator[Path]:
    """Attach one partition of a raw image to a loop device for as long as the block runs."""
    where = partition(image, number)
    arguments = [f"--offset={where.start_bytes}", f"--sizelimit={where.size_bytes}"]
    if read_only:
        arguments.append("--read-only")
    device = run("losetup", "--find", "--show", *arguments, image).strip()
    try:
        yield Path(device)
    finally:
        run("losetup", "--detach", device)


@contextmanager
def mounted(device: Path, *options: str | os.PathLike[str]) -> Iterator[Path]:
    """Mount a block device on a directory of its own for as long as the block runs.

    Args:
        device: what to mount.
        options: further arguments of mount(8).
    """
    with tempfile.TemporaryDirectory(prefix="guest-reference-", dir="/var/tmp") as name:
        directory = Path(name)
        run("mount", *options, device, directory)
        try:
            yield directory
        finally:
            run("umount", directory)


@contextmanager
def kernel_mount(image: Path, number: int, filesystem: str) -> Iterator[Path]:
    """Mount a partition read-only with the host's kernel: the reference that ours is compared with.

    Args:
        image: a raw image.
        number: the partition, from 1.
        filesystem: ext4, xfs or btrfs.
    """
    with (
        loop_device(image, number, read_only=True) as device,
        mounted(device, "-t", filesystem, "-o", READ_ONLY_OPTIONS[filesystem]) as directory,
    ):
        yield directory


@contextmanager
def kernel_mount_for_writing(image: Path, number: int) -> Iterator[Path]:
    """Mount a freshly made partition with the host's kernel to fill it."""
    with loop_device(image, number, read_only=False) as device, mounted(device) as directory:
        yield directory
