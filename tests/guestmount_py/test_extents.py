"""Maps of files: what the kernel means by extents; and lies about them, which lead nowhere but to an error."""

import random
from collections.abc import Sequence
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestmount_py.extents import AddressMap, FileMap, Piece, file_map
from rpc.errors import RemoteProtocolError
from rpc.extents import EXTENT
from rpc.procedures.extensions import DeviceMap, DeviceSegment
from tests.rpc.strategies import BRIEFLY

LAST, UNWRITTEN, MERGED, SHARED = 0x1, 0x800, 0x1000, 0x2000
DRIVES: Final = {"drive0": 1 << 20, "drive1": 1 << 19}
PARTS: Final = (
    DeviceSegment(0, 100_000, "drive0", 1000),
    DeviceSegment(100_000, 50_000, "drive0", 101_000),  # goes on where the first one ends
    DeviceSegment(150_000, 10_000, "drive1", 0),
    DeviceSegment(500_000, 10_000, "drive0", (1 << 20) - 10_000),
)


def told(*segments: DeviceSegment, reason: str = "") -> DeviceMap:
    return DeviceMap(39, "ext4", reason, 4096, list(segments))


PLACES: Final = AddressMap(told(*PARTS), DRIVES)


def packed(*extents: tuple[int, int, int, int]) -> bytes:
    return b"".join(EXTENT.pack(*extent) for extent in extents)


def mapped(size_bytes: int, *extents: tuple[int, int, int, int]) -> FileMap:
    found = file_map(packed(*extents), size_bytes, PLACES)
    assert found is not None
    assert found.size_bytes == size_bytes
    return found


def test_extent_is_cut_at_the_end_of_the_file() -> None:
    found = mapped(5000, (0, 8192, 8192, LAST))
    assert found.pieces(0, 1 << 40) == [Piece(5000, "drive0", 9192)]
    assert found.pieces(4999, 10) == [Piece(1, "drive0", 14_191)]
    assert found.pieces(5000, 10) == []
    assert found.pieces(1, 2) == [Piece(2, "drive0", 9193)]


def test_gaps_unwritten_extents_and_what_is_behind_the_last_one_are_zeros() -> None:
    found = mapped(50_000, (4096, 0, 4096, 0), (12_288, 4096, 4096, UNWRITTEN), (20_480, 8192, 4096, LAST))
    assert found.pieces(0, 50_000) == [
        Piece(4096, None, 0),
        Piece(4096, "drive0", 1000),
        Piece(20_480 - 8192, None, 0),
        Piece(4096, "drive0", 9192),
        Piece(50_000 - 24_576, None, 0),
    ]
    assert found.pieces(9000, 100) == [Piece(100, None, 0)]
    assert mapped(7).pieces(0, 9) == [Piece(7, None, 0)]
    assert mapped(0).pieces(0, 9) == []


def test_unwritten_extent_needs_no_place() -> None:
    assert mapped(4096, (0, 1 << 60, 4096, UNWRITTEN | LAST)).pieces(0, 4096) == [Piece(4096, None, 0)]


def test_extent_over_several_segments_is_taken_apart_and_neighbours_are_joined() -> None:
    found = mapped(70_000, (0, 90_000, 30_000, MERGED), (30_000, 120_000, 40_000, SHARED | LAST))
    assert found.pieces(0, 70_000) == [Piece(60_000, "drive0", 91_000), Piece(10_000, "drive1", 0)]


def test_extents_behind_the_end_of_the_file_are_checked_but_not_kept() -> None:
    assert mapped(10, (0, 0, 4096, 0), (8192, 8192, 4096, LAST)).pieces(0, 99) == [Piece(10, "drive0", 1000)]
    with pytest.raises(RemoteProtocolError, match="outside the filesystem"):
        mapped(10, (0, 0, 4096, 0), (8192, 600_000, 4096, LAST))


@pytest.mark.parametrize("flag", [0x2, 0x4, 0x8, 0x10, 0x20, 0x40, 0x80, 0x100, 0x200, 0x400, 0x4000, 1 << 31])
def test_bytes_that_are_not_simply_on_the_disk_have_no_map(flag: int) -> None:
    assert file_map(packed((0, 0, 4096, 0), (4096, 0, 4096, flag | LAST)), 8192, PLACES) is None


def test_extents_without_their_end_are_no_map() -> None:
    assert file_map(packed((0, 0, 4096, 0)), 4096, PLACES) is None


def test_file_of_a_filesystem_that_cannot_be_mapped_has_no_map() -> None:
    places = AddressMap(told(reason="md0 is a RAID array\n(raid1)" + "!" * 1000), DRIVES)
    assert places.reason.startswith("md0 is a RAID array\\n(raid1)!!!")
    assert len(places.reason) == 201
    assert file_map(packed((0, 0, 4096, LAST)), 4096, places) is None


