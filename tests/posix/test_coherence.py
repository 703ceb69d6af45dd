"""Whoever looks, by whatever name, sees what was done last: as on a local filesystem."""

import os
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from io import RawIOBase
from pathlib import Path
from typing import Final

import pytest

from tests.posix.actor import Actor
from tests.posix.conftest import impossible_calls, new_place, share
from tests.posix.interleavings import interleave
from tests.posix.syscalls import RENAME_EXCHANGE, forget_files, renameat2
from tests.posix.twin import Twin
from tests.posix.worlds import STANDARD

INTERLEAVINGS: Final = {"ext4": 1000, "xfs": 200, "btrfs": 200}


@pytest.fixture(scope="module")
def processes() -> Iterator[list[Actor]]:
    """Start processes that take turns."""
    with ExitStack() as stack:
        yield [stack.enter_context(Actor()) for _ in range(3)]


def test_random_interleavings(
    kernels_world: Path, place: Path, world_kind: str, filesystem: str, processes: list[Actor]
) -> None:
    reference = new_place(kernels_world / filesystem)
    for _ in range(share(INTERLEAVINGS[filesystem], world_kind)):
        seed = random.SystemRandom().randrange(1 << 32)
        twin = Twin(new_place(reference), new_place(place), processes, impossible_calls(world_kind))
        twin.history.append(f"seed {seed}")
        interleave(twin, seed)


def test_two_names_of_one_file_are_one_file_for_all(place: Path, processes: list[Actor]) -> None:
    first, second, third = processes
    for actor in processes:
        actor.call(os.chdir, place)
    (place / "name").write_bytes(b"0" * 10_000)
    os.link(place / "name", place / "other")
    writer = first.call(os.open, "name", os.O_RDWR)
    reader = second.call(os.open, "other", os.O_RDONLY)
    for step in range(1, 30):
        first.call(os.pwrite, writer, b"%d" % (step % 10) * 5000, step * 100)
        assert second.call(os.pread, reader, 5000, step * 100) == b"%d" % (step % 10) * 5000
        assert second.call(os.fstat, reader).st_size == third.call(os.lstat, "name").st_size
    third.call(os.truncate, "other", 7)
    assert first.call(os.fstat, writer).st_size == 7
    third.call(os.chmod, "other", 0o604)
    assert second.call(os.lstat, "name").st_mode & 0o777 == 0o604
    third.call(os.unlink, "name")
    assert second.call(os.fstat, reader).st_nlink == first.call(os.lstat, "other").st_nlink == 1
    first.call(os.pwrite, writer, b"still", 0)
    assert second.call(os.pread, reader, 9, 0) == b"still00"
    first.call(os.close, writer)
    second.call(os.close, reader)


def test_what_was_written_by_a_name_that_went_at_once_is_there_by_the_other(place: Path) -> None:
    for number in range(10):
        (place / f"name-{number}").write_bytes(b"")
        os.link(place / f"name-{number}", place / f"other-{number}")
    os.sync()
    for _ in range(3):  # so nobody knows the other name any more
        forget_files()
    for number in range(10):
        (place / f"name-{number}").write_bytes(b"%d" % number * 5000)
    for number in range(10):
        (place / f"name-{number}").unlink()
    time.sleep(0.5)  # until what was promised has been made, or could not be
    for number in range(10):
        assert (place / f"other-{number}").read_bytes() == b"%d" % number * 5000


def test_count_of_names_is_exact_by_a_name_that_nobody_knew_when_another_was_replaced(place: Path) -> None:
    for number in range(10):
        (place / "name").write_bytes(b"contents")
        os.link(place / "name", place / "other")
        os.sync()
        os.listdir(place)
        for _ in range(3):  # so that nobody knows either name any more
            forget_files()
        with (place / "other").open("r+b") as file:
            (place / "new").write_bytes(b"%d" % number)
            (place / "new").rename(place / "other")
            assert os.fstat(file.fileno()).st_nlink == 1
        if number % 2:
            forget_files()
        assert (place / "name").stat().st_nlink == 1
        (place / "name").unlink()
        (place / "other").unlink()


