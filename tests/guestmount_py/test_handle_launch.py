"""A launch by the library's handle that fails: it says why, and leaves nothing."""

import pytest
import trio

from appliance.state import State
from guestmount_py.handle import Guest
from rpc.errors import (
    DriveError,
    LaunchError,
    LaunchTimeout,
)
from tests.guestmount_py.conftest import Bench, state_of, states_of


async def test_silent_appliance_is_a_launch_timeout(bench: Bench) -> None:
    async with Guest() as g:
        g.add_drive(bench.image)
        working = g.config.qemu
        g.configure(qemu=bench.hypervisor("silent", "echo still booting; exec sleep 1000"), launch_timeout_s=0.3)
        with pytest.raises(LaunchTimeout, match=r"said nothing within 0\.3 s: still booting"):
            await g.launch()
        assert state_of(g) is State.CONFIG
        assert bench.is_deserted()
        g.configure(qemu=working, launch_timeout_s=30)
        await g.launch()
        assert state_of(g) is State.READY


async def test_failed_launches_say_why_and_leave_config(bench: Bench) -> None:
    async with Guest() as g:
        states = states_of(g)
        g.add_drive(bench.directory / "absent")
        with pytest.raises(DriveError, match="no such image"):
            await g.launch()
        g.forget_drives()
        g.add_drive(bench.image)
        g.configure(qemu=bench.hypervisor("broken", "echo no memory; exit 3"))
        with pytest.raises(LaunchError, match=r"qemu ended with status 3: no memory"):
            await g.launch()
        assert states == [State.LAUNCHING, State.CONFIG] * 2


async def test_cancelled_launch_leaves_nothing(bench: Bench) -> None:
    async with Guest() as g:
        g.add_drive(bench.image)
        g.configure(qemu=bench.hypervisor("silent", "exec sleep 1000"))
        with trio.move_on_after(0.3) as scope:
            await g.launch()
        assert scope.cancelled_caught
        assert g.state is State.CONFIG
        assert bench.is_deserted()
