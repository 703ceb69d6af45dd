"""What is counted, and how it is written: whole or not at all."""

import json
import logging
import os
import signal
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from guestmount_py.events import CallEnded
from guestmount_py.mount import _write_on_signal
from guestmount_py.statistics import Statistics


def counted() -> Statistics:
    statistics = Statistics()
    for size_bytes in (10, 20):
        statistics.note_read("raw", size_bytes)
    statistics.note_read("zeros", 5)
    for seconds in (0.0, 0.000_001, 0.000_5, 0.000_6, 2.0):
        statistics.note_call(CallEnded("pread", None, seconds))
    statistics.note_call(CallEnded("lstatns", OSError("no"), 0.25))
    statistics.add_cache("maps", lambda: {"bytes": 7})
    return statistics


def test_everything_is_counted_by_name() -> None:
    assert counted().as_dict() == {
        "planes": {"raw": {"bytes": 30, "reads": 2}, "zeros": {"bytes": 5, "reads": 1}},
        "calls": {
            "lstatns": {"count": 1, "failed": 1, "total_s": 0.25, "below_us": {"262144": 1}},
            "pread": {
                "count": 5,
                "failed": 0,
                "total_s": 2.001101,
                "below_us": {"1": 1, "2": 1, "512": 1, "1024": 1, "2097152": 1},
            },
        },
        "caches": {"maps": {"bytes": 7}},
    }
    assert Statistics().as_dict() == {"planes": {}, "calls": {}, "caches": {}}


def test_file_is_replaced_whole_and_readable_for_all(tmp_path: Path) -> None:
    path = tmp_path / "stats"
    path.write_text("older")
    with path.open() as older:
        counted().write(path)
        assert older.read() == "older"
    assert json.loads(path.read_text()) == counted().as_dict()
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "directory"
    path.mkdir()
    (path / "file").touch()
    with pytest.raises(OSError, match="directory"):
        counted().write(path)
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError):
        counted().write(tmp_path / "missing/stats")


async def test_signal_writes_the_file_each_time_and_failing_is_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "there/stats"
    asked = trio.Semaphore(0)

    def figures() -> dict[str, int]:
        asked.release()
        return {}

    statistics = counted()
    statistics.add_cache("last", figures)
    async with trio.open_nursery() as nursery:
        await nursery.start(_write_on_signal, statistics, path)
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGUSR1)
            await asked.acquire()
            await wait_all_tasks_blocked()
            path.parent.mkdir(exist_ok=True)
        nursery.cancel_scope.cancel()
    assert json.loads(path.read_text())["planes"] == counted().as_dict()["planes"]
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.ERROR, f"the statistics cannot be written to {path}: No such file or directory")
    ]


async def test_signal_without_a_file_writes_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "guestmount_py")
    async with trio.open_nursery() as nursery:
        await nursery.start(_write_on_signal, counted(), None)
        os.kill(os.getpid(), signal.SIGUSR1)
        while not caplog.records:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    (message,) = [record.getMessage() for record in caplog.records]
    assert json.loads(message.removeprefix("statistics: ")) == counted().as_dict()
