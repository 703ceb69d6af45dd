"""What the mount shows is what the source holds."""

import os
import subprocess
from pathlib import Path

from tests.mount.conftest import Mounted

_FIELDS = (
    *("st_ino", "st_mode", "st_nlink", "st_uid", "st_gid", "st_rdev", "st_size", "st_blksize", "st_blocks"),
    *("st_atime_ns", "st_mtime_ns", "st_ctime_ns"),
)


def _walk(top: Path) -> list[bytes]:
    """Return every path below a directory, relative to it, sorted."""
    root = os.fsencode(top)
    found = []
    for directory, names, files in os.walk(root, onerror=_fail):
        found += [os.path.relpath(os.path.join(directory, name), root) for name in names + files]
    return sorted(found)


def _fail(error: OSError) -> None:
    raise error


def test_names_are_the_same(tree: Mounted) -> None:
    assert _walk(tree.path) == _walk(tree.source)


def test_attributes_are_the_same(tree: Mounted) -> None:
    for path in _walk(tree.source):
        theirs = os.lstat(os.path.join(os.fsencode(tree.source), path))
        ours = os.lstat(os.path.join(os.fsencode(tree.path), path))
        for field in _FIELDS:
            assert getattr(ours, field) == getattr(theirs, field), (path, field)


def test_root_is_inode_one(tree: Mounted) -> None:
    assert tree.path.stat().st_ino == 1
    assert tree.path.stat().st_mode == tree.source.stat().st_mode


def test_rsync_finds_no_difference(tree: Mounted) -> None:
    command = ["rsync", "-aHAXn", "--checksum", "--delete", "--itemize-changes", "--exclude=/contents/sparse"]
    done = subprocess.run([*command, f"{tree.path}/", f"{tree.source}/"], capture_output=True, check=True)
    assert done.stdout == b""
    back = subprocess.run([*command, f"{tree.source}/", f"{tree.path}/"], capture_output=True, check=True)
    assert back.stdout == b""


def test_extended_attributes_are_the_same(tree: Mounted) -> None:
    for path in _walk(tree.source):
        theirs, ours = os.path.join(os.fsencode(tree.source), path), os.path.join(os.fsencode(tree.path), path)
        names = os.listxattr(theirs, follow_symlinks=False)
        assert sorted(os.listxattr(ours, follow_symlinks=False)) == sorted(names), path
        for name in names:
            value = os.getxattr(theirs, name, follow_symlinks=False)
            assert os.getxattr(ours, name, follow_symlinks=False) == value, (path, name)


def test_getfattr_and_getfacl_print_the_same(tree: Mounted) -> None:
    for tool in (["getfattr", "-R", "-h", "-d", "-m", "-", "attributes"], ["getfacl", "-R", "-n", "attributes"]):
        theirs = subprocess.run(tool, cwd=tree.source, capture_output=True, check=True).stdout
        ours = subprocess.run(tool, cwd=tree.path, capture_output=True, check=True).stdout
        assert theirs.count(b"# file:") > 4
        assert sorted(ours.split(b"\n\n")) == sorted(theirs.split(b"\n\n"))


def test_link_targets_are_the_same(tree: Mounted) -> None:
    for name in ("relative", "absolute", "dangling", "long"):
        assert os.readlink(tree.path / "kinds" / name) == os.readlink(tree.source / "kinds" / name)  # noqa: PTH115


def test_hard_links_share_an_inode(tree: Mounted) -> None:
    numbers = {(tree.path / "kinds" / name).stat().st_ino for name in ("link1", "link2", "sub/link3")}
    assert len(numbers) == 1


def test_statfs_is_the_same(tree: Mounted) -> None:
    ours, theirs = os.statvfs(tree.path), os.statvfs(tree.source)
    for field in ("f_bsize", "f_frsize", "f_blocks", "f_files", "f_namemax"):
        assert getattr(ours, field) == getattr(theirs, field), field


def test_ordinary_user_is_kept_out_by_the_kernel(tree: Mounted) -> None:
    done = subprocess.run(["ls", tree.path], user=65534, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Permission denied" in done.stderr
