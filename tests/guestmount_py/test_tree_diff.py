"""Two streams are compared by their bytes, whatever way they are cut."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from hypothesis import given
from hypothesis import strategies as st

from guestmount_py.tree_diff import same_bytes

_CUTS = st.lists(st.integers(1, 5), max_size=30)


async def _pieces(data: bytes, cuts: list[int]) -> AsyncGenerator[bytes, None]:
    for cut in cuts:
        if data:
            yield data[:cut]
        data = data[cut:]
    if data:
        yield data


@given(one=st.binary(max_size=40), other=st.binary(max_size=40), cuts=_CUTS, other_cuts=_CUTS)
async def test_streams_are_the_same_if_their_bytes_are(
    one: bytes, other: bytes, cuts: list[int], other_cuts: list[int]
) -> None:
    for right in (one, other):
        async with aclosing(_pieces(one, cuts)) as left_pieces, aclosing(_pieces(right, other_cuts)) as right_pieces:
            assert await same_bytes(left_pieces, right_pieces) == (one == right)
