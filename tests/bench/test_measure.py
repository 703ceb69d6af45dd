import pytest

from bench.measure import Disagreement, Table
from bench.rows import READ, TAR


def test_contenders_that_found_different_files_fail_the_bench() -> None:
    table = Table()
    table.agree(TAR, "kernel", "1 bytes")
    table.agree(TAR, "fuse2fs", "1 bytes")
    table.agree(READ, "fuse2fs", "2 bytes")
    with pytest.raises(Disagreement, match="tar: guestmount-py found 2 bytes, but kernel found 1 bytes"):
        table.agree(TAR, "guestmount-py", "2 bytes")


def test_value_is_the_median_of_the_samples() -> None:
    table = Table()
    for seconds in (1.0, 2.0, 90.0):
        table.add(TAR, "kernel", seconds)
    assert table.cells["tar"]["kernel"].value == 2.0
