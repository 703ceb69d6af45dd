"""File contents, read in every order."""

import os
import random
import threading

import pytest

from tests.mount.conftest import Mounted
from tests.mount.source import NAMES, SIZES_BYTES, SPARSE_BYTES


@pytest.mark.parametrize("size", SIZES_BYTES)
def test_whole_file_is_the_same(tree: Mounted, size: int) -> None:
    name = f"contents/{size}"
    assert (tree.path / name).read_bytes() == (tree.source / name).read_bytes()


def test_random_pieces_are_the_same(tree: Mounted) -> None:
    generator = random.Random(7)
    for size in SIZES_BYTES[-6:]:
        expected = (tree.source / f"contents/{size}").read_bytes()
        descriptor = os.open(tree.path / f"contents/{size}", os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            for _ in range(150):
                offset = generator.randrange(size + 5000)
                count = generator.randrange(1, 400_000)
                assert os.pread(descriptor, count, offset) == expected[offset : offset + count]
        finally:
            os.close(descriptor)


def test_sparse_file_reads_right_at_both_ends(tree: Mounted) -> None:
    with (tree.path / "contents/sparse").open("rb") as file:
        assert file.read(8) == b"begin\0\0\0"
        file.seek(SPARSE_BYTES - 6)
        assert file.read() == b"\0\0\0end"
        file.seek(SPARSE_BYTES)
        assert file.read(1) == b""
        file.seek(SPARSE_BYTES // 2)
        assert file.read(1 << 20) == bytes(1 << 20)


def test_file_left_in_the_middle_can_be_read_again(tree: Mounted) -> None:
    path = tree.path / f"contents/{SIZES_BYTES[-1]}"
    expected = (tree.source / f"contents/{SIZES_BYTES[-1]}").read_bytes()
    for length in (5 << 20, 1 << 20, 300_000):
        with path.open("rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            assert file.read(length) == expected[:length]


def test_concurrent_readers_get_what_is_theirs(tree: Mounted) -> None:
    failures: list[object] = []

    def read(seed: int) -> None:
        generator = random.Random(seed)
        try:
            for _ in range(60):
                name = f"small/{generator.randrange(12):02}/{generator.randrange(150)}"
                if seed % 3 == 0:
                    name = f"contents/{generator.choice(SIZES_BYTES)}"
                if (tree.path / name).read_bytes() != (tree.source / name).read_bytes():
                    failures.append(name)
        except OSError as exc:
            failures.append(exc)

    readers = [threading.Thread(target=read, args=(seed,)) for seed in range(9)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert failures == []


def test_small_files_in_order_are_the_same(tree: Mounted) -> None:
    for directory in sorted((tree.path / "small").iterdir()):
        for path in directory.iterdir():
            assert path.read_bytes() == (tree.source / "small" / directory.name / path.name).read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_name_that_is_not_text_opens(tree: Mounted, name: bytes) -> None:
    assert (tree.path / "names" / os.fsdecode(name)).read_bytes() == name
