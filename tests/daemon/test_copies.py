"""Bytes copied between files and devices, zeros looked for and written."""

import os
from pathlib import Path
from typing import Any

import pytest

from rpc.arguments import PathArgs
from rpc.codec import DeviceOrPath, GuestPath
from rpc.events import Progress
from rpc.procedures import COPY_FILE_TO_FILE, COPY_SIZE, DD, IS_ZERO
from rpc.procedures.copies import CopyFileToFileArgs, CopySizeArgs, DdArgs
from tests.daemon.guestfsd import Guestfsd, started

BIG_BYTES = 1_000_003
BIG, NEW = GuestPath(b"/big"), GuestPath(b"/new")


@pytest.fixture
def big(guest: Path) -> bytes:
    data = os.urandom(BIG_BYTES)
    (guest / "big").write_bytes(data)
    return data


@pytest.mark.parametrize(
    ("options", "before", "expected"),
    [
        ({}, b"old", lambda data: data),
        ({"srcoffset": 100}, b"", lambda data: data[100:]),
        ({"srcoffset": 7, "destoffset": 3, "size": 500_000}, b"old!", lambda data: bytes(3) + data[7:500_007]),
        ({"size": 0}, b"old", lambda _data: b""),
        ({"srcoffset": BIG_BYTES + 5}, b"old", lambda _data: b""),
        ({"append": True, "size": 5}, b"old", lambda data: b"old" + data[:5]),
        ({"append": True, "sparse": True}, b"old", lambda data: b"old" + data),
    ],
)
def test_copy_file_to_file(
    daemon: Guestfsd, guest: Path, big: bytes, options: dict[str, Any], before: bytes, expected: Any
) -> None:
    (guest / "new").write_bytes(before)
    daemon.call(COPY_FILE_TO_FILE, CopyFileToFileArgs(BIG, NEW, **options))
    assert (guest / "new").read_bytes() == expected(big)


def test_sparse_copy_has_holes_and_the_whole_length(daemon: Guestfsd, guest: Path) -> None:
    data = b"x" * 4096 + bytes(1 << 20) + b"y" + bytes(1 << 20)
    (guest / "big").write_bytes(data)
    daemon.call(COPY_FILE_TO_FILE, CopyFileToFileArgs(BIG, NEW, sparse=True))
    assert (guest / "new").read_bytes() == data
    assert (guest / "new").stat().st_blocks * 512 <= 64 * 1024
    daemon.call(COPY_FILE_TO_FILE, CopyFileToFileArgs(BIG, NEW))
    assert (guest / "new").stat().st_blocks * 512 >= 2 << 20


def test_copy_onto_itself_keeps_the_file(daemon: Guestfsd, guest: Path, big: bytes) -> None:
    daemon.call(COPY_FILE_TO_FILE, CopyFileToFileArgs(BIG, BIG))
    assert daemon.error(COPY_FILE_TO_FILE, CopyFileToFileArgs(BIG, BIG, size=BIG_BYTES + 1))[0] == ""
    for offsets in ((5, None), (None, 5), (None, BIG_BYTES - 1)):
        assert daemon.error(COPY_FILE_TO_FILE, CopyFileToFileArgs(BIG, BIG, *offsets))[0] == "EINVAL"
    assert (guest / "big").read_bytes() == big


def test_copy_behind_itself_ends(daemon: Guestfsd, guest: Path, big: bytes) -> None:
    """It must not go on with what it has written."""
    daemon.call(COPY_FILE_TO_FILE, CopyFileToFileArgs(BIG, BIG, append=True))
    assert (guest / "big").read_bytes() == big * 2
    daemon.call(COPY_FILE_TO_FILE, CopyFileToFileArgs(BIG, BIG, destoffset=2 * BIG_BYTES))
    assert (guest / "big").read_bytes() == big * 4


def test_appended_zeros_are_written_though_the_copy_is_sparse(daemon: Guestfsd, guest: Path) -> None:
    (guest / "big").write_bytes(bytes(8192) + b"end")
    (guest / "new").write_bytes(b"start")
    daemon.call(COPY_FILE_TO_FILE, CopyFileToFileArgs(BIG, NEW, sparse=True, append=True))
    assert (guest / "new").read_bytes() == b"start" + bytes(8192) + b"end"


