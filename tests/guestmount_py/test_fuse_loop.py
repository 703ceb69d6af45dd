"""What the kernel and libfuse are told."""

from pathlib import Path

import pytest

from guestmount_py.fuse_loop import mount_words
from guestmount_py.preconditions import check_fuse
from rpc.errors import GuestmountError


def test_mount_is_read_only_and_named_after_the_image() -> None:
    assert mount_words([], "/a.img") == {"ro", "nosuid", "nodev", "subtype=guestmount-py", "fsname=/a.img"}


def test_option_of_the_user_replaces_ours() -> None:
    words = mount_words(["suid", "dev", "fsname=x", "subtype=y"], "/a.img")
    assert words == {"ro", "suid", "dev", "fsname=x", "subtype=y"}


def test_other_users_are_let_in_only_under_the_guests_permissions() -> None:
    assert "default_permissions" in mount_words(["allow_other"], "/a.img")
    assert "default_permissions" not in mount_words(["allow_root"], "/a.img")


def test_name_of_the_image_is_escaped_for_libfuse() -> None:
    assert r"fsname=/a\054b\134c\040\303\244" in mount_words([], "/a,b\\c ä")


def test_mountpoint_that_is_missing_or_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GuestmountError, match="create it first"):
        check_fuse(tmp_path / "missing")
    (tmp_path / "file").touch()
    with pytest.raises(GuestmountError, match="not a directory"):
        check_fuse(tmp_path / "file")


def test_missing_fusermount_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GuestmountError, match="fusermount3 is not installed: install the package fuse3"):
        check_fuse(tmp_path)


def test_missing_device_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_char_device", lambda _path: False)
    with pytest.raises(GuestmountError, match="/dev/fuse: not there: load"):
        check_fuse(tmp_path)
