"""The exerciser of files: it finds nothing on a mount, and finds whatever is wrong."""

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.posix.actor import REPOSITORY
from tests.posix.conftest import share
from tests.posix.fsx import Exerciser, Mismatch

OPERATIONS: Final = {"ext4": 100_000, "xfs": 10_000, "btrfs": 10_000}
AT_ONCE: Final = 4


def start(file: Path, operations: int, seed: int) -> "subprocess.Popen[str]":
    words = [sys.executable, "-m", "tests.posix.fsx", str(file), f"--operations={operations}", f"--seed={seed}"]
    return subprocess.Popen(words, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("files", [1, AT_ONCE])
def test_no_byte_is_ever_wrong(place: Path, world_kind: str, filesystem: str, files: int) -> None:
    count = share(OPERATIONS[filesystem], world_kind) // files
    running = [start(place / f"file-{number}", count, random.randrange(1 << 32)) for number in range(files)]
    said = [exerciser.communicate() for exerciser in running]
    assert [exerciser.returncode for exerciser in running] == [0] * files, said


def _flip(descriptor: int) -> None:
    byte = os.pread(descriptor, 1, 0)
    os.pwrite(descriptor, bytes([byte[0] ^ 1]), 0)


def _cut(descriptor: int) -> None:
    os.ftruncate(descriptor, os.fstat(descriptor).st_size - 1)


def _grow(descriptor: int) -> None:
    os.ftruncate(descriptor, os.fstat(descriptor).st_size + 1)


@pytest.mark.parametrize("wrong", [_flip, _cut, _grow])
def test_a_single_wrong_byte_is_found(tmp_path: Path, wrong: Callable[[int], None]) -> None:
    for seed in range(20):
        exerciser = Exerciser(tmp_path / "file", seed)
        exerciser.run(200)
        while not exerciser.expected:
            exerciser.run(1)
        descriptor = os.open(tmp_path / "file", os.O_RDWR)
        wrong(descriptor)
        os.close(descriptor)
        with pytest.raises(Mismatch, match=f"seed {seed}, "):
            exerciser.check()
        exerciser.close()


def test_same_seed_does_the_same(tmp_path: Path) -> None:
    found = set()
    for _ in range(2):
        exerciser = Exerciser(tmp_path / "file", 5)
        exerciser.run(1000)
        found.add(bytes(exerciser.expected))
        exerciser.close()
    assert len(found) == 1
