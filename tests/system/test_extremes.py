"""A directory of 200 000 entries, a 5 GiB sparse file, and filesystems that the host's kernel need not know."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guests.disk import kernel_mount
from tests.guests.foreign import FILESYSTEMS, MODIFIED_S, foreign_disk, written_contents
from tests.guests.linux import (
    HUGE_FILE_BYTES,
    HUGE_FILE_HEAD,
    HUGE_FILE_MIDDLE,
    HUGE_FILE_MIDDLE_OFFSET,
    HUGE_FILE_TAIL,
    LARGE_DIRECTORY_ENTRIES,
    extreme_disk,
    large_directory_name,
)
from tests.system.sandbox import Sandbox

pytestmark = [pytest.mark.appliance, pytest.mark.fuse, pytest.mark.root]


@pytest.fixture(scope="module")
def extreme(module_sandbox: Sandbox) -> Iterator[Path]:
    with module_sandbox.mounted(extreme_disk(), ["/dev/sda1"], "--format=raw") as mountpoint:
        yield mountpoint


def test_directory_of_200_000_entries_lists_each_once(extreme: Path) -> None:
    names = [path.name for path in (extreme / "large").iterdir()]
    assert len(names) == LARGE_DIRECTORY_ENTRIES
    assert set(names) == {large_directory_name(count) for count in range(LARGE_DIRECTORY_ENTRIES)}


def test_directory_of_200_000_entries_has_the_kernels_inode_numbers(extreme: Path) -> None:
    with kernel_mount(extreme_disk(), 1, "ext4") as reference:
        expected = {entry.name: entry.inode() for entry in os.scandir(reference / "large")}
    assert {entry.name: entry.inode() for entry in os.scandir(extreme / "large")} == expected


def test_5_gib_sparse_file_reads_right_at_both_ends(extreme: Path) -> None:
    with (extreme / "huge").open("rb") as file:
        assert file.read(len(HUGE_FILE_HEAD) + 1) == HUGE_FILE_HEAD + b"\0"
        file.seek(-len(HUGE_FILE_TAIL) - 1, os.SEEK_END)
        assert file.read() == b"\0" + HUGE_FILE_TAIL
        assert file.tell() == HUGE_FILE_BYTES
        file.seek(HUGE_FILE_MIDDLE_OFFSET - 1)
        assert file.read(len(HUGE_FILE_MIDDLE) + 2) == b"\0" + HUGE_FILE_MIDDLE + b"\0"
        file.seek(1)
        assert file.read(8) == HUGE_FILE_HEAD[1:9]


def test_5_gib_sparse_file_uses_the_blocks_it_uses_in_the_guest(extreme: Path) -> None:
    with kernel_mount(extreme_disk(), 1, "ext4") as reference:
        expected = (reference / "huge").stat()
    found = (extreme / "huge").stat()
    assert (found.st_size, found.st_blocks) == (HUGE_FILE_BYTES, expected.st_blocks)
    assert found.st_blocks * 512 < 1 << 20


@pytest.mark.parametrize("filesystem", FILESYSTEMS)
def test_foreign_filesystem_holds_what_was_written(sandbox: Sandbox, filesystem: str) -> None:
    device = f"/dev/sda{FILESYSTEMS.index(filesystem) + 1}"
    written = written_contents()
    with sandbox.mounted(foreign_disk(), [device], "--format=raw") as mountpoint:
        expected = {path.relative_to(written) for path in written.rglob("*")}
        found = {path.relative_to(mountpoint) for path in mountpoint.rglob("*")}
        sparse = {Path("sparse.bin")} if filesystem == "ntfs" else set()
        assert found == expected | sparse
        for relative in expected:
            ours, reference = mountpoint / relative, written / relative
            assert ours.is_dir() == reference.is_dir(), relative
            if reference.is_file():
                assert ours.read_bytes() == reference.read_bytes(), relative
                assert ours.stat().st_mtime_ns == MODIFIED_S * 1_000_000_000, relative
        if sparse:
            with (mountpoint / "sparse.bin").open("rb") as file:
                assert file.read() == bytes(32 << 20) + b"the end"
                assert os.fstat(file.fileno()).st_blocks * 512 < 1 << 20
