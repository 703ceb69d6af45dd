"""A read-only mount refuses to write, whoever asks and however."""

import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pyfuse3
import pytest

from guestmount_py.operations import ReadOnlyOperations
from tests.mount.conftest import Mounted

_WRITERS: dict[str, Callable[[Path], object]] = {
    "mkdir": lambda top: (top / "new").mkdir(),
    "create": lambda top: (top / "new").touch(),
    "unlink": lambda top: (top / "contents/1").unlink(),
    "rmdir": lambda top: (top / "kinds/sub").rmdir(),
    "rename": lambda top: (top / "contents/1").rename(top / "contents/other"),
    "link": lambda top: (top / "new").hardlink_to(top / "contents/1"),
    "symlink": lambda top: (top / "new").symlink_to("target"),
    "mknod": lambda top: os.mknod(top / "new"),
    "chmod": lambda top: (top / "contents/1").chmod(0o600),
    "chown": lambda top: os.chown(top / "contents/1", 1, 1),
    "utime": lambda top: os.utime(top / "contents/1"),
    "truncate": lambda top: os.truncate(top / "contents/1", 0),
    "open to write": lambda top: (top / "contents/1").open("r+b"),
    "open to append": lambda top: (top / "contents/1").open("ab"),
    "setxattr": lambda top: os.setxattr(top / "contents/1", "user.new", b""),
    "removexattr": lambda top: os.removexattr(top / "attributes/plain", "user.empty"),
}
_HANDLERS = (
    *("mkdir", "unlink", "rmdir", "symlink", "link", "rename", "mknod", "create", "write", "setattr"),
    *("setxattr", "removexattr"),
)


@pytest.mark.parametrize("name", _WRITERS)
def test_write_is_refused_with_erofs(tree: Mounted, name: str) -> None:
    with pytest.raises(OSError, match="Read-only file system") as caught:
        _WRITERS[name](tree.path)
    assert caught.value.errno == errno.EROFS


@pytest.mark.parametrize("name", _HANDLERS)
async def test_handler_refuses_even_if_the_kernel_asks(name: str) -> None:
    operations = object.__new__(ReadOnlyOperations)
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await getattr(operations, name)()
    assert caught.value.errno == errno.EROFS


def test_access_to_write_is_refused(tree: Mounted) -> None:
    assert os.access(tree.path / "contents/1", os.R_OK)
    assert not os.access(tree.path / "contents/1", os.W_OK)
    assert not os.access(tree.path / "contents/1", os.X_OK)
    assert os.access(tree.path / "attributes/program", os.X_OK)
    assert os.access(tree.path / "contents", os.X_OK)


def test_name_that_is_not_there_is_refused(tree: Mounted) -> None:
    for name in ("missing", "contents/missing", "contents/1/below"):
        with pytest.raises(OSError, match=name) as caught:
            (tree.path / name).stat()
        assert caught.value.errno in (errno.ENOENT, errno.ENOTDIR)


def test_absent_attribute_is_refused(tree: Mounted) -> None:
    with pytest.raises(OSError, match="No data") as caught:
        os.getxattr(tree.path / "contents/1", "user.missing")
    assert caught.value.errno == errno.ENODATA


def test_attribute_longer_than_the_buffer_is_refused(tree: Mounted) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(10)
    assert libc.getxattr(os.fsencode(tree.path / "attributes/plain"), b"user.binary", buffer, 10) == -1
    assert ctypes.get_errno() == errno.ERANGE
