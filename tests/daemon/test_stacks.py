"""Ranges of devices that consist of several parts of disks."""

import pytest

from daemon.stacks import NotMappableError, Part, cut

PARTS = [Part("sdb", 4096, 1000), Part("sda", 0, 500), Part("sdb", 512, 300)]


@pytest.mark.parametrize(
    ("offset", "size_bytes", "found"),
    [
        (0, 1800, PARTS),
        (0, 1000, PARTS[:1]),
        (1000, 500, PARTS[1:2]),
        (999, 502, [Part("sdb", 5095, 1), Part("sda", 0, 500), Part("sdb", 512, 1)]),
        (1100, 100, [Part("sda", 100, 100)]),
        (1800, 0, []),
    ],
)
def test_range_is_cut_out_of_the_parts(offset: int, size_bytes: int, found: list[Part]) -> None:
    assert list(cut(PARTS, offset, size_bytes)) == found


@pytest.mark.parametrize(("offset", "size_bytes"), [(0, 1801), (1799, 2), (1801, 0), (5000, 1), (-1, 1), (10, -11)])
def test_range_outside_the_device_is_refused(offset: int, size_bytes: int) -> None:
    with pytest.raises(NotMappableError, match="too small"):
        list(cut(PARTS, offset, size_bytes))