def test_number_of_a_file_that_went_by_all_its_names_is_another_files(place: Path) -> None:
    for number in range(10):
        (place / "name").write_bytes(b"former" * 5000)
        os.link(place / "name", place / "other")
        (place / "other").unlink()
        (place / "name").unlink()
        (place / "new").write_bytes(b"%d" % number * 100)
        (place / "new").rename(place / "at last")
        assert (place / "at last").read_bytes() == b"%d" % number * 100


def test_long_files_that_swap_names_or_lose_them_are_read_as_they_are(place: Path, world_kind: str) -> None:
    """What is fetched ahead of a reader goes by a name; that may mean another file by then."""
    contents = [source.randbytes(9 << 20) for source in map(random.Random, range(2))]
    for step in range(5):
        names = place / "first", place / "second"
        for name, data in zip(names, contents, strict=True):
            name.write_bytes(data)
        os.sync()
        for _ in range(3):  # so that neither we nor the kernel know them any more
            Path("/proc/sys/vm/drop_caches").write_text("3")
        with ExitStack() as stack:
            files = [stack.enter_context(name.open("rb", buffering=0)) for name in names]
            beginnings = [file.read(step << 20) for file in files]
            if step % 2 and world_kind != STANDARD:
                renameat2(str(names[0]), str(names[1]), RENAME_EXCHANGE)
            else:
                names[0].unlink()
                names[1].rename(names[0])
            assert [begin + _rest(file) for begin, file in zip(beginnings, files, strict=True)] == contents
        for name in names:
            name.unlink(missing_ok=True)


def _rest(file: RawIOBase) -> bytes:
    return b"".join(iter(lambda: file.read(128 * 1024), b""))


def test_count_of_names_is_exact_right_after_a_file_was_cut(place: Path) -> None:
    (place / "name").write_bytes(b"contents")
    os.link(place / "name", place / "other")
    descriptor = os.open(place / "name", os.O_RDWR | os.O_TRUNC)
    (place / "other").unlink()
    assert os.fstat(descriptor).st_nlink == 1
    os.close(descriptor)


def test_directory_renamed_over_and_over_with_open_files_below(place: Path, processes: list[Actor]) -> None:
    first, second, third = processes
    for actor in processes:
        actor.call(os.chdir, place)
    (place / "start/below").mkdir(parents=True)
    (place / "start/below/file").write_bytes(b"")
    writer = first.call(os.open, "start/below/file", os.O_RDWR | os.O_APPEND)
    second.call(os.chdir, place / "start/below")
    name = "start"
    for step in range(30):
        third.call(os.rename, name, f"name-{step}")
        name = f"name-{step}"
        first.call(os.write, writer, b"%02d" % step)
        assert third.call(Path(f"{name}/below/file").read_bytes).endswith(b"%02d" % step)
        assert second.call(os.stat, "file").st_size == 2 * (step + 1)
        assert second.call(os.listdir, "../..") == [name]
        assert not (place / f"name-{step - 1}").exists()
    first.call(os.close, writer)


def test_file_that_is_replaced_while_it_is_read(place: Path, processes: list[Actor]) -> None:
    for actor in processes:
        actor.call(os.chdir, place)
    (place / "file").write_bytes(b"\0" * 300_000)
    for step in range(1, 20):
        reader = processes[0].call(os.open, "file", os.O_RDONLY)
        half = processes[0].call(os.read, reader, 150_000)
        (place / "new").write_bytes(bytes([step]) * (300_000 + step))
        processes[1].call(os.rename, "new", "file")
        assert half + processes[0].call(os.read, reader, 400_000) == bytes([step - 1]) * (300_000 + step - 1)
        assert processes[2].call(Path("file").read_bytes) == bytes([step]) * (300_000 + step)
        assert processes[0].call(os.fstat, reader).st_nlink == 0
        processes[0].call(os.close, reader)
