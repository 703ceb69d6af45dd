"""Extended attributes: any bytes, the flags, the limits."""

import errno
import os
import struct
from pathlib import Path

import pytest

from tests.posix.actor import Actor
from tests.posix.syscalls import refused

NOBODY = 0xFFFFFFFF
"""The id in an entry of an ACL that is about no one user or group (linux/posix_acl_xattr.h)."""


@pytest.fixture(autouse=True)
def inside(place: Path) -> None:
    """Work in the directory, where there is a file."""
    os.chdir(place)
    Path("file").touch()


@pytest.mark.parametrize(
    "value", [b"", b"\0", b"before\0after", b"\0" * 100, bytes(range(256)), b"x" * 3000], ids=lambda value: len(value)
)
def test_value_of_any_bytes_is_kept(value: bytes) -> None:
    Path("directory").mkdir()
    for name in ("file", "directory"):
        for attribute in ("user.value", "trusted.value", "security.value"):
            os.setxattr(name, attribute, value)
            assert os.getxattr(name, attribute) == value
            os.removexattr(name, attribute)
    assert os.listxattr("file") == []


def test_create_and_replace() -> None:
    with refused(errno.ENODATA):
        os.setxattr("file", "user.a", b"1", os.XATTR_REPLACE)
    os.setxattr("file", "user.a", b"1", os.XATTR_CREATE)
    with refused(errno.EEXIST):
        os.setxattr("file", "user.a", b"2", os.XATTR_CREATE)
    assert os.getxattr("file", "user.a") == b"1"
    os.setxattr("file", "user.a", b"longer than before", os.XATTR_REPLACE)
    os.setxattr("file", "user.b", b"")
    assert os.getxattr("file", "user.a") == b"longer than before"
    assert sorted(os.listxattr("file")) == ["user.a", "user.b"]
    with refused(errno.EINVAL):
        os.setxattr("file", "user.a", b"", 4)


def test_remove() -> None:
    with refused(errno.ENODATA):
        os.removexattr("file", "user.a")
    os.setxattr("file", "user.a", b"1")
    os.removexattr("file", "user.a")
    with refused(errno.ENODATA):
        os.getxattr("file", "user.a")
    assert os.listxattr("file") == []
    os.setxattr("file", "user.a", b"again", os.XATTR_CREATE)
    assert os.getxattr("file", "user.a") == b"again"


def test_capabilities_and_lists_come_after_what_was_written_and_permitted_before() -> None:
    capability = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)
    rows = ((1, 6, NOBODY), (2, 6, 1000), (4, 0, NOBODY), (0x10, 6, NOBODY), (0x20, 0, NOBODY))
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *row) for row in rows)
    descriptor = os.open("file", os.O_RDWR)
    try:
        os.write(descriptor, b"first")
        os.fsync(descriptor)
        os.write(descriptor, b"second")
        os.setxattr(descriptor, "security.capability", capability)
        os.fchmod(descriptor, 0o600)
        os.setxattr(descriptor, "system.posix_acl_access", acl)
        os.fsync(descriptor)
        assert os.getxattr(descriptor, "security.capability") == capability
        assert os.getxattr(descriptor, "system.posix_acl_access") == acl
        assert os.fstat(descriptor).st_mode & 0o777 == 0o660
    finally:
        os.close(descriptor)


def test_names_and_values_beyond_the_limits() -> None:
    longest = "user." + "n" * 250
    os.setxattr("file", longest, b"kept")
    assert os.getxattr("file", longest) == b"kept"
    with refused(errno.ERANGE):
        os.setxattr("file", longest + "n", b"")
    with refused(errno.E2BIG):
        os.setxattr("file", "user.large", bytes(65537))
    with refused(errno.EOPNOTSUPP):
        os.setxattr("file", "nonsense.a", b"")
    with refused(errno.EOPNOTSUPP, errno.EINVAL):
        os.setxattr("file", "user.", b"")
    with refused(errno.ERANGE):
        os.setxattr("file", "", b"")


def test_more_than_the_filesystem_holds(filesystem: str) -> None:
    large = bytes(range(256)) * 256
    if filesystem == "xfs":
        os.setxattr("file", "user.large", large)
        assert os.getxattr("file", "user.large") == large
    else:
        with refused(errno.ENOSPC):
            os.setxattr("file", "user.large", large)
        assert os.listxattr("file") == []


def test_many_attributes() -> None:
    for number in range(60):
        os.setxattr("file", f"user.number-{number}", b"%d" % number)
    assert sorted(os.listxattr("file")) == sorted(f"user.number-{number}" for number in range(60))
    for number in range(0, 60, 2):
        os.removexattr("file", f"user.number-{number}")
    assert len(os.listxattr("file")) == 30
    assert os.getxattr("file", "user.number-31") == b"31"


def test_links_and_special_files_have_no_user_attributes() -> None:
    Path("link").symlink_to("file")
    os.mkfifo("fifo")
    for name in ("link", "fifo"):
        with refused(errno.EPERM):
            os.setxattr(name, "user.a", b"a", follow_symlinks=False)
    os.setxattr("link", "trusted.a", b"of the link", follow_symlinks=False)
    assert os.getxattr("link", "trusted.a", follow_symlinks=False) == b"of the link"
    assert os.listxattr("file") == []


def test_user_needs_permission(alice: Actor, place: Path) -> None:
    alice.call(os.chdir, place)
    os.setxattr("file", "user.a", b"a")
    os.setxattr("file", "trusted.a", b"a")
    os.chmod("file", 0o644)
    assert alice.call(os.getxattr, "file", "user.a") == b"a"
    with refused(errno.EACCES):
        alice.call(os.setxattr, "file", "user.a", b"b")
    with refused(errno.EACCES):
        alice.call(os.removexattr, "file", "user.a")
    with refused(errno.ENODATA):
        alice.call(os.getxattr, "file", "trusted.a")
    with refused(errno.EPERM):
        alice.call(os.setxattr, "file", "security.a", b"b")
    os.chmod("file", 0o600)
    with refused(errno.EACCES):
        alice.call(os.getxattr, "file", "user.a")


def test_attributes_survive_rename_and_replacement() -> None:
    os.setxattr("file", "user.a", b"first")
    os.rename("file", "moved")
    Path("file").touch()
    assert os.listxattr("file") == []
    os.setxattr("file", "user.b", b"second")
    os.rename("moved", "file")
    assert os.listxattr("file") == ["user.a"]
    assert os.getxattr("file", "user.a") == b"first"
