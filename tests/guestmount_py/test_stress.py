"""Handles that are killed, cancelled, left and used at random moments come to a clean end every time."""

import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import trio

from appliance.state import State
from guestmount_py.handle import Guest
from rpc.errors import ConnectionLost, GuestmountError, StateError
from tests.guestmount_py.conftest import Bench

LIMIT_S = 60.0


async def _trickle() -> AsyncIterator[bytes]:
    while True:
        yield bytes(50_000)
        await trio.sleep(0.001)


async def _use(g: Guest, generator: random.Random) -> None:
    """Call and transfer for ever; what the handle's end does to that is a GuestmountError and nothing else."""
    while True:
        try:
            match generator.randrange(4):
                case 0:
                    await g.ls("/")
                case 1:
                    await g.download("/large").read()
                case 2:
                    with trio.move_on_after(generator.random() / 10):
                        await g.upload(_trickle(), f"/up{generator.randrange(3)}")
                case 3:
                    await g.launch()
        except GuestmountError:
            await trio.sleep(0.01)


async def _disturb(g: Guest, generator: random.Random) -> None:
    """Do the worst a few times."""
    for _ in range(4):
        await trio.sleep(generator.random() / 3)
        try:
            match generator.randrange(5):
                case 0:
                    await g.kill_subprocess()
                case 1:
                    await g.shutdown()
                case 2:
                    os.kill(g.pid, signal.SIGKILL)
                case 3:
                    g.user_cancel()
                case 4:
                    with trio.move_on_after(generator.random() / 5):
                        await g.launch()
        except GuestmountError:
            continue


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_happens_to_a_handle_it_can_be_launched_and_leaves_nothing(bench: Bench, seed: int) -> None:
    generator = random.Random(seed)
    (bench.root / "large").write_bytes(bytes(20 << 20))
    with trio.fail_after(LIMIT_S):
        async with Guest() as g:
            g.add_drive(bench.image)
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(_use, g, random.Random(generator.random()))
                await _disturb(g, generator)
                nursery.cancel_scope.cancel()
            with suppress(ConnectionLost, StateError):  # it may just have been killed, or left
                await g.ping_daemon()
            if g.state is State.CONFIG:
                await g.launch()
            assert b"large" in await g.ls("/")
    assert bench.is_deserted()
