from typing import Any

import pytest

from guestmount_py.allocation_map import AllocationMap
from rpc.errors import DriveError

K = 1024


def entry(start: int, length: int, **more: Any) -> dict[str, Any]:
    return {"start": start, "length": length, "depth": 0, "present": True, "zero": False, "data": True, **more}


def test_ranges_are_split_at_the_ends_of_runs() -> None:
    entries = [
        entry(0, 64 * K, offset=320 * K),
        entry(64 * K, 64 * K, offset=128 * K, depth=1),
        entry(128 * K, 64 * K, zero=True, data=False),
        entry(192 * K, 64 * K),
    ]
    allocation = AllocationMap(entries, 256 * K, [384 * K, 200 * K])
    assert not allocation.is_complete
    assert list(allocation.runs(63 * K, 130 * K)) == [
        (K, 0, 383 * K),
        (64 * K, 1, 128 * K),
        (64 * K, -1, 128 * K),
        (K, -2, 192 * K),
    ]
    assert list(allocation.runs(65 * K, 10)) == [(10, 1, 129 * K)]
    assert list(allocation.runs(256 * K, 0)) == []


def test_runs_that_go_on_are_one() -> None:
    entries = [
        entry(0, K, offset=64 * K),
        entry(K, K, offset=65 * K),
        entry(2 * K, K, offset=67 * K),
        entry(3 * K, K, offset=68 * K, depth=1),
        entry(4 * K, K, zero=True),
        entry(5 * K, K, zero=True, offset=69 * K),
        entry(6 * K, K),
        entry(7 * K, K, compressed=True, offset=3),
    ]
    allocation = AllocationMap(entries, 8 * K, [80 * K, 80 * K])
    assert len(allocation) == 5
    assert list(allocation.runs(0, 8 * K)) == [
        (2 * K, 0, 64 * K),
        (K, 0, 67 * K),
        (K, 1, 68 * K),
        (2 * K, -1, 4 * K),
        (2 * K, -2, 6 * K),
    ]


def test_zeros_count_whatever_else_is_said() -> None:
    allocation = AllocationMap([entry(0, K, zero=True, offset=1 << 60, depth=9)], K, [K])
    assert allocation.is_complete
    assert list(allocation.runs(0, K)) == [(K, -1, 0)]


def test_what_is_neither_data_nor_zeros_is_elsewhere() -> None:
    assert not AllocationMap([entry(0, K, data=False, offset=0)], K, [K]).is_complete


@pytest.mark.parametrize(
    "entries",
    [
        None,
        {},
        [],
        [None],
        [{}],
        [entry(0, K - 1, offset=0)],
        [entry(0, K + 1, offset=0)],
        [entry(0, 0, offset=0), entry(0, K, offset=0)],
        [entry(1, K - 1, offset=0)],
        [entry(0, 600, offset=0), entry(500, K - 500, offset=0)],
        [entry(0, 500, offset=0), entry(600, K - 600, offset=0)],
        [entry(0, K, offset=-1)],
        [entry(0, K, offset=K)],
        [entry(0, K, offset=1 << 62)],
        [entry(0, K, offset=True)],
        [entry(0, K, offset="0")],
        [entry(0, K, offset=0.0)],
        [entry(0, K, offset=0, depth=1)],
        [entry(0, K, offset=0, depth=-1)],
        [entry(0, K, offset=0, depth=None)],
    ],
)
def test_nonsense_is_refused(entries: Any) -> None:
    with pytest.raises(DriveError, match="allocation map"):
        AllocationMap(entries, K, [K])


def test_run_far_beyond_its_file_is_refused_and_one_in_its_last_cluster_is_not() -> None:
    cluster = 2 << 20
    AllocationMap([entry(0, cluster, offset=cluster)], cluster, [cluster + 1])
    with pytest.raises(DriveError, match="which are not there"):
        AllocationMap([entry(0, 3 * cluster, offset=cluster)], 3 * cluster, [cluster + 1])
