"""Several processes at once, each of which sees what a local filesystem promises."""

import errno
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.posix.actor import Actor

ROUNDS: Final = 40
ACTORS: Final = 4
RACE_S: Final = 3.0
SEEN_S: Final = 0.002


@pytest.fixture(scope="module")
def crowd() -> Iterator[list[Actor]]:
    """Processes that work at the same time."""
    with ExitStack() as stack:
        yield [stack.enter_context(Actor()) for _ in range(ACTORS)]


@pytest.fixture(autouse=True)
def inside(place: Path, crowd: list[Actor]) -> None:
    """Work in the directory, everybody."""
    os.chdir(place)
    for actor in crowd:
        actor.call(os.chdir, place)


def create_first(round_number: int) -> bool:
    try:
        os.close(os.open(f"file-{round_number}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return False
    return True


def mkdir_first(round_number: int) -> bool:
    try:
        os.mkdir(f"directory-{round_number}")
    except FileExistsError:
        return False
    return True


def unlink_first(round_number: int) -> bool:
    try:
        os.unlink(f"file-{round_number}")
    except FileNotFoundError:
        return False
    return True


@pytest.mark.parametrize("call", [create_first, mkdir_first, unlink_first])
def test_only_one_is_first(crowd: list[Actor], call: object) -> None:
    assert callable(call)
    for number in range(ROUNDS):
        if call is unlink_first:
            Path(f"file-{number}").touch()
        for actor in crowd:
            actor.start(call, number)
        assert sum(actor.answer() for actor in crowd) == 1


def append_lines(who: int) -> None:
    descriptor = os.open("log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for number in range(ROUNDS):
        os.write(descriptor, b"%d %d %s\n" % (who, number, b"x" * (number * 37 % 500)))
    os.close(descriptor)


def test_appended_lines_are_all_there_and_whole(crowd: list[Actor]) -> None:
    for who, actor in enumerate(crowd):
        actor.start(append_lines, who)
    for actor in crowd:
        actor.answer()
    lines = Path("log").read_bytes().splitlines()
    assert len(lines) == ACTORS * ROUNDS
    for who in range(ACTORS):
        mine = [line for line in lines if line.startswith(b"%d " % who)]
        assert mine == [b"%d %d %s" % (who, number, b"x" * (number * 37 % 500)) for number in range(ROUNDS)]


def replace_over_and_over(who: int) -> None:
    for number in range(ROUNDS):
        temporary = Path(f"temporary-{who}")
        temporary.write_bytes(b"%d" % who * (1 + number * 1000))
        temporary.rename("target")


def read_over_and_over() -> set[bytes]:
    found = set()
    for _ in range(ROUNDS * 2):
        data = Path("target").read_bytes()
        found.add(bytes(sorted(set(data))))
    return found


def test_reader_of_a_file_that_is_replaced_sees_one_version_or_another(crowd: list[Actor]) -> None:
    Path("target").write_bytes(b"0")
    for who, actor in enumerate(crowd[:-1]):
        actor.start(replace_over_and_over, who)
    crowd[-1].start(read_over_and_over)
    for actor in crowd[:-1]:
        actor.answer()
    assert crowd[-1].answer() <= {b"0", b"1", b"2"}
    assert os.listdir() == ["target"]
    assert Path("target").stat().st_size == 1 + (ROUNDS - 1) * 1000


def make_and_remove(who: int) -> None:
    for number in range(ROUNDS):
        directory = Path(f"mine-{who}-{number}")
        directory.mkdir()
        (directory / "file").write_bytes(b"%d" % number)
        assert (directory / "file").read_bytes() == b"%d" % number
        (directory / "file").rename(directory / "other")
        assert os.listdir(directory) == ["other"]
        (directory / "other").unlink()
        directory.rmdir()
        assert not directory.exists()


def test_neighbours_do_not_disturb_each_other(crowd: list[Actor]) -> None:
    for who, actor in enumerate(crowd):
        actor.start(make_and_remove, who)
    for actor in crowd:
        actor.answer()
    assert os.listdir() == []


def write_regions(who: int) -> None:
    with Path("regions").open("r+b", buffering=0) as file:
        for number in range(ROUNDS):
            file.seek((number * ACTORS + who) * 1000)
            file.write(b"%d" % who * 1000)


def test_regions_of_one_file_written_side_by_side(crowd: list[Actor]) -> None:
    Path("regions").touch()
    for who, actor in enumerate(crowd):
        actor.start(write_regions, who)
    for actor in crowd:
        actor.answer()
    assert Path("regions").read_bytes() == b"".join(b"%d" % who * 1000 for who in range(ACTORS)) * ROUNDS


def rename_around(old: str, new: str) -> int:
    count = 0
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        try:
            os.rename(old, new)
        except OSError:
            continue
        count += 1
    return count


def test_directories_renamed_into_each_other_end_as_a_tree(crowd: list[Actor]) -> None:
    for name in ("a", "b"):
        Path(name, "inner").mkdir(parents=True)
    moves = (("a", "b/inner/a"), ("b", "a/inner/b"), ("b/inner/a", "a"), ("a/inner/b", "b"))
    for actor, (old, new) in zip(crowd, moves, strict=True):
        actor.start(rename_around, old, new)
    assert sum(actor.answer() for actor in crowd) > 0
    assert sum(len(names) for _, names, _ in os.walk(".")) == 4


def _chances() -> Iterator[None]:
    until = time.monotonic() + RACE_S
    while time.monotonic() < until:
        yield


def read_again_and_again() -> dict[str, int]:
    """Count what becomes of opening and reading a file that others put there and remove."""
    seen: dict[str, int] = {}
    for _ in _chances():
        try:
            descriptor = os.open("file", os.O_RDONLY)
        except OSError as exc:
            outcome = f"open: {errno.errorcode[exc.errno or 0]}"
        else:
            try:
                outcome = str(len(os.read(descriptor, 100)))
            except OSError as exc:
                outcome = f"read: {errno.errorcode[exc.errno or 0]}"
            os.close(descriptor)
        seen[outcome] = seen.get(outcome, 0) + 1
    return seen


def rename_and_remove() -> None:
    for _ in _chances():
        Path("new").write_bytes(b"x" * 50)
        os.rename("new", "file")
        time.sleep(random.random() * SEEN_S)
        os.unlink("file")


def link_and_remove() -> None:
    for _ in _chances():
        Path("new").write_bytes(b"x" * 50)
        os.link("new", "file")
        os.unlink("new")
        time.sleep(random.random() * SEEN_S)
        os.unlink("file")


@pytest.mark.parametrize("remove", [rename_and_remove, link_and_remove])
def test_whoever_has_opened_a_file_can_read_it(crowd: list[Actor], remove: Callable[[], None]) -> None:
    reader, other, remover, _ = crowd
    seen: list[dict[str, int]] = []
    while not any("50" in outcomes for outcomes in seen) and len(seen) < 20:  # on a busy machine none may come to it
        for actor, call in ((reader, read_again_and_again), (other, read_again_and_again), (remover, remove)):
            actor.start(call)
        seen += [reader.answer(), other.answer()]
        remover.answer()
    assert all(outcomes.keys() <= {"50", "open: ENOENT"} for outcomes in seen), seen
    assert any("50" in outcomes for outcomes in seen), seen
