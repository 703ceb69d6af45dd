"""The library's handle when qemu dies, or is killed: who is told what, and how soon."""

import os
import signal
import time
from collections.abc import AsyncIterator, Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from appliance.state import State
from guestmount_py.events import ConsoleOutput, SubprocessQuit
from guestmount_py.handle import Guest
from rpc.errors import (
    ConnectionLost,
    LaunchError,
    StateError,
)
from tests.guestmount_py.conftest import Bench, fall_silent, launched, states_of

SECONDS = 5.0
"""How soon everybody must know of a death."""


async def test_death_of_qemu_reaches_every_waiting_caller(bench: Bench) -> None:
    errors: list[ConnectionLost] = []
    quits: list[SubprocessQuit] = []

    async def wait_for_an_answer() -> None:
        with pytest.raises(ConnectionLost) as caught:
            await g.lstat("/")
        assert g.state is State.CONFIG
        errors.append(caught.value)

    async with launched(bench) as g:
        g.subscribe(SubprocessQuit, quits.append)
        states = states_of(g)
        await fall_silent(bench, g)
        async with trio.open_nursery() as nursery:
            for _ in range(3 * g.config.channel_count):
                nursery.start_soon(wait_for_an_answer)
            await wait_all_tasks_blocked()
            os.kill(g.pid, signal.SIGKILL)
            began = time.monotonic()
        assert time.monotonic() - began < SECONDS
        assert len(errors) == 3 * g.config.channel_count
        assert str(errors[0]) == "lstatns: the appliance went away: qemu ended with status -9: guestfsd started"
        assert quits == [SubprocessQuit(-signal.SIGKILL, "guestfsd started")]
        assert states == [State.CONFIG]
        with pytest.raises(StateError, match="this handle is CONFIG"):
            await g.lstat("/")
        await g.launch()
        assert await g.exists("/")


async def test_death_of_qemu_ends_transfers(bench: Bench) -> None:
    (bench.root / "large").write_bytes(bytes(64 << 20))
    async with launched(bench) as g:
        with pytest.raises(ConnectionLost, match="download: the appliance went away"):
            await _kill_while_downloading(g)
        await g.launch()
        with pytest.raises(ConnectionLost, match="upload: the appliance went away"):
            await g.upload(_endless(lambda: os.kill(g.pid, signal.SIGKILL)), "/target")
        assert g.state is State.CONFIG


async def _kill_while_downloading(g: Guest) -> None:
    async with g.download("/large") as pieces:
        await anext(pieces)
        os.kill(g.pid, signal.SIGKILL)
        async for _ in pieces:
            pass


async def _endless(after_a_while: Callable[[], object]) -> AsyncIterator[bytes]:
    for _ in range(20):
        yield bytes(100_000)
    after_a_while()
    while True:
        yield bytes(100_000)
        await trio.lowlevel.checkpoint()


async def test_idle_handle_notices_the_death_of_qemu(bench: Bench) -> None:
    async with launched(bench) as g:
        gone = trio.Event()
        g.subscribe(SubprocessQuit, lambda _event: gone.set())
        os.kill(g.pid, signal.SIGKILL)
        with trio.fail_after(SECONDS):
            await gone.wait()
        assert g.state is State.CONFIG


async def test_kill_subprocess_fails_who_waits_and_allows_a_new_launch(bench: Bench) -> None:
    async with launched(bench) as g:
        await fall_silent(bench, g)
        async with trio.open_nursery() as nursery:

            async def wait_for_an_answer() -> None:
                with pytest.raises(ConnectionLost):
                    await g.lstat("/")

            nursery.start_soon(wait_for_an_answer)
            await wait_all_tasks_blocked()
            with trio.fail_after(SECONDS):
                await g.kill_subprocess()
            assert g.state is State.CONFIG
            assert bench.is_deserted()
        with pytest.raises(StateError, match="no subprocess"):
            await g.kill_subprocess()
        await g.launch()
        assert await g.exists("/")


async def test_kill_subprocess_breaks_a_launch_off(bench: Bench) -> None:
    async with Guest() as g:
        states = states_of(g)
        started = trio.Event()
        g.subscribe(ConsoleOutput, lambda _event: started.set())
        g.add_drive(bench.image)
        g.configure(qemu=bench.hypervisor("silent", "echo booting; exec sleep 1000"))
        async with trio.open_nursery() as nursery:

            async def launch() -> None:
                with pytest.raises(LaunchError, match="broken off"):
                    await g.launch()

            nursery.start_soon(launch)
            await started.wait()
            assert g.state is State.LAUNCHING
            with pytest.raises(StateError, match="this handle is LAUNCHING"):
                await g.exists("/")
            await g.kill_subprocess()
        assert states == [State.LAUNCHING, State.CONFIG]
