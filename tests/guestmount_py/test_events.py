"""Events: who subscribed is told, in order, until the subscription ends."""

import os
import re
import signal

import pytest
import trio

from appliance.state import State
from guestmount_py.events import (
    CallEnded,
    CallStarted,
    ConsoleOutput,
    Event,
    Events,
    LogMessage,
    Progress,
    StateChanged,
    SubprocessQuit,
)
from guestmount_py.handle import Guest
from guestmount_py.observed_pool import SECRETS, progress_sink
from rpc import events as wire
from rpc.arguments import NoArgs, PathArgs
from rpc.codec import GuestPath
from rpc.errors import ProcedureError
from tests.guestmount_py.conftest import Bench, launched
from tests.system.sandbox import REPOSITORY


class Broken(Exception):
    """What a callback raises."""


def test_only_the_kind_that_was_asked_for_is_told() -> None:
    events, told = Events(), list[LogMessage]()
    events.subscribe(LogMessage, told.append)
    events.emit(ConsoleOutput(b"no"))
    events.emit(LogMessage("yes"))
    assert told == [LogMessage("yes")]
    assert events.wanted(LogMessage)
    assert not events.wanted(ConsoleOutput)


def test_every_subscriber_is_told_in_turn_even_one_that_leaves() -> None:
    events, told = Events(), list[str]()

    def leave(_event: LogMessage) -> None:
        told.append("first")
        first.cancel()

    first = events.subscribe(LogMessage, leave)
    events.subscribe(LogMessage, lambda _event: told.append("second"))
    events.emit(LogMessage(""))
    events.emit(LogMessage(""))
    assert told == ["first", "second", "second"]


def test_cancelled_subscription_is_silent() -> None:
    events, told = Events(), list[LogMessage]()
    with events.subscribe(LogMessage, told.append) as subscription:
        events.emit(LogMessage("in time"))
    events.emit(LogMessage("too late"))
    subscription.cancel()
    assert told == [LogMessage("in time")]
    assert not events.wanted(LogMessage)


def test_progress_names_its_procedure() -> None:
    events, told = Events(), list[Progress]()
    sink = progress_sink(events)
    sink(wire.Progress(66, 1, 5, 10))
    events.subscribe(Progress, told.append)
    sink(wire.Progress(66, 1, 6, 10))
    sink(wire.Progress(-5, 1, 7, 10))
    assert told == [Progress("upload", 6, 10), Progress("procedure -5", 7, 10)]


async def test_a_life_is_told_from_launch_to_death(bench: Bench) -> None:
    told: list[Event] = []
    gone = trio.Event()
    async with Guest() as g:
        for kind in (StateChanged, SubprocessQuit, CallStarted, CallEnded):
            g.subscribe(kind, told.append)
        g.subscribe(SubprocessQuit, lambda _event: gone.set())
        g.add_drive(bench.image)
        await g.launch()
        assert await g.exists("/")
        with pytest.raises(ProcedureError) as caught:
            await g.filesize("/absent")
        assert await g.ls("/") == []
        os.kill(g.pid, signal.SIGKILL)
        with trio.fail_after(5):
            await gone.wait()
    path = PathArgs(GuestPath(b"/"))
    assert [each[:2] if isinstance(each, CallEnded) else each for each in told] == [
        StateChanged(State.LAUNCHING),
        StateChanged(State.READY),
        CallStarted("exists", path),
        ("exists", None),
        CallStarted("filesize", (b"/absent",)),
        ("filesize", caught.value),
        CallStarted("ls0", path),
        ("ls0", None),
        StateChanged(State.CONFIG),
        SubprocessQuit(-signal.SIGKILL, "guestfsd started"),
    ]


async def test_keys_are_not_traced(bench: Bench) -> None:
    calls: list[CallStarted] = []
    async with launched(bench) as g:
        g.subscribe(CallStarted, calls.append)
        with pytest.raises(ProcedureError):
            await g.luks_add_key("/dev/absent", "old secret", "new secret", 1)
    assert calls[0] == CallStarted("luks_add_key", ("/dev/absent", "***", "***", 1))


def test_all_keys_of_libguestfss_list_are_secrets() -> None:
    table = (REPOSITORY / "tests/guestfs-procedures.tsv").read_text()
    assert set(re.findall(r"(\w+):key\b", table)) == SECRETS


async def test_orderly_end_is_no_quit_but_traced(bench: Bench) -> None:
    quits: list[SubprocessQuit] = []
    calls: list[CallStarted] = []
    async with launched(bench) as g:
        g.subscribe(SubprocessQuit, quits.append)
        g.subscribe(CallStarted, calls.append)
    assert quits == []
    assert calls == [CallStarted("internal_autosync", NoArgs())]


async def test_console_is_passed_on(bench: Bench) -> None:
    console = bytearray()
    async with Guest() as g:
        g.subscribe(ConsoleOutput, lambda event: console.extend(event.data))
        g.add_drive(bench.image)
        await g.launch()
    assert console == b"guestfsd started\n"


async def test_callback_that_raises_in_a_call_fails_that_call(bench: Bench) -> None:
    def refuse(event: CallStarted) -> None:
        if event.procedure == "rm":
            raise Broken

    (bench.root / "precious").touch()
    async with launched(bench) as g:
        g.subscribe(CallStarted, refuse)
        with pytest.raises(Broken):
            await g.rm("/precious")
        assert await g.exists("/precious")


async def test_callback_that_raises_at_a_death_ends_the_handle(bench: Bench) -> None:
    def complain(_event: SubprocessQuit) -> None:
        raise Broken

    async def live() -> None:
        async with launched(bench) as g:
            g.subscribe(SubprocessQuit, complain)
            os.kill(g.pid, signal.SIGKILL)
            await trio.sleep(30)
            pytest.fail("nobody noticed")

    with pytest.raises(Broken):
        await live()
    assert bench.is_deserted()


async def test_console_callback_that_raises_ends_the_handle(bench: Bench) -> None:
    def complain(_event: ConsoleOutput) -> None:
        raise Broken

    async def live() -> None:
        async with Guest() as g:
            g.subscribe(ConsoleOutput, complain)
            g.add_drive(bench.image)
            await g.launch()
            await trio.sleep(30)
            pytest.fail("nobody noticed")

    with pytest.raises(Broken):
        await live()
