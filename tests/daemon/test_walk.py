"""The walk tells what lstat(2) and readlink(2) tell, of whole subtrees."""

import os
import subprocess
from pathlib import Path

import pytest

from daemon.session import Session
from daemon.sysroot import Sysroot
from daemon.walk import _ReadAhead
from rpc.codec import GuestPath, UInt32
from rpc.hot import STATNS, WalkDecoder, WalkPart
from rpc.procedures import WALK
from rpc.procedures.extensions import WalkArgs, WalkState
from tests.daemon.guestfsd import Guestfsd
from tests.daemon.test_stat import expected
from tests.guests.mapped import empty_image, remounted

MANY = 600


def walked(daemon: Guestfsd, *paths: bytes, max_entries: int = 100_000, by_name: bool = False) -> list[WalkPart]:
    """Return the parts of a walk's listings."""
    args = WalkArgs([GuestPath(path) for path in paths], UInt32(max_entries), by_name)
    decoder = WalkDecoder()
    parts = list(decoder.feed(daemon.download(WALK, args)))
    decoder.finish()
    return parts


def order_of(parts: list[WalkPart]) -> list[bytes]:
    """Return the directories, in the order in which they came whole."""
    return [part.path for part in parts if part.state != WalkState.CONTINUED]


def test_attributes_and_targets_are_those_of_the_files(daemon: Guestfsd, guest: Path) -> None:
    os.utime(guest / "hello", ns=(1, -1))
    (guest / "sub" / "deep").mkdir()
    daemon.hello()
    walked(daemon, b"/")  # sets access times, once (relatime)
    parts = walked(daemon, b"/")
    assert {part.path for part in parts} == {b"/", b"/sub", b"/sub/deep"}
    for part in parts:
        top = os.fsencode(guest) + part.path
        assert part.state == WalkState.COMPLETE
        assert sorted(part.names) == sorted(os.listdir(top))  # noqa: PTH208 - bytes
        for index, name in enumerate(part.names):
            path = top + b"/" + name
            *stat, spare = STATNS.unpack_from(part.stats, index * STATNS.size)[:17]
            assert stat == list(expected(os.lstat(path))[:16])
            assert spare in (0, 1)
            target = os.readlink(path) if os.path.islink(path) else None  # noqa: PTH114, PTH115 - bytes
            assert part.targets.get(index) == target


@pytest.mark.root
@pytest.mark.parametrize("flag", ["i", "a"])
def test_walk_tells_which_files_nothing_protects(daemon: Guestfsd, guest: Path, flag: str) -> None:
    subprocess.run(["chattr", f"+{flag}", guest / "hello"], check=True)
    try:
        daemon.hello()
        (part,) = (part for part in walked(daemon, b"/") if part.path == b"/")
    finally:
        subprocess.run(["chattr", f"-{flag}", guest / "hello"], check=True)
    spares = [STATNS.unpack_from(part.stats, index * STATNS.size)[16] for index in range(len(part.names))]
    unprotected = dict(zip(part.names, spares, strict=True))
    assert unprotected.pop(b"hello") == 0
    assert set(unprotected.values()) == {1}


def test_large_directory_comes_in_parts(daemon: Guestfsd, guest: Path) -> None:
    for number in range(MANY):
        (guest / f"sub/{number}").touch()
    daemon.hello()
    parts = walked(daemon, b"/sub")
    assert [part.state for part in parts] == [WalkState.CONTINUED, WalkState.CONTINUED, WalkState.COMPLETE]
    names = [name for part in parts for name in part.names]
    assert sorted(names) == sorted([b"inner", *(b"%d" % number for number in range(MANY))])


def test_order_is_that_of_a_walker(daemon: Guestfsd, guest: Path) -> None:
    for path in ("sub/x/1", "sub/y/2", "sub/z"):
        (guest / path).mkdir(parents=True)
    daemon.hello()
    walk = [os.fsencode(top) for top, _, _ in os.walk(guest)]
    below = [b"/" + os.path.relpath(top, os.fsencode(guest)) for top in walk[1:]]
    assert order_of(walked(daemon, b"/")) == [b"/", *below]


def test_order_is_that_of_names_if_asked_for(daemon: Guestfsd, guest: Path) -> None:
    for path in ("sub/c/2", "sub/c/1", "sub/a", "sub/b/3", "sub/d"):
        (guest / path).mkdir(parents=True)
    daemon.hello()
    found = order_of(walked(daemon, b"/sub", b"/sub/d", by_name=True))
    assert found == [b"/sub", b"/sub/a", b"/sub/b", b"/sub/b/3", b"/sub/c", b"/sub/c/1", b"/sub/c/2", *[b"/sub/d"] * 2]


def test_no_listing_begins_after_enough_entries(daemon: Guestfsd, guest: Path) -> None:
    (guest / "sub" / "deep").mkdir()
    daemon.hello()
    assert order_of(walked(daemon, b"/sub", b"/", max_entries=1)) == [b"/sub"]


def test_directory_that_cannot_be_listed_is_marked(daemon: Guestfsd) -> None:
    daemon.hello()
    parts = walked(daemon, b"/missing", b"/hello", b"/sub")
    assert [part.state for part in parts] == [WalkState.UNREADABLE, WalkState.UNREADABLE, WalkState.COMPLETE]
    assert order_of(parts) == [b"/missing", b"/hello", b"/sub"]


def test_empty_directory_is_listed(daemon: Guestfsd, guest: Path) -> None:
    (guest / "sub" / "inner").unlink()
    daemon.hello()
    (part,) = walked(daemon, b"/sub")
    assert (part.state, part.names, part.stats) == (WalkState.COMPLETE, [], b"")


def test_links_are_not_followed_and_dots_do_not_leave_the_guest(daemon: Guestfsd, guest: Path) -> None:
    (guest / "out").symlink_to("/..")
    daemon.hello()
    assert b"/out" not in order_of(walked(daemon, b"/"))
    (top,) = (part for part in walked(daemon, b"/../..") if part.path == b"/../..")
    assert b"hello" in top.names


@pytest.mark.parametrize("chunk_max_bytes", [8192, 1 << 20])
def test_stream_is_the_same_however_long_chunks_are(daemon: Guestfsd, guest: Path, chunk_max_bytes: int) -> None:
    for number in range(MANY):
        (guest / f"sub/{number}").touch()
    daemon.hello(chunk_max_bytes)
    assert sum(len(part.names) for part in walked(daemon, b"/sub")) == MANY + 1


@pytest.mark.root
def test_ext4_reads_more_inodes_ahead_while_a_walk_lasts(tmp_path: Path) -> None:
    image = empty_image(tmp_path / "image", 50)
    with remounted([image], ("mkfs.ext4", "-q"), lambda root: (root / "x").touch()) as (root, (device,)):
        setting = Path(f"/sys/fs/ext4/{device.name}/inode_readahead_blks")
        before = setting.read_text()
        ahead = _ReadAhead(Session(Sysroot(os.fsencode(root))))
        assert setting.read_text() == "1024\n" != before
        ahead.close()
        assert setting.read_text() == before
