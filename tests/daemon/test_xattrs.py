"""Extended attributes."""

import os
from pathlib import Path

import pytest

from rpc.arguments import PathArgs, PathNamesArgs
from rpc.codec import FileName, GuestPath
from rpc.errors import ProcedureError
from rpc.procedures import GETXATTR, GETXATTRS, INTERNAL_LXATTRLIST, LGETXATTR, LGETXATTRS
from rpc.procedures.xattrs import GetxattrArgs
from rpc.types import Xattr
from tests.daemon.guestfsd import Guestfsd

VALUES = [Xattr(b"trusted.x", b""), Xattr(b"user.a", b"\0\xff"), Xattr(b"user.b", bytes(1000))]


@pytest.fixture(autouse=True)
def attributes(guest: Path) -> None:
    for name, value in VALUES:
        os.setxattr(guest / "sub/inner", name, value)
    os.setxattr(guest / "sub/inner", "user.WofCompressedData", b"hidden")
    os.setxattr(guest / "link", "trusted.of-the-link", b"1", follow_symlinks=False)


def test_all_attributes_sorted(daemon: Guestfsd) -> None:
    assert daemon.call(LGETXATTRS, PathArgs(GuestPath(b"/sub/inner"))) == VALUES
    assert daemon.call(GETXATTRS, PathArgs(GuestPath(b"/link"))) == VALUES
    assert daemon.call(LGETXATTRS, PathArgs(GuestPath(b"/link"))) == [Xattr(b"trusted.of-the-link", b"1")]
    assert daemon.call(LGETXATTRS, PathArgs(GuestPath(b"/hello"))) == []


def test_one_attribute(daemon: Guestfsd) -> None:
    assert daemon.call(LGETXATTR, GetxattrArgs(GuestPath(b"/sub/inner"), "user.a")) == b"\0\xff"
    assert daemon.call(GETXATTR, GetxattrArgs(GuestPath(b"/link"), "user.b")) == bytes(1000)
    with pytest.raises(ProcedureError) as caught:
        daemon.call(LGETXATTR, GetxattrArgs(GuestPath(b"/link"), "user.b"))
    assert caught.value.errno_name == "ENODATA"


def test_list_marks_each_name(daemon: Guestfsd) -> None:
    names = [FileName(name) for name in (b"inner", b"gone", b"..")]
    found = daemon.call(INTERNAL_LXATTRLIST, PathNamesArgs(GuestPath(b"/sub"), names))
    assert found == [Xattr(b"", b"3\0"), *VALUES, Xattr(b"", b""), Xattr(b"", b"0\0")]
    for path in (b"/none", b"/hello"):
        assert daemon.call(INTERNAL_LXATTRLIST, PathNamesArgs(GuestPath(path), names)) == [Xattr(b"", b"")] * len(names)
