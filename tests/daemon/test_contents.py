"""Changing what files hold and how long they are."""

import os
from pathlib import Path
from typing import Any

import pytest

from rpc.arguments import PathArgs
from rpc.codec import GuestPath
from rpc.procedure import Procedure
from rpc.procedures import (
    FALLOCATE,
    FALLOCATE64,
    FILL,
    FILL_DIR,
    FILL_PATTERN,
    INTERNAL_WRITE,
    INTERNAL_WRITE_APPEND,
    PWRITE,
    TRUNCATE,
    TRUNCATE_SIZE,
    WRITE_FILE,
)
from rpc.procedures.allocation import (
    Fallocate64Args,
    FallocateArgs,
    FillArgs,
    FillPatternArgs,
    TruncateSizeArgs,
    WriteFileArgs,
)
from rpc.procedures.contents import InternalWriteArgs, PwriteArgs
from rpc.procedures.names import FillDirArgs
from tests.daemon.guestfsd import Guestfsd, names_in

HELLO = GuestPath(b"/hello")
NEW = GuestPath(b"/new")


def test_pwrite_changes_a_part(daemon: Guestfsd, guest: Path) -> None:
    assert daemon.call(PWRITE, PwriteArgs(HELLO, b"HELLO", 0)) == 5
    assert daemon.call(PWRITE, PwriteArgs(HELLO, b"end", 20)) == 3
    assert (guest / "hello").read_bytes() == b"HELLO, world\n" + bytes(7) + b"end"
    assert daemon.error(PWRITE, PwriteArgs(NEW, b"x", 0))[0] == "ENOENT"
    assert daemon.error(PWRITE, PwriteArgs(HELLO, b"x", -1)) == ("", "offset -1 is negative")


def test_internal_write_makes_and_replaces(daemon: Guestfsd, guest: Path) -> None:
    content = os.urandom(100_000)
    daemon.call(INTERNAL_WRITE, InternalWriteArgs(NEW, content))
    assert (guest / "new").read_bytes() == content
    daemon.call(INTERNAL_WRITE, InternalWriteArgs(NEW, b"short"))
    assert (guest / "new").read_bytes() == b"short"


def test_internal_write_append_makes_and_lengthens(daemon: Guestfsd, guest: Path) -> None:
    for word in (b"one", b"two"):
        daemon.call(INTERNAL_WRITE_APPEND, InternalWriteArgs(NEW, word))
    assert (guest / "new").read_bytes() == b"onetwo"


@pytest.mark.parametrize(("size", "expected"), [(0, b"content"), (3, b"con"), (7, b"content")])
def test_write_file_writes_so_much(daemon: Guestfsd, guest: Path, size: int, expected: bytes) -> None:
    daemon.call(WRITE_FILE, WriteFileArgs(NEW, "content", size))
    assert (guest / "new").read_bytes() == expected
    assert daemon.error(WRITE_FILE, WriteFileArgs(NEW, "content", 8))[0] == ""


def test_truncate_empties_through_links(daemon: Guestfsd, guest: Path) -> None:
    daemon.call(TRUNCATE, PathArgs(GuestPath(b"/link")))
    assert (guest / "sub/inner").read_bytes() == b""
    assert daemon.error(TRUNCATE, PathArgs(NEW))[0] == "ENOENT"


def test_truncate_size_cuts_and_lengthens(daemon: Guestfsd, guest: Path) -> None:
    daemon.call(TRUNCATE_SIZE, TruncateSizeArgs(HELLO, 5))
    assert (guest / "hello").read_bytes() == b"hello"
    daemon.call(TRUNCATE_SIZE, TruncateSizeArgs(HELLO, 1 << 30))
    assert (guest / "hello").stat().st_size == 1 << 30
    assert daemon.error(TRUNCATE_SIZE, TruncateSizeArgs(HELLO, -1)) == ("EINVAL", "/hello: Invalid argument")


