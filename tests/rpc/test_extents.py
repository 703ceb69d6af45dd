"""The stream of ``map_files``: whole parts come out wherever it is cut, and whatever is wrong is an error."""

import struct
import tracemalloc
from itertools import pairwise
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpc.errors import RemoteProtocolError
from rpc.extents import EXTENT, MapDecoder, MapPart
from tests.rpc.extents import ONE, block, part, slot, stream_of
from tests.rpc.strategies import BRIEFLY

GOLDEN: Final = bytes.fromhex(
    "0000000000000027" "00000003"  # mount 39, three files
    "0000000000000000" "ffffffffffffffff" "00000000" "01000000" "01000000" "00000000"
    "0000000000000000" "0010000000000000" "0020000000000000" + "00" * 16 + "01000000" + "00" * 12
    + "00" * 88
    + "0000000000000000" "ffffffffffffffff" "00000000" "00000000" "01000000" "00000000" + "00" * 56
)  # fmt: skip
STREAM: Final = (
    part(39, slot(ONE), slot(ONE, follows=1), slot(None), slot(b""), slot(ONE, follows=1))
    + block(ONE, ONE)
    + block(ONE)
    + block()
    + struct.pack(">I", 0xFFFFFFFF)
    + part(40)
    + part(0, slot(None))
)
WHOLE: Final = [MapPart(39, [ONE, ONE * 3, None, b"", None]), MapPart(40, []), MapPart(0, [None])]


def decoded(*pieces: bytes, extents_max: int = 100) -> list[MapPart]:
    decoder = MapDecoder(extents_max)
    parts = [found for piece in pieces for found in decoder.feed(piece)]
    decoder.finish()
    return parts


def test_stream_is_laid_out_as_the_documents_say() -> None:
    assert decoded(GOLDEN) == [MapPart(39, [ONE, None, b""])]
    assert list(EXTENT.iter_unpack(ONE)) == [(0, 4096, 8192, 1)]


def test_blocks_are_joined_with_the_file_they_are_of() -> None:
    assert decoded(STREAM) == WHOLE


@given(st.lists(st.integers(0, len(STREAM)), max_size=9))
@BRIEFLY
def test_cuts_do_not_matter(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    assert decoded(*(STREAM[a:b] for a, b in pairwise(places))) == WHOLE


@given(st.integers(0, len(STREAM) - 1), st.integers(1, 255), st.integers(0, len(STREAM)))
@BRIEFLY
def test_damage_is_an_error_or_other_values(position: int, change: int, length: int) -> None:
    damaged = bytearray(STREAM)
    damaged[position] ^= change
    try:
        decoded(bytes(damaged[:length]))
    except RemoteProtocolError:
        return


def test_stream_cut_in_a_part_is_refused() -> None:
    ends = []
    for end in range(len(STREAM) + 1):
        try:
            ends.append(len(decoded(STREAM[:end])))
        except RemoteProtocolError:
            continue
    assert ends == [0, 1, 2, 3]


@pytest.mark.parametrize("held_max_bytes", [0, len(ONE), 2 * len(ONE)])
def test_large_part_comes_in_several(monkeypatch: pytest.MonkeyPatch, held_max_bytes: int) -> None:
    monkeypatch.setattr("rpc.extents._HELD_MAX_BYTES", held_max_bytes)
    files = [ONE * count for count in (1, 3, 2, 0, 2, 4, 1)]
    many = [index for index, extents in enumerate(files) if len(extents) > len(ONE)]
    found = decoded(stream_of(39, *files), part(40, slot(ONE)))
    assert [each for told in found[:-1] for each in told.files] == files
    assert found[-1] == MapPart(40, [ONE])
    assert {told.filesystem for told in found[:-1]} == {39}
    assert 2 <= len(found) - 1 <= len(many)


def test_what_is_held_of_a_part_is_bounded() -> None:
    decoder = MapDecoder(1 << 16)
    tracemalloc.start()
    try:
        assert list(decoder.feed(part(39, *[slot(ONE, follows=1)] * 20))) == []
        blocks = block(*[ONE] * 1024)
        count = 0
        for _ in range(20):
            for _ in range(64):
                assert list(decoder.feed(blocks)) == []
            count += sum(len(told.files) for told in decoder.feed(block()))
        decoder.finish()
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 20
    assert peak_bytes < 20 << 20


def test_file_of_too_many_extents_cannot_be_mapped() -> None:
    assert decoded(STREAM, extents_max=2)[0].files == [ONE, None, None, b"", None]


@pytest.mark.parametrize(
    "stream",
    [
        struct.pack(">QI", 39, 1 << 31),
        part(39, slot(ONE, follows=2)),
        part(39, slot(ONE, mapped=2)),
        part(39, slot(ONE, follows=1)) + struct.pack(">I", 1 << 31),
    ],
)
def test_impossible_stream_is_refused(stream: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decoded(stream)
