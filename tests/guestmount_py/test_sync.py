"""The blocking handle, as a plain script uses it."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from appliance.state import State
from guestmount_py.events import LogMessage, Progress, StateChanged, SubprocessQuit
from guestmount_py.sync import SyncGuest
from rpc import procedures
from rpc.arguments import NoArgs
from rpc.errors import ConnectionLost, ProcedureError, StateError
from tests.guestmount_py.conftest import Bench
from tests.system.sandbox import REPOSITORY

MIB = 1 << 20


@pytest.fixture
def g(bench: Bench) -> Iterator[SyncGuest]:
    """Own a handle that is ready; at the end its thread has gone, too."""
    before = threading.active_count()
    with SyncGuest() as handle:
        handle.add_drive(bench.image)
        handle.launch()
        yield handle
    assert [thread for thread in threading.enumerate() if thread.name == "guestmount-py"] == []
    assert threading.active_count() <= before + 1  # trio keeps a worker thread for ten seconds


def test_script_reads_and_writes(g: SyncGuest, bench: Bench) -> None:
    assert g.state is State.READY
    g.write("/hello", b"hello\n")
    assert (bench.root / "hello").read_bytes() == b"hello\n"
    assert g.cat("/hello") == "hello\n"
    assert g.ls("/") == [b"hello"]
    assert g.filesize("/hello") == 6
    assert g.call(procedures.PING_DAEMON, NoArgs()) is None
    assert g.config.drives[0].path == bench.image
    with pytest.raises(ProcedureError, match="filesize: "):
        g.filesize("/absent")
    with pytest.raises(StateError, match="this handle is READY"):
        g.add_drive(bench.image)
    with pytest.raises(AttributeError, match="no procedure"):
        g.no_such_call()  # type: ignore[attr-defined]


def test_transfers_block_or_come_in_pieces(g: SyncGuest, bench: Bench) -> None:
    content = os.urandom(5 * MIB)
    local = bench.directory / "local"
    local.write_bytes(content)
    g.upload(local, "/remote")
    assert g.download("/remote").read() == content
    assert g.download("/remote").save(bench.directory / "copy") == len(content)
    assert (bench.directory / "copy").read_bytes() == content
    with g.download("/remote") as pieces:
        assert b"".join(pieces) == content
    g.upload((content[start : start + MIB] for start in range(0, 5 * MIB, MIB)), "/again")
    assert (bench.root / "again").read_bytes() == content


def test_download_that_is_left_early_leaves_the_handle_usable(g: SyncGuest, bench: Bench) -> None:
    (bench.root / "large").write_bytes(bytes(64 * MIB))
    for _ in range(2 * g.config.channel_count):
        with g.download("/large") as pieces:
            assert next(pieces)
        with pytest.raises(RuntimeError, match="the body's own"), g.download("/large") as pieces:
            raise RuntimeError("the body's own")
    assert g.download_offset("/large", 0, 10).read() == bytes(10)


def test_failing_download_fails_where_it_begins(g: SyncGuest) -> None:
    with pytest.raises(ProcedureError, match="download"), g.download("/absent"):
        pytest.fail("it began")


def test_death_in_the_middle_of_a_download_is_raised_where_the_pieces_are_taken(g: SyncGuest, bench: Bench) -> None:
    (bench.root / "large").write_bytes(bytes(64 * MIB))
    with g.download("/large") as pieces:
        next(pieces)
        os.kill(g.pid, signal.SIGKILL)
        with pytest.raises(ConnectionLost, match="the appliance went away"):
            list(pieces)
    assert g.state is State.CONFIG
    g.launch()
    assert g.exists("/large")


def _in_a_moment(act: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(0.3, act)
    timer.start()
    return timer


def _slowly() -> Iterator[bytes]:
    while True:
        time.sleep(0.01)
        yield bytes(1000)


def test_user_cancel_from_another_thread_is_eintr(g: SyncGuest) -> None:
    timer = _in_a_moment(g.user_cancel)
    with pytest.raises(ProcedureError, match="cancelled by the user"):
        g.upload(_slowly(), "/target")
    timer.join()
    assert g.filesize("/target") > 0


def test_control_c_ends_what_is_waited_for_and_the_handle_goes_on(g: SyncGuest) -> None:
    timer = _in_a_moment(lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        g.upload(_slowly(), "/target")
    timer.join()
    for _ in range(2 * g.config.channel_count):
        g.upload([b"whole"], "/other")
    assert g.read_file("/other") == b"whole"


def test_another_thread_kills_what_a_verb_waits_for(g: SyncGuest, bench: Bench) -> None:
    for number in bench.processes():
        if number != g.pid:
            os.kill(number, signal.SIGSTOP)
    timer = _in_a_moment(g.kill_subprocess)
    with pytest.raises(ConnectionLost):
        g.lstat("/")
    timer.join()
    g.launch()
    assert g.exists("/")


def test_events_are_told(bench: Bench) -> None:
    states: list[State] = []
    with SyncGuest() as g:
        subscription = g.subscribe(StateChanged, lambda event: states.append(event.state))
        for kind in (LogMessage, Progress, SubprocessQuit):
            g.subscribe(kind, pytest.fail)  # type: ignore[arg-type]
        g.add_drive(bench.image)
        g.launch()
        g.shutdown()
        subscription.cancel()
        g.launch()
    assert states == [State.LAUNCHING, State.READY, State.CONFIG]


def test_callback_that_ends_the_handle_is_raised_by_close(bench: Bench) -> None:
    def complain(_event: SubprocessQuit) -> None:
        raise RuntimeError("the callback's own")

    g = SyncGuest()
    g.subscribe(SubprocessQuit, complain)
    g.add_drive(bench.image)
    g.launch()
    with suppress(StateError):
        g.kill_subprocess()
    with pytest.raises(RuntimeError, match="the callback's own"):
        g.close()
    g.close()


def test_closed_handle_refuses_all_and_closes_again(bench: Bench) -> None:
    g = SyncGuest()
    g.add_drive(bench.image)
    g.launch()
    g.close()
    g.close()
    assert bench.is_deserted()
    for action in (g.launch, lambda: g.exists("/"), lambda: g.add_drive(bench.image)):
        with pytest.raises(StateError, match="the handle is closed"):
            action()
    g.user_cancel()


def test_two_handles_in_one_script(bench: Bench) -> None:
    with SyncGuest() as one, SyncGuest() as other:
        for handle in (one, other):
            handle.add_drive(bench.image)
            handle.launch()
        one.write("/by-one", b"1")
        assert other.cat("/by-one") == "1"
        one.close()
        assert other.exists("/by-one")


def test_script_that_forgets_to_close_ends_and_leaves_nothing(bench: Bench) -> None:
    script = f"from guestmount_py import SyncGuest\ng = SyncGuest()\ng.add_drive({str(bench.image)!r})\ng.launch()\n"
    script += "print(g.exists('/'))"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
    assert bench.is_deserted()
