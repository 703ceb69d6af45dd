"""The stream of ``map_files``: whole records come out, and whatever is wrong with them is an error."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpc.errors import RemoteProtocolError
from rpc.extents import EXTENT, MORE, RECORD, REFUSED, WHOLE, decode_extents, decode_filesystem
from tests.rpc.strategies import BRIEFLY

ONE = EXTENT.pack(0, 4096, 8192, 1)
GOLDEN = bytes.fromhex(
    "0000000000000027"  # mount 39
    "00000001" "00000001" "0000000000000000" "0000000000001000" "0000000000002000" "00000001"
    "00000000" "00000000"
)  # fmt: skip


def record(state: int, *extents: bytes) -> bytes:
    return RECORD.pack(state, len(extents)) + b"".join(extents)


def test_stream_is_laid_out_as_the_documents_say() -> None:
    assert decode_filesystem(GOLDEN) == 39
    assert list(decode_extents(GOLDEN, 8)) == [(WHOLE, ONE), (REFUSED, b"")]
    assert list(EXTENT.iter_unpack(ONE)) == [(0, 4096, 8192, 1)]


@BRIEFLY
@given(st.lists(st.tuples(st.sampled_from([WHOLE, MORE]), st.lists(st.binary(min_size=28, max_size=28), min_size=1))))
def test_records_come_back_as_they_were_written(rows: list[tuple[int, list[bytes]]]) -> None:
    data = b"".join(record(state, *extents) for state, extents in rows)
    assert list(decode_extents(data)) == [(state, b"".join(extents)) for state, extents in rows]


def test_stream_cut_inside_a_record_is_refused() -> None:
    data = record(WHOLE, ONE) + record(REFUSED) + record(MORE, ONE, ONE)
    whole = []
    for end in range(len(data)):
        try:
            whole.append(len(list(decode_extents(data[:end]))))
        except RemoteProtocolError:
            continue
    assert whole == [0, 1, 2]


@pytest.mark.parametrize("head", [(3, 0), (0, 1), (2, 0), (0xFFFFFFFF, 1), (1, 0xFFFFFFFF), (1, 3)])
def test_impossible_record_is_refused(head: tuple[int, int]) -> None:
    with pytest.raises(RemoteProtocolError, match=r"a record of \d+ extents"):
        list(decode_extents(struct.pack(">II", *head) + ONE * 2))


def test_stream_without_its_filesystem_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="which filesystem"):
        decode_filesystem(bytes(7))
