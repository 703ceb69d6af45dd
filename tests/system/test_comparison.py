"""The comparison itself must notice every kind of difference, or its silence proves nothing."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.system.comparison import attribute_differences, rsync_differences

pytestmark = pytest.mark.root


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)
    (tree / "below" / "file").write_bytes(b"contents")
    (tree / "one").write_bytes(b"one")
    (tree / "other").hardlink_to(tree / "one")
    (tree / "link").symlink_to("below/file")
    os.setxattr(tree / "below" / "file", "user.attribute", b"value")
    return tree


@pytest.fixture
def copy(tree: Path) -> Path:
    copy = tree.parent / "copy"
    subprocess.run(["cp", "--archive", tree, copy], check=True)
    return copy


def _keeping_times(change: Callable[[Path], object]) -> Callable[[Path], None]:
    def changed(file: Path) -> None:
        before = file.stat()
        change(file)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    return changed


CHANGES: Final[dict[str, Callable[[Path], object]]] = {
    "contents": _keeping_times(lambda file: file.write_bytes(b"CONTENTS")),
    "mode": lambda file: file.chmod(0o4755),
    "owner": lambda file: os.chown(file, 1000, -1),
    "time": lambda file: os.utime(file, ns=(0, file.stat().st_mtime_ns + 1_000_000_000)),
    "xattr": lambda file: os.setxattr(file, "user.attribute", b"VALUE"),
    "missing": lambda file: file.unlink(),
    "extra": lambda file: (file.parent / "extra").touch(),
}


def test_equal_trees_have_no_differences(tree: Path, copy: Path) -> None:
    assert rsync_differences(tree, copy, ()) == ""
    assert rsync_differences(copy, tree, ()) == ""


@pytest.mark.parametrize("what", CHANGES)
def test_rsync_notices(tree: Path, copy: Path, what: str) -> None:
    CHANGES[what](copy / "below" / "file")
    assert rsync_differences(tree, copy, ()) != ""
    assert rsync_differences(copy, tree, ()) != ""


@pytest.mark.parametrize("what", CHANGES)
def test_rsync_leaves_out_what_it_is_told(tree: Path, copy: Path, what: str) -> None:
    CHANGES[what](copy / "below" / "file")
    assert rsync_differences(tree, copy, ["below"]) == ""


def test_attributes_of_one_tree_agree_with_themselves(tree: Path) -> None:
    assert attribute_differences(tree, tree, (), exact_inodes=True) == []


def test_a_copy_differs_in_inodes_and_ctime(tree: Path, copy: Path) -> None:
    differences = "\n".join(attribute_differences(copy, tree, (), exact_inodes=True))
    assert "st_ino" in differences
    assert "st_ctime_ns" in differences


def _lead_elsewhere(copy: Path) -> None:
    (copy / "link").unlink()
    (copy / "link").symlink_to("elsewhere")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda copy: os.utime(copy / "one", ns=(0, 1)), "st_mtime_ns"),
        (lambda copy: (copy / "other").unlink(), "st_nlink"),
        (lambda copy: os.setxattr(copy / "below/file", "user.more", b""), "xattrs"),
        (_lead_elsewhere, "target"),
        (lambda copy: (copy / "below" / "file").write_bytes(bytes(100_000)), "st_blocks"),
        (lambda copy: shutil.rmtree(copy / "below"), "No such file"),
    ],
)
def test_attribute_comparison_names(tree: Path, copy: Path, change: Callable[[Path], object], said: str) -> None:
    change(copy)
    assert said in "\n".join(attribute_differences(copy, tree, (), exact_inodes=False))
