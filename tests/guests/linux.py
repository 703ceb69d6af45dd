"""One disk with ext4, xfs and btrfs, each holding Debian and the oddities; and one of extreme sizes. Needs root."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.guests import debian, oddities
from tests.guests.cache import cached, run
from tests.guests.disk import create_disk, kernel_mount_for_writing, loop_device

# In partition order: /dev/sda1, /dev/sda2, /dev/sda3.
FILESYSTEMS: Final = ("ext4", "xfs", "btrfs")
PARTITION_MIB: Final = 1024

LARGE_DIRECTORY_ENTRIES: Final = 200_000
HUGE_FILE_BYTES: Final = 5 << 30
HUGE_FILE_HEAD: Final = b"the first bytes\n"
HUGE_FILE_TAIL: Final = b"\nthe last bytes"
HUGE_FILE_MIDDLE: Final = b"just above 4 GiB"
HUGE_FILE_MIDDLE_OFFSET: Final = (4 << 30) + 4097


def linux_disk() -> Path:
    """Return a raw image: GPT; sda1 ext4, sda2 xfs, sda3 btrfs, each with a Debian tree and every oddity.

    Each filesystem has empty directories ``/ext4``, ``/xfs`` and ``/btrfs``, so that any can hold the others.
    """
    debian_tree = debian.debian_tree()

    def build(directory: Path) -> None:
        image = directory / "linux.img"
        create_disk(image, [PARTITION_MIB] * len(FILESYSTEMS))
        for number, filesystem in enumerate(FILESYSTEMS, start=1):
            _make_filesystem(image, number, filesystem)
            with kernel_mount_for_writing(image, number) as root:
                run("cp", "--archive", "--no-target-directory", debian_tree, root)
                for mountpoint in FILESYSTEMS:
                    (root / mountpoint).mkdir()
                odd = root / "odd"
                odd.mkdir()
                oddities.write_oddities(odd)
                _BEYOND[filesystem](odd)

    return cached("linux", _recipe(debian_tree.name), build) / "linux.img"


def extreme_disk() -> Path:
    """Return a raw image whose sda1 is ext4 with a 200 000-entry directory and a 5 GiB sparse file."""

    def build(directory: Path) -> None:
        image = directory / "extreme.img"
        create_disk(image, [2048])
        with loop_device(image, 1, read_only=False) as device:
            # Space for every entry's inode.
            run("mkfs.ext4", "-q", "-L", "extreme", "-N", str(LARGE_DIRECTORY_ENTRIES + 1000), device)
        with kernel_mount_for_writing(image, 1) as root:
            _large_directory(root / "large")
            with (root / "huge").open("wb") as file:
                file.write(HUGE_FILE_HEAD)
                file.seek(HUGE_FILE_MIDDLE_OFFSET)
                file.write(HUGE_FILE_MIDDLE)
                file.seek(HUGE_FILE_BYTES - len(HUGE_FILE_TAIL))
                file.write(HUGE_FILE_TAIL)

    return cached("extreme", _recipe(), build) / "extreme.img"


def _recipe(*ingredients: str) -> str:
    here = Path(__file__).parent
    return "\n".join([*ingredients, *((here / f"{name}.py").read_text() for name in ("disk", "oddities", "linux"))])


def _make_filesystem(image: Path, number: int, filesystem: str) -> None:
    force = () if filesystem == "ext4" else ("-f",)
    with loop_device(image, number, read_only=False) as device:
        run(f"mkfs.{filesystem}", "-q", "-L", f"guest-{filesystem}", *force, device)


def _large_directory(directory: Path) -> None:
    directory.mkdir()
    descriptor = os.open(directory, os.O_DIRECTORY)
    try:
        for count in range(LARGE_DIRECTORY_ENTRIES):
            os.close(os.open(large_directory_name(count), os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=descriptor))
    finally:
        os.close(descriptor)


def large_directory_name(count: int) -> str:
    """Name entry ``count`` of the large directory; lengths vary, so that no record size divides a reply evenly."""
    return f"entry-{count:06d}" + "x" * (count % 37)


def _beyond_ext4(odd: Path) -> None:
    (odd / "links" / "target-4000").symlink_to("t" * 4000)
    oddities.write_flags(odd)


def _beyond_xfs(odd: Path) -> None:
    oddities.write_flags(odd)
    os.setxattr(odd / "xattrs" / "large", "user.sixty-thousand", bytes(range(250)) * 240)
    run("cp", "--reflink=always", odd / "contents" / "size-3000001", odd / "contents" / "shared")


def _beyond_btrfs(odd: Path) -> None:
    (odd / "links" / "target-3000").symlink_to("t" * 3000)
    oddities.write_flags(odd)
    run("cp", "--reflink=always", odd / "contents" / "size-3000001", odd / "contents" / "shared")
    compressed = odd / "compressed"
    compressed.mkdir()
    run("btrfs", "property", "set", compressed, "compression", "zstd")
    (compressed / "text").write_bytes(b"the same line again and again\n" * 100_000)
    # Inode numbers start at 256 in every subvolume: two hard-linked files here share theirs with unrelated ones.
    for subvolume in (odd / "subvolume", odd / "subvolume-2"):
        run("btrfs", "subvolume", "create", subvolume)
        (subvolume / "a").write_text(f"of {subvolume.name}")
        (subvolume / "b").hardlink_to(subvolume / "a")
    run("btrfs", "subvolume", "snapshot", "-r", odd / "subvolume", odd / "snapshot")


_BEYOND: Final[dict[str, Callable[[Path], None]]] = {"ext4": _beyond_ext4, "xfs": _beyond_xfs, "btrfs": _beyond_btrfs}
