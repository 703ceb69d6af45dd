"""The empty disk that the rows about writing are played on, and what is written to it. Needs root."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from bench.image import Workload, write_random_file, write_small_files
from bench.work import digest_of_tree
from tests.guests import disk
from tests.guests.cache import cached, run
from tests.guests.debian import debian_tree

BIG_FILE: Final = "big"
BIG_FILE_MIB: Final = 256
FOUR_FILES: Final = tuple(f"quarter-{number}" for number in range(4))
ARCHIVE: Final = "small.tar"
"""Of the files below ``SMALL_FILES``."""
SMALL_FILES: Final = "small"
TREE: Final = "tree"
_TREE_MIB: Final = 200
_PARTITION_MIB: Final = 1024
_SEED: Final = 20
_MTIME: Final = "Mod time differs"
"""How GNU tar tells it."""


def sources() -> Path:
    """Return a directory with all that is written, made once; read, so that the disk has no part in what is timed."""
    debian = debian_tree()

    def build(directory: Path) -> None:
        write_random_file(directory / BIG_FILE, BIG_FILE_MIB, _SEED)
        for seed, name in enumerate(FOUR_FILES, _SEED + 1):
            write_random_file(directory / name, BIG_FILE_MIB // len(FOUR_FILES), seed)
        write_small_files(directory / SMALL_FILES)
        run("tar", "-C", directory, "-cf", directory / ARCHIVE, SMALL_FILES)
        shutil.rmtree(directory / SMALL_FILES)
        run("cp", "--archive", "--no-target-directory", debian, directory / TREE)
        _complete_tree(directory / TREE)

    found = cached("bench-sources", f"{debian.name}\n{Path(__file__).read_text()}", build)
    run("tar", "-C", found, "-cf", "/dev/zero", ".")  # not /dev/null: GNU tar notices, and reads nothing
    return found


def _complete_tree(tree: Path) -> None:
    """Add what Debian has little of, and bring the tree to its size.

    No extended attribute has a NUL in it: guestmount cuts them there, and fails with capabilities.
    """
    for path in tree.rglob("*"):
        if "security.capability" in os.listxattr(path, follow_symlinks=False):
            os.removexattr(path, "security.capability")
    added = tree / "added"
    added.mkdir()
    for number in range(100):
        file = added / f"file-{number}"
        file.write_bytes(bytes([number]))
        os.setxattr(file, "user.binary", b"\xff\x01")
        os.link(file, added / f"link-{number}")
    used_mib = int(run("du", "-sm", "--apparent-size", tree).split()[0])
    write_random_file(added / "rest", max(_TREE_MIB - used_mib, 1), _SEED)


def empty_disk(directory: Path) -> Workload:
    """Put a disk with one empty ext4 partition into a directory: always the same."""

    def build(directory: Path) -> None:
        image = directory / "disk.img"
        disk.create_disk(image, [_PARTITION_MIB])
        with disk.loop_device(image, 1, read_only=False) as device:
            # Nothing is left to be initialised behind, while something is timed.
            run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-L", "writing", device)

    image = directory / "disk.img"
    run("cp", "--sparse=always", cached("bench-empty", Path(__file__).read_text(), build) / image.name, image)
    return Workload(image, image, disk.partition(image, 1))


def check_disk(workload: Workload, source: Path, *, times: bool) -> str:
    """Say what is on a disk after it was unmounted: a digest, and how many files are not as in their source.

    Args:
        workload: the disk.
        source: the directory of what was written.
        times: compare modification times too.

    Raises:
        RuntimeError: the filesystem is not as it should be after an unmount.
    """
    with disk.loop_device(workload.image, 1, read_only=True) as device:
        run("e2fsck", "-fn", device)
    with disk.kernel_mount(workload.image, 1, "ext4") as root:
        differing = []
        if (root / SMALL_FILES).exists():
            compared = subprocess.run(
                ("tar", "-C", root, "--compare", "-f", source / ARCHIVE), capture_output=True, text=True
            )
            differing += [
                line for line in (compared.stdout + compared.stderr).splitlines() if times or _MTIME not in line
            ]
        if (root / TREE).exists():
            how = ("-aHAXnic", "--delete", *(() if times else ("--no-times",)))
            differing += run("rsync", *how, f"{source / TREE}/", f"{root / TREE}/").splitlines()
        return f"tree {digest_of_tree(root, times=False)}, {len(differing)} files differ from their source"
