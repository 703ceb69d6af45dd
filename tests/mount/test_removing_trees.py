"""Whole trees go: listed ahead of who removes them, while others look, and though the guest may not let them."""

import errno
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from tests.guests.cache import run
from tests.mount.conftest import mounted, mounted_ext4
from tests.posix.syscalls import refused

DIRECTORIES: Final = 20
FILES: Final = 30
MANY: Final = 3000

pytestmark = pytest.mark.root


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem with a tree."""
    with mounted_ext4(tmp_path, "256M") as root:
        _plant(root / "tree")
        yield root


def _plant(tree: Path) -> None:
    for number in range(DIRECTORIES):
        below = tree / f"directory-{number}/below"
        below.mkdir(parents=True)
        for count in range(FILES):
            (below.parent / f"file-{count}").touch()
            (below / f"file-{count}").touch()


def _names(tree: Path) -> set[str]:
    return {os.path.join(path, name) for path, below, files in os.walk(tree) for name in (*below, *files)}


def _settle(path: Path) -> None:
    """Wait until nothing is still to come or go in a directory."""
    descriptor = os.open(path, os.O_RDONLY)
    with suppress(OSError):  # who is told first does not matter here
        os.fsync(descriptor)
    os.close(descriptor)


def test_tree_goes_while_others_look_and_nothing_that_went_is_seen_again(disk: Path, scratch: Path) -> None:
    with mounted(disk, scratch, "--rw") as mount:
        tree = mount.path / "tree"
        seen: list[set[str]] = []
        ended = threading.Event()

        def look() -> None:
            while not ended.is_set():
                seen.append(_names(tree))

        looker = threading.Thread(target=look)
        looker.start()
        try:
            subprocess.run(["rm", "-rf", tree], check=True)
        finally:
            ended.set()
            looker.join()
        assert not tree.exists()
        for earlier, later in pairwise(seen):
            assert later <= earlier
    assert not (disk / "tree").exists()


def test_what_is_made_in_a_tree_that_is_being_listed_stays_there(disk: Path, scratch: Path) -> None:
    with mounted(disk, scratch, "--rw") as mount:
        tree = mount.path / "tree"
        for number, entry in enumerate(sorted(tree.iterdir())):
            (entry / "new").write_bytes(b"new")
            (entry / "below/new").touch()
            (entry / "file-0").unlink()
            assert number == 0 or (entry / "below/file-1").exists()
        names = {os.path.relpath(name, tree) for name in _names(tree)}
    assert names == {os.path.relpath(name, disk / "tree") for name in _names(disk / "tree")}
    assert len(names) == DIRECTORIES * (2 * FILES + 3)


def test_directory_of_thousands_of_files_goes(disk: Path, scratch: Path) -> None:
    many = disk / "many"
    many.mkdir()
    for number in range(MANY):
        (many / str(number)).touch()
    with mounted(disk, scratch, "--rw") as mount:
        subprocess.run(["rm", "-rf", mount.path / "many"], check=True)
        many_again = mount.path / "many"
        many_again.mkdir()  # waits until nothing of that name is there
        assert not any(many_again.iterdir())
    assert not any(many.iterdir())


def test_tree_that_the_guest_does_not_let_go_is_there_again(disk: Path, scratch: Path) -> None:
    with mounted(disk, scratch, "--rw", may_log="promised and failed", exit_status=1) as mount:
        whole = _names(mount.path / "tree")
        root = os.open(mount.path, os.O_RDONLY)
        run("mount", "-o", "remount,ro", disk)
        try:
            removed = subprocess.run(["rm", "-rf", mount.path / "tree"], check=False, capture_output=True)
            if b"Read-only file system" not in removed.stderr:  # else the guest had come to it while something was left
                with refused(errno.EROFS):
                    os.fsync(root)
            for directory in (mount.path, mount.path / "tree"):
                _settle(directory)
            for directory in (mount.path / "tree").iterdir():
                _settle(directory)
                _settle(directory / "below")
            assert _names(mount.path / "tree") == whole
        finally:
            os.close(root)
            run("mount", "-o", "remount,rw", disk)


def test_directory_that_is_immutable_keeps_what_is_in_it(disk: Path, scratch: Path) -> None:
    """Which the walk that lists it tells, but of the root nobody has asked when the first name in it is to go."""
    run("chattr", "+i", disk)
    try:
        with mounted(disk, scratch, "--rw") as mount:
            for name in ("file-0", "file-1"):
                (mount.path / "tree/directory-0" / name).unlink()
            subprocess.run(["rm", "-rf", *(mount.path / "tree").iterdir()], check=True)
            with refused(errno.EPERM):
                (mount.path / "tree").rmdir()
            assert (mount.path / "tree").is_dir()
    finally:
        run("chattr", "-i", disk)
    assert not any((disk / "tree").iterdir())
