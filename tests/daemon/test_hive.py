"""Hives that were made to keep their reader busy, or are damaged: their reading ends soon, and tells what is wrong."""

import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import pytest

from daemon.guest_view import GuestView
from daemon.hive import Hive, HiveError, text_of
from daemon.session import CallError, Session
from daemon.sysroot import Sysroot
from daemon.systems import Looked, system_of
from daemon.unknown_system import UNKNOWN
from tests.guests.hives import MadeHive, fanning_out, looping, sharing_values, within_itself
from tests.guests.systems import SOFTWARE, SYSTEM, write_hive, write_tree

DEADLINE_S: Final = 20.0
"""Each takes a fraction of a second."""
CONFIG: Final = "Windows/System32/config"
VARIANTS: Final = 500


@pytest.fixture(autouse=True)
def _in_time() -> Iterator[None]:
    def late(_number: int, _frame: FrameType | None) -> NoReturn:
        pytest.fail(f"not done within {DEADLINE_S:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, DEADLINE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def hive_of(path: Path, content: bytes) -> Iterator[Hive]:
    path.write_bytes(content)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield Hive(descriptor)
    finally:
        os.close(descriptor)


def view_of(root: Path, end_s: float = float("inf")) -> GuestView:
    return GuestView(Session(Sysroot(bytes(root), is_plain_directory=True)), end_s=end_s)


def looked(root: Path) -> Looked:
    found = system_of(view_of(root))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (looping, "names one list twice"),
        (fanning_out, "more than 10000 keys and values"),
        (within_itself, "is within itself"),
    ],
)
def test_keys_without_end(tmp_path: Path, made: Callable[[], bytes], words: str) -> None:
    with hive_of(tmp_path / "hive", made()) as hive, pytest.raises(HiveError, match=words):
        hive.key("Microsoft", "Windows NT")


def test_lists_of_many_bytes(tmp_path: Path) -> None:
    """They are read again and again, and none of their keys has the hash of the name."""
    made = MadeHive()
    lists = [made.cell(b"lh\xff\xff" + bytes(8 * 0xFFFF)) for _ in range(33)]
    root = made.key("root", made.places(lists, b"ri"))
    with hive_of(tmp_path / "hive", made.file(root)) as hive, pytest.raises(HiveError, match="more than 16 MiB"):
        hive.key("Microsoft")


def test_values_without_end(tmp_path: Path) -> None:
    with hive_of(tmp_path / "hive", sharing_values()) as hive, pytest.raises(HiveError, match="more than 10000 keys"):
        hive.values(hive.key())


def test_long_texts_are_cut(tmp_path: Path) -> None:
    made = MadeHive()
    value = made.value("n" * 60_000, "text".encode("utf-16-le") * 50_000)
    root = made.key("r" * 60_000, values=made.places([value]), value_count=1)
    with hive_of(tmp_path / "hive", made.file(root)) as hive:
        key = hive.key()
        assert key is not None
        assert len(key.name) <= 1100
        ((name, found),) = hive.values(key).items()
        assert set(name) == {"n"}
        assert len(name) <= 1100
        assert text_of(found) == "text" * 128


@pytest.mark.parametrize("made", [looping, fanning_out, sharing_values, within_itself])
def test_windows_with_such_hives_is_windows(tmp_path: Path, made: Callable[[], bytes]) -> None:
    write_tree(tmp_path, {f"{CONFIG}/{name}": made() for name in ("SOFTWARE", "SYSTEM")})
    system, places = looked(tmp_path)
    assert (system.kind, system.product_name, system.hostname, places) == ("windows", UNKNOWN, UNKNOWN, {})


def test_damaged_hives_are_told_or_refused(tmp_path: Path) -> None:
    (tmp_path / CONFIG).mkdir(parents=True)
    whole = {}
    for name, registry in (("SOFTWARE", SOFTWARE), ("SYSTEM", SYSTEM.format(drive="01,02"))):
        write_hive(tmp_path / CONFIG / name, registry)
        whole[name] = (tmp_path / CONFIG / name).read_bytes()
    chance = random.Random(7)
    unlike = 0
    for _ in range(VARIANTS):
        for name, content in whole.items():
            (tmp_path / CONFIG / name).write_bytes(_damaged(content, chance))
        system, _ = looked(tmp_path)
        assert system.kind == "windows"
        unlike += system.product_name != "Windows 11 Pro"
    assert VARIANTS // 10 < unlike < VARIANTS


def _damaged(content: bytes, chance: random.Random) -> bytes:
    """Return a hive with bytes, numbers or its end changed; most are within the cells that are in use."""
    data = bytearray(content)
    used = len(content.rstrip(b"\0"))
    for _ in range(chance.choice((1, 3, 30))):
        place = chance.randrange(4096, used)
        if chance.random() < 0.5:
            data[place] = chance.choice((0, 0xFF, 0x80, chance.randrange(256)))
        else:  # as if a list named another cell
            place &= ~3
            data[place : place + 4] = chance.randrange(used).to_bytes(4, "little")
    return bytes(data[: chance.randrange(used) if chance.random() < 0.1 else len(data)])


def test_looking_ends_when_its_time_is_over(tmp_path: Path) -> None:
    write_tree(tmp_path, {"etc/fstab": "", "bin/": ""})
    with pytest.raises(CallError, match="takes too long"):
        system_of(view_of(tmp_path, end_s=0.0))


def test_what_a_system_says_of_itself_is_cut(tmp_path: Path) -> None:
    write_tree(tmp_path, {"etc/os-release": f"ID=debian\nPRETTY_NAME={'x' * 100_000}\n", "bin/": ""})
    assert looked(tmp_path).system.product_name == "x" * 1024
