"""The stream of a walk, cut anywhere and damaged anywhere."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpc.errors import RemoteProtocolError
from rpc.hot import STATNS, WalkDecoder, WalkPart
from tests.rpc.strategies import BRIEFLY

LINK, FILE = 0o120777, 0o100644


def statx(mode: int, ino: int = 7, mask: int = 0x7FF, flags: int = 0, known: int = 0) -> bytes:
    """Return a struct statx."""
    head = struct.pack("<IIQIIIHxxQQQQ", mask, 4096, flags, 1, 2, 3, mode, ino, 5, 8, known)
    times = b"".join(struct.pack("<qIxxxx", second, second + 1) for second in (10, 20, 30, 40))
    return (head + times + struct.pack("<IIII", 1, 3, 8, 1)).ljust(256, b"\xff")


def part(path: bytes, names: list[bytes], stats: list[bytes], targets: list[bytes], state: int = 1) -> bytes:
    """Return one part of a walk's stream."""
    joined, links = b"\0".join(names), b"\0".join(targets)
    head = struct.pack(">5I", len(path), state, len(names), len(joined), len(links))
    return b"".join([head, path, joined, links, *stats])


STREAM = (
    part(b"/", [b"file", b"link", b"gone"], [statx(FILE), statx(LINK), statx(0, mask=0)], [b"target"])
    + part(b"/missing", [], [], [], state=0)
    + part(b"/empty", [], [], [])
)


def decoded(*pieces: bytes) -> list[WalkPart]:
    decoder = WalkDecoder()
    parts = [found for piece in pieces for found in decoder.feed(piece)]
    decoder.finish()
    return parts


def test_parts_hold_what_the_kernel_said() -> None:
    top, missing, empty = decoded(STREAM)
    assert (top.path, top.state, top.names, top.targets) == (b"/", 1, [b"file", b"link", b"gone"], {1: b"target"})
    # dev 8:1, rdev 1:3; times in the order of Statns: atime, mtime, ctime
    facts = (0x801, 7, FILE, 1, 2, 3, 0x103, 5, 4096, 8, 10, 11, 40, 41, 30, 31, *[0] * 6)
    assert STATNS.unpack_from(top.stats) == facts
    assert STATNS.unpack_from(top.stats, 2 * STATNS.size)[1] == -1
    assert (missing.state, missing.names, empty.state, empty.names) == (0, [], 1, [])


@pytest.mark.parametrize(
    ("flags", "known", "spare"), [(0, 0x30, 1), (0, 0x10, 0), (0x10, 0x30, 0), (0x21, 0xFF, 0), (0x1, 0xFF, 1)]
)
def test_parts_tell_what_nothing_protects(flags: int, known: int, spare: int) -> None:
    (found,) = decoded(part(b"/", [b"file"], [statx(FILE, flags=flags, known=known)], []))
    assert STATNS.unpack(found.stats)[16] == spare


@given(st.lists(st.integers(0, len(STREAM)), max_size=9))
@BRIEFLY
def test_cuts_do_not_matter(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    assert decoded(*(STREAM[a:b] for a, b in pairwise(places))) == decoded(STREAM)


@given(st.integers(0, len(STREAM) - 1), st.integers(1, 255), st.integers(0, len(STREAM)))
@BRIEFLY
def test_damage_is_an_error_or_other_values(position: int, change: int, length: int) -> None:
    damaged = bytearray(STREAM)
    damaged[position] ^= change
    try:
        decoded(bytes(damaged[:length]))
    except RemoteProtocolError:
        return


@pytest.mark.parametrize(
    "stream",
    [
        STREAM[:-1],
        part(b"/", [b"file"], [statx(FILE)], [b"target"]),
        part(b"/", [b"link"], [statx(LINK)], [b"one", b"two"]),
        part(b"/", [b"a\0b"], [statx(FILE)], []),
        part(b"/", [], [], [], state=3),
        struct.pack(">5I", 1, 1, 1 << 30, 1, 0),
    ],
)
def test_impossible_part_is_refused(stream: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decoded(stream)