@pytest.mark.parametrize(
    ("procedure", "args"),
    [(FALLOCATE, FallocateArgs(HELLO, 100_000)), (FALLOCATE64, Fallocate64Args(HELLO, 100_000))],
    ids=["fallocate", "fallocate64"],
)
def test_fallocate_makes_zeros_that_have_their_space(
    daemon: Guestfsd, guest: Path, procedure: Procedure[Any, None], args: Any
) -> None:
    daemon.call(procedure, args)
    assert (guest / "hello").read_bytes() == bytes(100_000)
    assert (guest / "hello").stat().st_blocks * 512 >= 100_000


def test_fallocate_of_what_is_not_possible(daemon: Guestfsd) -> None:
    assert daemon.error(FALLOCATE64, Fallocate64Args(NEW, 0))[0] == "EINVAL"
    assert daemon.error(FALLOCATE64, Fallocate64Args(NEW, 1 << 62))[0] in ("EFBIG", "ENOSPC")
    assert daemon.error(FALLOCATE, FallocateArgs(NEW, -1)) == ("", "length -1 is negative")


def test_fill(daemon: Guestfsd, guest: Path) -> None:
    daemon.call(FILL, FillArgs(0xFF, 600_001, NEW))
    assert (guest / "new").read_bytes() == b"\xff" * 600_001
    daemon.call(FILL_PATTERN, FillPatternArgs("abcdefg", 600_001, NEW))
    assert (guest / "new").read_bytes() == (b"abcdefg" * 90_000)[:600_001]
    daemon.call(FILL, FillArgs(0, 0, NEW))
    assert (guest / "new").read_bytes() == b""


def test_fill_dir(daemon: Guestfsd, guest: Path) -> None:
    (guest / "way").symlink_to("/sub")
    daemon.call(FILL_DIR, FillDirArgs(GuestPath(b"/way"), 1234))
    assert names_in(guest / "sub") == [*(f"{number:08}" for number in range(1234)), "inner"]
    assert (guest / "sub/00001233").stat().st_size == 0
    assert daemon.error(FILL_DIR, FillDirArgs(GuestPath(b"/sub"), -1))[0] == ""
    assert daemon.error(FILL_DIR, FillDirArgs(GuestPath(b"/none"), 1))[0] == "ENOENT"


def test_fill_refuses(daemon: Guestfsd) -> None:
    for procedure, args in (
        (FILL, FillArgs(256, 1, NEW)),
        (FILL, FillArgs(1, -1, NEW)),
        (FILL_PATTERN, FillPatternArgs("", 1, NEW)),
        (FILL_PATTERN, FillPatternArgs("x", -1, NEW)),
    ):
        assert daemon.error(procedure, args)[0] == ""


WRITES: list[tuple[Procedure[Any, Any], Any]] = [
    (PWRITE, lambda path: PwriteArgs(path, b"x", 0)),
    (INTERNAL_WRITE, lambda path: InternalWriteArgs(path, b"x")),
    (INTERNAL_WRITE_APPEND, lambda path: InternalWriteArgs(path, b"x")),
    (WRITE_FILE, lambda path: WriteFileArgs(path, "x", 0)),
    (TRUNCATE, PathArgs),
    (TRUNCATE_SIZE, lambda path: TruncateSizeArgs(path, 1)),
    (FALLOCATE64, lambda path: Fallocate64Args(path, 1)),
    (FILL, lambda path: FillArgs(1, 1, path)),
]


@pytest.mark.parametrize(("procedure", "args_of"), WRITES, ids=[row.name for row, _ in WRITES])
def test_only_regular_files_of_the_guest_are_written(
    daemon: Guestfsd, guest: Path, tmp_path: Path, procedure: Procedure[Any, Any], args_of: Any
) -> None:
    (guest / "out").symlink_to(tmp_path / "secret")
    (guest / "up").symlink_to("/".join([".."] * 30) + f"{tmp_path}/secret")
    expected = {b"/sub": "EISDIR", b"/fifo": "ENXIO", b"/null": "EINVAL", b"/out": "ENOENT", b"/up": "ENOENT"}
    found = {path: daemon.error(procedure, args_of(GuestPath(path)))[0] for path in expected}
    assert found == expected
    assert (tmp_path / "secret").read_bytes() == b"host"
