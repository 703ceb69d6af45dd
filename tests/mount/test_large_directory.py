"""A directory with very many entries."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.mount.conftest import Mounted, mounted

ENTRY_COUNT: Final = 50_000


@pytest.fixture(scope="module", params=["extended", "standard"])
def large(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    source = tmp_path_factory.mktemp("large")
    for number in range(ENTRY_COUNT):
        os.close(os.open(source / f"{number:05}", os.O_CREAT | os.O_WRONLY))
    options = ["--standard"] if request.param == "standard" else []
    with mounted(source, tmp_path_factory.mktemp(request.param), *options) as served:
        yield served


def test_single_name_is_found_without_listing(large: Mounted) -> None:
    assert (large.path / "00042").stat().st_ino == (large.source / "00042").stat().st_ino
    assert not (large.path / "missing").exists()


def test_every_entry_is_listed_once(large: Mounted) -> None:
    found = [path.name for path in large.path.iterdir()]
    assert len(found) == ENTRY_COUNT
    assert set(found) == {f"{number:05}" for number in range(ENTRY_COUNT)}


def test_listing_resumes_where_it_was_left(large: Mounted) -> None:
    descriptor = os.open(large.path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        first = os.listdir(descriptor)  # noqa: PTH208 - by descriptor, so that its offset counts
        os.lseek(descriptor, 0, os.SEEK_SET)
        again = os.listdir(descriptor)  # noqa: PTH208
    finally:
        os.close(descriptor)
    assert first == again


def test_memory_stays_small(large: Mounted) -> None:
    list(large.path.iterdir())
    status = Path(f"/proc/{large.server.pid}/status").read_text()
    peak_kib = int(status.partition("VmHWM:")[2].split()[0])
    assert peak_kib < 100 * 1024


def test_iteration_from_an_offset_gives_the_rest(large: Mounted) -> None:
    with os.scandir(large.path) as entries:
        for _ in range(ENTRY_COUNT // 2):
            next(entries)
        assert sum(1 for _ in entries) == ENTRY_COUNT - ENTRY_COUNT // 2


def test_two_readers_do_not_disturb_each_other(large: Mounted) -> None:
    with os.scandir(large.path) as one, os.scandir(large.path) as other:
        pairs = zip(one, other, strict=True)
        assert all(left.name == right.name for left, right in pairs)
