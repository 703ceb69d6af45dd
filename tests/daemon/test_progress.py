"""Progress arrives at most a few times a second (guestfs-protocol section 2.5)."""

import time
from itertools import pairwise
from pathlib import Path

import pytest

from daemon.progress import DELAY_S, INTERVAL_S, ProgressClock
from rpc.codec import DeviceOrPath
from rpc.procedures import DOWNLOAD
from rpc.procedures.transfers import RemoteFileArgs
from tests.daemon.guestfsd import started


class Clock:
    """A ProgressClock, what it sends and when, and a time that tests set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        self.sent: list[tuple[float, int, int]] = []
        monkeypatch.setattr("daemon.progress.time.monotonic", lambda: self.now_s)
        self.clock = ProgressClock(lambda position, total: self.sent.append((self.now_s, position, total)))

    def run(self, seconds: float, step_s: float = 0.01) -> None:
        """Make a call that reports at every step."""
        self.clock.start()
        start_s = self.now_s
        steps = round(seconds / step_s)
        for step in range(steps):
            self.now_s = start_s + step * step_s
            self.clock.report(step, steps)
        self.clock.finish()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_nothing_is_reported_of_a_call_shorter_than_the_delay(clock: Clock) -> None:
    clock.run(DELAY_S)
    assert clock.sent == []


def test_reports_of_a_long_call_keep_their_distance_and_end_with_the_whole(clock: Clock) -> None:
    clock.run(10.0)
    *reports, last = clock.sent
    times_s = [when for when, _, _ in reports]
    assert times_s[0] >= 1000 + DELAY_S
    assert all(later - earlier >= INTERVAL_S for earlier, later in pairwise(times_s))
    assert len(reports) == pytest.approx((10.0 - DELAY_S) / INTERVAL_S, abs=1.5)
    assert last[1:] == (1000, 1000)


def test_next_call_waits_for_the_delay_again(clock: Clock) -> None:
    clock.run(3.0)
    count = len(clock.sent)
    clock.run(DELAY_S)
    assert len(clock.sent) == count > 1


def test_slowly_taken_download_reports_a_few_times_a_second(guest: Path) -> None:
    with (guest / "big").open("wb") as file:
        file.truncate(64 << 20)
    with started(guest, prelude="import daemon.progress as p\np.DELAY_S = 0") as guestfsd:
        guestfsd.hello()
        start_s = time.monotonic()
        guestfsd.start_download(DOWNLOAD, RemoteFileArgs(DeviceOrPath(b"/big")))
        for _ in guestfsd.chunks():
            time.sleep(0.02)
        elapsed_s = time.monotonic() - start_s
        assert 2 <= len(guestfsd.progress) <= elapsed_s / INTERVAL_S + 2
        assert guestfsd.progress[-1].position == guestfsd.progress[-1].total == 64 << 20
        assert guestfsd.finish() == (0, "")
