"""Several filesystems in one mount, as several -m or btrfs's subvolumes make them."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.conftest import Mounted, mounted


@pytest.fixture
def nested(tmp_path: Path) -> Iterator[Mounted]:
    source = tmp_path / "source"
    tops = [source / "one", source / "one" / "deeper" / "two"]
    try:
        for top in tops:
            top.mkdir(parents=True)
            subprocess.run(["mount", "-t", "tmpfs", "guestmount-py-test", top], check=True)
            (top / "file").write_text(str(top.name))
            (top / "deeper").mkdir()
        (source / "file").write_text("outside")
        with mounted(source, tmp_path) as served:
            yield served
    finally:
        for top in reversed(tops):
            subprocess.run(["umount", top], check=False)


def test_files_of_every_filesystem_are_there(nested: Mounted) -> None:
    assert (nested.path / "file").read_text() == "outside"
    assert (nested.path / "one" / "file").read_text() == "one"
    assert (nested.path / "one" / "deeper" / "two" / "file").read_text() == "two"


def test_mountpoint_shows_the_root_of_what_is_mounted(nested: Mounted) -> None:
    assert (nested.path / "one").stat().st_mode == (nested.source / "one").stat().st_mode == 0o41777


def test_inodes_are_unique_and_the_same_however_they_are_met(nested: Mounted) -> None:
    walked = {}
    for directory, names, files in os.walk(nested.path):
        for name in names + files:
            path = Path(directory, name)
            walked[path] = path.lstat().st_ino
    assert len(walked) == 7
    assert len(set(walked.values())) == len(walked)
    assert 1 not in walked.values()
    for path, number in walked.items():
        (entry,) = [entry for entry in os.scandir(path.parent) if entry.name == path.name]
        assert entry.inode() == number
    guest_inode = (nested.source / "one" / "file").stat().st_ino
    assert walked[nested.path / "one" / "file"] & ((1 << 48) - 1) == guest_inode
    assert walked[nested.path / "file"] == (nested.source / "file").stat().st_ino


def test_rsync_finds_no_difference(nested: Mounted) -> None:
    command = ["rsync", "-aHAXn", "--checksum", "--delete", "--itemize-changes"]
    done = subprocess.run([*command, f"{nested.path}/", f"{nested.source}/"], capture_output=True, check=True)
    assert done.stdout == b""
