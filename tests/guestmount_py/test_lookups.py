"""Lookups in packed slots, against a plain dictionary."""

import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestmount_py.inode_numbers import HASHED
from guestmount_py.lookups import Lookups, Place

_INODES = st.integers(0, 70) | st.integers(HASHED, HASHED + 3) | st.integers(0, (1 << 63) - 1)
_STEPS = st.lists(st.tuples(_INODES, st.integers(-400, 300)), max_size=60)


@given(_STEPS)
def test_counts_and_places_are_those_of_a_dictionary(steps: list[tuple[int, int]]) -> None:
    lookups = Lookups()
    model: dict[int, tuple[int, Place]] = {}
    for number, (inode, change) in enumerate(steps):
        place = Place(number + 0xFFFFFF00, number + 0xFFFF00)
        if change >= 0:
            for _ in range(change):
                assert lookups.add(inode, *place) is (inode not in model)
                count, first = model.get(inode, (0, place))
                model[inode] = count + 1, first
        else:
            left, first = model.get(inode, (0, place))
            left += change
            assert lookups.subtract(inode, -change) == (first if inode in model and left <= 0 else None)
            if left > 0:
                model[inode] = left, first
            else:
                model.pop(inode, None)
        assert lookups.lookup_count(inode) == model.get(inode, (0, place))[0]
        assert lookups.place(inode) == (model[inode][1] if inode in model else None)
    assert lookups.count == len(model)
    assert sorted(lookups.places()) == sorted(place for _, place in model.values())
    for inode, (count, _) in model.items():
        lookups.subtract(inode, count)
    assert lookups.used_bytes == 0


@pytest.mark.parametrize("count", [5_000, 87_500, 100_000])
def test_made_up_numbers_take_no_more_than_is_counted(count: int) -> None:
    generator = random.Random(4)
    numbers = [HASHED | generator.getrandbits(62) for _ in range(count)]
    tracemalloc.start()
    try:
        lookups = Lookups()
        for position, inode in enumerate(numbers):
            lookups.add(int(str(inode)), 3, position)  # an object of its own, as each request has
        taken_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken_bytes <= lookups.used_bytes