LIES: Final[dict[str, Sequence[tuple[int, int, int, int]]]] = {
    "overlap": [(0, 0, 4096, 0), (4095, 8192, 4096, LAST)],
    "descend": [(8192, 0, 4096, 0), (0, 8192, 4096, LAST)],
    "twice the same": [(0, 0, 4096, 0), (0, 0, 4096, LAST)],
    "nothing": [(0, 0, 0, LAST)],
    "longer than any file": [(0, 0, 1 << 63, 0), (1 << 63, 0, 1, LAST)],
    "wrap round in the file": [((1 << 64) - 4096, 0, 8192, LAST)],
    "unwritten that wraps round": [((1 << 64) - 4096, 0, 8192, UNWRITTEN | LAST)],
    "wrap round on the disk": [(0, (1 << 64) - 4096, 8192, LAST)],
    "before the gap of the map": [(0, 159_999, 2, LAST)],
    "in the gap of the map": [(0, 300_000, 4096, LAST)],
    "over the gap of the map": [(0, 100_000, 405_000, LAST)],
    "behind the map": [(0, 510_000, 1, LAST)],
    "over the end of the map": [(0, 509_999, 2, LAST)],
}


@pytest.mark.parametrize("extents", LIES.values(), ids=LIES)
def test_lie_about_extents_is_an_error(extents: Sequence[tuple[int, int, int, int]]) -> None:
    with pytest.raises(RemoteProtocolError, match=r"an extent of|outside the filesystem"):
        file_map(packed(*extents), 1 << 62, PLACES)


WRONG_MAPS: Final = {
    "a drive that there is not": told(DeviceSegment(0, 1, "drive2", 0)),
    "no drive": told(DeviceSegment(0, 1, "", 0)),
    "over the end of the drive": told(DeviceSegment(0, 1 << 20, "drive0", 1)),
    "behind the end of the drive": told(DeviceSegment(0, 1, "drive1", 1 << 63)),
    "an empty segment": told(DeviceSegment(0, 0, "drive0", 0)),
    "an overlap": told(DeviceSegment(0, 10, "drive0", 0), DeviceSegment(9, 10, "drive0", 100)),
    "descending": told(DeviceSegment(100, 10, "drive0", 0), DeviceSegment(0, 10, "drive0", 100)),
    "addresses that wrap round": told(DeviceSegment((1 << 64) - 1, 10, "drive0", 0)),
    "a length that wraps round": told(DeviceSegment(0, (1 << 64) - 1, "drive0", 2)),
    "neither segments nor a reason": told(),
    "segments and a reason": told(DeviceSegment(0, 1, "drive0", 0), reason="but"),
}


@pytest.mark.parametrize("wrong", WRONG_MAPS.values(), ids=WRONG_MAPS)
def test_lie_about_devices_is_an_error(wrong: DeviceMap) -> None:
    with pytest.raises(RemoteProtocolError, match=r"a segment of|a device map of"):
        AddressMap(wrong, DRIVES)


NUMBERS: Final = st.one_of(
    st.integers(0, 600_000),
    st.sampled_from([1 << 19, 1 << 20, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]),
)
SEGMENTS: Final = st.builds(DeviceSegment, NUMBERS, NUMBERS, st.sampled_from([*DRIVES, "drive2"]), NUMBERS)
EXTENTS: Final = st.tuples(NUMBERS, NUMBERS, NUMBERS, st.sampled_from([0, LAST, UNWRITTEN, UNWRITTEN | LAST, 8]))


def assert_inside(found: FileMap, offset: int, count: int) -> None:
    pieces = found.pieces(offset, count)
    assert sum(piece.size_bytes for piece in pieces) == max(0, min(count, found.size_bytes - offset))
    for size_bytes, serial, place in pieces:
        assert size_bytes > 0
        assert serial is None or 0 <= place <= place + size_bytes <= DRIVES[serial]


@BRIEFLY
@given(st.lists(SEGMENTS, max_size=4), st.lists(EXTENTS, max_size=5), NUMBERS, NUMBERS, NUMBERS)
def test_whatever_is_told_no_piece_leaves_its_drive(
    segments: list[DeviceSegment], extents: list[tuple[int, int, int, int]], size_bytes: int, offset: int, count: int
) -> None:
    for places in (sorted(segments)[:1], sorted(segments), segments):
        for rows in (sorted(extents), extents):
            try:
                found = file_map(packed(*rows), size_bytes, AddressMap(told(*places), DRIVES))
            except RemoteProtocolError:
                continue
            if found is not None:
                assert_inside(found, 0, size_bytes)
                assert_inside(found, offset, count)


@pytest.mark.parametrize("seed", range(20))
def test_map_agrees_with_a_table_of_every_byte(seed: int) -> None:
    source = random.Random(seed)
    size_bytes, position, extents = source.randrange(3000), 0, []
    table: list[tuple[str, int] | None] = [None] * 4000
    while position < 3000:
        length, kind = source.randrange(1, 300), source.choice((0, 0, UNWRITTEN, None))
        physical = source.randrange(149_000, 160_000 - length)
        if kind is not None:
            extents.append((position, physical, length, kind))
        if kind == 0:
            for index in range(length):
                address = physical + index
                place = ("drive0", address + 1000) if address < 150_000 else ("drive1", address - 150_000)
                table[position + index] = place
        position += length
    extents[-1] = (*extents[-1][:3], extents[-1][3] | LAST)
    found = mapped(size_bytes, *extents)
    for _ in range(50):
        offset, count = source.randrange(3100), source.randrange(800)
        told_bytes: list[tuple[str, int] | None] = []
        for piece_bytes, serial, start in found.pieces(offset, count):
            told_bytes += [None if serial is None else (serial, start + index) for index in range(piece_bytes)]
        assert told_bytes == table[: min(size_bytes, offset + count)][offset:]