@pytest.mark.parametrize("name", ["srcoffset", "destoffset", "size"])
def test_copy_refuses_negative_numbers_before_it_touches_anything(
    daemon: Guestfsd, guest: Path, big: bytes, name: str
) -> None:
    (guest / "new").write_bytes(b"old")
    options: dict[str, Any] = {name: -1}
    args = CopyFileToFileArgs(BIG, NEW, **options)
    assert daemon.error(COPY_FILE_TO_FILE, args) == ("", f"{name} -1 is negative")
    assert (guest / "new").read_bytes() == b"old"


def test_copy_of_more_than_there_is_fails_and_leaves_no_file(daemon: Guestfsd, guest: Path, big: bytes) -> None:
    args = CopyFileToFileArgs(BIG, NEW, srcoffset=BIG_BYTES - 5, size=10)
    assert daemon.error(COPY_FILE_TO_FILE, args) == ("", "/big: the input is too short")
    assert not (guest / "new").exists()
    (guest / "new").write_bytes(b"old")
    assert daemon.error(COPY_FILE_TO_FILE, args._replace(append=True))[0] == ""
    assert (guest / "new").read_bytes() == b"old" + big[-5:]
    assert daemon.error(COPY_FILE_TO_FILE, args)[0] == ""
    assert (guest / "new").read_bytes() == big[-5:]


def test_copy_that_fails_keeps_a_link(daemon: Guestfsd, guest: Path, big: bytes) -> None:
    args = CopyFileToFileArgs(BIG, GuestPath(b"/link"), size=BIG_BYTES + 1)
    assert daemon.error(COPY_FILE_TO_FILE, args)[0] == ""
    assert (guest / "link").is_symlink()


@pytest.mark.parametrize(
    ("src", "dest", "errno"),
    [
        (b"/none", b"/new", "ENOENT"),
        (b"/sub", b"/new", "EISDIR"),
        (b"/fifo", b"/new", "EINVAL"),
        (b"/null", b"/new", "EINVAL"),
        (b"/out", b"/new", "ENOENT"),
        (b"/hello", b"/sub", "EISDIR"),
        (b"/hello", b"/none/new", "ENOENT"),
        (b"/hello", b"/fifo", "ENXIO"),
        (b"/hello", b"/out", "ENOENT"),
    ],
)
def test_copy_is_between_regular_files_of_the_guest(
    daemon: Guestfsd, guest: Path, tmp_path: Path, src: bytes, dest: bytes, errno: str
) -> None:
    (guest / "out").symlink_to(tmp_path / "secret")
    args = CopyFileToFileArgs(GuestPath(src), GuestPath(dest))
    assert daemon.error(COPY_FILE_TO_FILE, args)[0] == errno
    assert (tmp_path / "secret").read_bytes() == b"host"


def test_copy_reports_its_progress(guest: Path, big: bytes) -> None:
    with started(guest, prelude="import daemon.progress as p\np.DELAY_S = p.INTERVAL_S = 0") as guestfsd:
        guestfsd.call(COPY_FILE_TO_FILE, CopyFileToFileArgs(BIG, NEW))
        assert len(guestfsd.progress) > 2
        assert {progress.total for progress in guestfsd.progress} == {BIG_BYTES}
        assert guestfsd.progress[-1] == Progress(
            COPY_FILE_TO_FILE.number, guestfsd.progress[0].serial, BIG_BYTES, BIG_BYTES
        )


def test_deprecated_forms(daemon: Guestfsd, guest: Path, big: bytes) -> None:
    daemon.call(DD, DdArgs(DeviceOrPath(BIG), DeviceOrPath(NEW)))
    assert (guest / "new").read_bytes() == big
    daemon.call(COPY_SIZE, CopySizeArgs(DeviceOrPath(BIG), DeviceOrPath(NEW), 10))
    assert (guest / "new").read_bytes() == big[:10]
    assert daemon.error(COPY_SIZE, CopySizeArgs(DeviceOrPath(BIG), DeviceOrPath(NEW), BIG_BYTES + 1))[0] == ""


def test_is_zero(daemon: Guestfsd, guest: Path) -> None:
    def is_zero() -> bool:
        return daemon.call(IS_ZERO, PathArgs(BIG))

    with (guest / "big").open("wb") as file:
        assert is_zero() is True
        file.truncate(3 << 20)
        assert is_zero() is True
        os.pwrite(file.fileno(), b"\1", (3 << 20) - 1)
        assert is_zero() is False
    assert daemon.error(IS_ZERO, PathArgs(GuestPath(b"/sub")))[0] == "EISDIR"
