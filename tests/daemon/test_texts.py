"""Looking into files."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rpc.arguments import PathArgs
from rpc.codec import DeviceOrPath, GuestPath
from rpc.procedure import Procedure
from rpc.procedures import EQUAL, FILE, HEAD, HEAD_N, TAIL, TAIL_N, WC_C, WC_L, WC_W
from rpc.procedures.texts import EqualArgs, FileArgs, HeadNArgs
from tests.daemon.guestfsd import Guestfsd, started

TEXT = GuestPath(b"/text")
LINES = [*(f"line {number}" for number in range(1, 13)), "", "caf\udce9\r", "no newline at the end"]


@pytest.fixture(autouse=True)
def text(guest: Path) -> None:
    (guest / "text").write_bytes(os.fsencode("\n".join(LINES)))


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (b"/sub", "directory"),
        (b"/link", "symbolic link"),
        (b"/dangling", "symbolic link"),
        (b"/fifo", "FIFO"),
        (b"/socket", "socket"),
        (b"/null", "character device"),
        (b"/disk", "block device"),
        (b"/hello", "ASCII text"),
        (b"/caf\xe9", "empty"),
    ],
)
def test_file_says_what_it_is(daemon: Guestfsd, path: bytes, kind: str) -> None:
    assert daemon.call(FILE, FileArgs(DeviceOrPath(path))) == kind


def test_file_looks_into_what_is_compressed(daemon: Guestfsd, guest: Path) -> None:
    subprocess.run(["gzip", guest / "hello"], check=True)
    kind = daemon.call(FILE, FileArgs(DeviceOrPath(b"/hello.gz")))
    assert kind.startswith("ASCII text (gzip compressed data")
    assert daemon.error(FILE, FileArgs(DeviceOrPath(b"/none")))[0] == "ENOENT"


def test_head_and_tail(daemon: Guestfsd) -> None:
    assert daemon.call(HEAD, PathArgs(TEXT)) == LINES[:10]
    assert daemon.call(TAIL, PathArgs(TEXT)) == LINES[-10:]
    for number in (0, 1, 3, 15, 100):
        assert daemon.call(HEAD_N, HeadNArgs(number, TEXT)) == LINES[:number]
        assert daemon.call(TAIL_N, HeadNArgs(number, TEXT)) == (LINES[-number:] if number else [])
    assert daemon.call(HEAD_N, HeadNArgs(-3, TEXT)) == LINES[:-3]
    assert daemon.call(TAIL_N, HeadNArgs(-3, TEXT)) == LINES[2:]
    assert daemon.call(HEAD, PathArgs(GuestPath(b"/hello"))) == ["hello, world"]
    assert daemon.call(TAIL, PathArgs(GuestPath(b"/caf\xe9"))) == []


def test_line_too_long_for_a_reply(daemon: Guestfsd, guest: Path) -> None:
    with (guest / "text").open("wb") as file:
        file.truncate(1 << 40)  # to keep that would be the end of the appliance
    assert daemon.error(HEAD, PathArgs(TEXT)) == ("", "head wrote more than a reply can carry")


def test_wc_counts(daemon: Guestfsd, guest: Path) -> None:
    data = (guest / "text").read_bytes()
    assert daemon.call(WC_L, PathArgs(TEXT)) == data.count(b"\n")
    assert daemon.call(WC_W, PathArgs(TEXT)) == len(data.split())
    assert daemon.call(WC_C, PathArgs(TEXT)) == len(data)


def test_equal_compares_to_the_end(daemon: Guestfsd, guest: Path) -> None:
    data = os.urandom(600_000)
    (guest / "one").write_bytes(data)
    (guest / "two").write_bytes(data)
    args = EqualArgs(GuestPath(b"/one"), GuestPath(b"/two"))
    assert daemon.call(EQUAL, args) is True
    (guest / "two").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert daemon.call(EQUAL, args) is False
    (guest / "two").write_bytes(data[:-1])
    assert daemon.call(EQUAL, args) is False
    assert daemon.call(EQUAL, EqualArgs(GuestPath(b"/caf\xe9"), GuestPath(b"/caf\xe9"))) is True
    assert daemon.error(EQUAL, EqualArgs(TEXT, GuestPath(b"/none")))[0] == "ENOENT"


READERS: list[tuple[Procedure[Any, Any], Any]] = [
    *((row, PathArgs) for row in (HEAD, TAIL, WC_L, WC_W, WC_C)),
    (HEAD_N, lambda path: HeadNArgs(1, path)),
    (TAIL_N, lambda path: HeadNArgs(1, path)),
    (EQUAL, lambda path: EqualArgs(path, path)),
]


@pytest.mark.parametrize(("procedure", "args_of"), READERS, ids=[row.name for row, _ in READERS])
def test_only_regular_files_of_the_guest_are_read(
    daemon: Guestfsd, guest: Path, tmp_path: Path, procedure: Procedure[Any, Any], args_of: Any
) -> None:
    (guest / "out").symlink_to(tmp_path / "secret")
    expected = {b"/none": "ENOENT", b"/sub": "EISDIR", b"/fifo": "EINVAL", b"/null": "EINVAL", b"/out": "ENOENT"}
    assert {path: daemon.error(procedure, args_of(GuestPath(path)))[0] for path in expected} == expected


def test_guests_own_programs_are_not_run(guest: Path) -> None:
    for directory in ("usr/bin", "bin", "usr/sbin", "sbin"):
        (guest / directory).mkdir(parents=True)
        for name in ("file", "head", "wc"):
            (guest / directory / name).write_text("#!/bin/sh\necho hacked\n")
            (guest / directory / name).chmod(0o755)
    with started(guest) as guestfsd:
        assert guestfsd.call(FILE, FileArgs(DeviceOrPath(b"/hello"))) == "ASCII text"
        assert guestfsd.call(HEAD, PathArgs(GuestPath(b"/hello"))) == ["hello, world"]
