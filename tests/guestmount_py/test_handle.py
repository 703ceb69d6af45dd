"""The library's handle: its states, and who is told what when it leaves them."""

import os
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from appliance.config import ApplianceConfig
from appliance.state import State
from guestmount_py.events import ConsoleOutput, Events, StateChanged
from guestmount_py.handle import Guest
from guestmount_py.observed_pool import ObservedPool
from guestmount_py.settings import DRIVES_MAX, Settings
from rpc import procedures
from rpc.arguments import NoArgs, PathArgs
from rpc.codec import GuestPath
from rpc.errors import (
    ConnectionLost,
    GuestmountError,
    LaunchError,
    ProcedureError,
    StateError,
    UsageError,
)
from tests.guestmount_py.conftest import Bench, fall_silent, launched, state_of, states_of, wake

CYCLE = [State.LAUNCHING, State.READY, State.CONFIG]


async def test_life_from_config_to_ready_and_back(bench: Bench) -> None:
    (bench.root / "hello").write_bytes(b"hello, world\n")
    async with Guest() as g:
        states = states_of(g)
        assert state_of(g) is State.CONFIG
        g.add_drive(bench.image, format="raw")
        await g.launch()
        assert state_of(g) is State.READY
        assert await g.read_file("/hello") == b"hello, world\n"
        assert bench.processes()
        await g.shutdown()
        assert g.state is State.CONFIG
        assert bench.is_deserted()
        await g.launch()
        assert await g.filesize("/hello") == 13
    assert states == CYCLE * 2


async def test_configuration_is_refused_outside_config(bench: Bench) -> None:
    async with launched(bench) as g:
        actions: list[Callable[[], object]] = [
            lambda: g.add_drive(bench.image),
            lambda: g.configure(smp=2),
            g.forget_drives,
        ]
        for action in actions:
            with pytest.raises(StateError, match=r"possible in state CONFIG, before launch: this handle is READY"):
                action()
        with pytest.raises(StateError, match="launch is possible in state CONFIG"):
            await g.launch()
        assert len(g.config.drives) == 1


async def test_configuration_is_refused_while_launching(bench: Bench) -> None:
    refusals: list[str] = []

    def configure_early(event: StateChanged) -> None:
        if event.state is State.LAUNCHING:
            with pytest.raises(StateError) as caught:
                g.add_drive(bench.image)
            refusals.append(str(caught.value))

    async with Guest() as g:
        g.add_drive(bench.image)
        g.subscribe(StateChanged, configure_early)
        await g.launch()
    assert refusals == ["add_drive is possible in state CONFIG, before launch: this handle is LAUNCHING"]


async def test_actions_are_refused_outside_ready(bench: Bench) -> None:
    async with Guest() as g:
        actions: list[Callable[[], Awaitable[object]]] = [
            partial(g.call, procedures.PING_DAEMON, NoArgs()),
            partial(g.ls, "/"),
            partial(g.upload, bench.image, "/x"),
            partial(g.download("/x").save, bench.directory / "never"),
        ]
        for action in actions:
            with pytest.raises(StateError, match=r"is possible in state READY, after launch: this handle is CONFIG"):
                await action()
        with pytest.raises(StateError, match="files is possible"):
            _ = g.files
        with pytest.raises(StateError, match="no subprocess"):
            await g.kill_subprocess()
        await g.shutdown()
    assert not (bench.directory / "never").exists()


async def test_launch_wants_a_drive_and_its_context(bench: Bench) -> None:
    outside = Guest()
    outside.add_drive(bench.image)
    with pytest.raises(StateError, match="async with"):
        await outside.launch()
    async with Guest() as g:
        with pytest.raises(UsageError, match="call add_drive first"):
            await g.launch()
        assert g.state is State.CONFIG


def test_impossible_settings_are_refused() -> None:
    g = Guest()
    for settings in (Settings(memory_mib=64), Settings(smp=0), Settings(channel_count=0), Settings(launch_timeout_s=0)):
        with pytest.raises(UsageError):
            g.configure(**settings)
    with pytest.raises(UsageError, match="512 and 4096"):
        g.add_drive("disk", blocksize_bytes=1000)
    g.configure(memory_mib=300, smp=2)
    assert (g.config.memory_mib, g.config.smp) == (300, 2)


def test_settings_are_fields_of_the_appliances_configuration() -> None:
    fields = {name: kind for name, kind in ApplianceConfig.__annotations__.items() if name != "drives"}
    assert Settings.__annotations__ == fields


def test_a_handle_takes_as_many_drives_as_the_bus() -> None:
    g = Guest()
    for number in range(DRIVES_MAX):
        g.add_drive(f"{number}.img")
    with pytest.raises(UsageError, match="255 drives"):
        g.add_drive("one-more.img")
    g.forget_drives()
    assert g.config.drives == ()


async def test_two_handles_at_once_are_strangers(bench: Bench) -> None:
    async with launched(bench) as one, launched(bench) as other:
        assert one.pid != other.pid
        await one.write("/made-by-one", b"1")
        assert await other.read_file("/made-by-one") == b"1"
        await one.kill_subprocess()
        assert (one.state, other.state) == (State.CONFIG, State.READY)
        assert await other.exists("/made-by-one")


async def test_stock_daemon_is_taken_with_its_one_channel(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUEST_IS_STOCK", "1")
    for name in ("a", "b"):
        (bench.root / name).write_bytes(name.encode())
    async with launched(bench) as g:
        assert sorted(entry.name for entry in await g.readdir("/")) == [b".", b"..", b"a", b"b"]
        assert sorted(entry.name for entry in await g.files.list_directory(b"/")) == [b"a", b"b"]
        assert not g.files.extended
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(g.read_file, "/a")
                nursery.start_soon(g.lstat, "/b")
    assert bench.is_deserted()


async def test_second_launch_is_refused_while_the_first_is_under_way(bench: Bench) -> None:
    async with Guest() as g:
        g.add_drive(bench.image)
        refused: list[str] = []

        async def launch() -> None:
            try:
                await g.launch()
            except StateError as exc:
                refused.append(str(exc))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(launch)
            nursery.start_soon(launch)
        assert len(refused) == 1
        assert state_of(g) is State.READY
        with pytest.raises(StateError, match="launch is possible in state CONFIG"):
            await g.launch()


async def test_shutdowns_at_once_are_one(bench: Bench) -> None:
    async with launched(bench) as g:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(g.shutdown)
        assert state_of(g) is State.CONFIG
        await g.launch()


async def test_shutdown_says_that_the_guest_could_not_write_everything(bench: Bench) -> None:
    async with launched(bench) as g:
        os.kill(g.pid, signal.SIGKILL)
        # Which it hears first of the daemon, or of qemu.
        with pytest.raises(GuestmountError, match=r"shutdown: (the appliance went away: )?qemu ended with status -9"):
            await g.shutdown()
        await g.shutdown()


async def test_qemu_that_ends_badly_fails_the_shutdown(bench: Bench) -> None:
    async with Guest() as g:
        g.add_drive(bench.image)
        g.configure(qemu=bench.hypervisor("crashing", f'{g.config.qemu} "$@"; exit 7'))
        await g.launch()
        with pytest.raises(GuestmountError, match="shutdown: qemu ended with status 7"):
            await g.shutdown()
        assert state_of(g) is State.CONFIG


async def test_callback_that_refuses_the_launch_leaves_config(bench: Bench) -> None:
    def refuse(event: StateChanged) -> None:
        if event.state is State.LAUNCHING:
            raise RuntimeError("the callback's own")

    async with Guest() as g:
        g.add_drive(bench.image)
        with g.subscribe(StateChanged, refuse), pytest.raises(RuntimeError, match="the callback's own"):
            await g.launch()
        assert state_of(g) is State.CONFIG
        await g.launch()


@pytest.mark.parametrize("way", [Guest.close, Guest.shutdown])
async def test_end_while_launching_is_the_launchers_error(
    bench: Bench, way: Callable[[Guest], Awaitable[None]]
) -> None:
    async with Guest() as g:
        started = trio.Event()
        g.subscribe(ConsoleOutput, lambda _event: started.set())
        g.add_drive(bench.image)
        real = g.config.qemu
        g.configure(qemu=bench.hypervisor("silent", "echo booting; exec sleep 1000"))

        async def launch() -> None:
            with pytest.raises(LaunchError):
                await g.launch()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(launch)
            await started.wait()
            with trio.fail_after(10):
                await way(g)
        assert bench.is_deserted()
        if way is Guest.shutdown:
            g.configure(qemu=real)
            await g.launch()
            assert g.state is State.READY


async def test_umask_is_told_to_the_channels_behind_one_that_is_lost() -> None:
    told: list[int] = []

    class FakeChannel:
        on_progress = None
        is_lost = False

        def __init__(self, number: int) -> None:
            self.number = number

        async def call(self, _procedure: object, _args: object) -> int:
            told.append(self.number)
            if self.number != 2:
                raise ConnectionLost("gone")
            return 0o022

    channels: Any = [FakeChannel(number) for number in range(4)]
    pool = ObservedPool(channels, Events())
    assert await pool.call(procedures.UMASK, procedures.UMASK.args(0o077)) == 0o022
    assert told == [0, 1, 2, 3]
    with pytest.raises(ConnectionLost):
        await ObservedPool(channels[:2], Events()).call(procedures.UMASK, procedures.UMASK.args(0o077))


async def test_umask_counts_for_calls_and_transfers(bench: Bench) -> None:
    async with launched(bench) as g:
        assert await g.umask(0o077) == 0o022
        for number in range(2 * g.config.channel_count):
            await g.upload([b"x"], f"/up{number}")
            await g.write(f"/written{number}", b"x")
        assert await g.umask(0o022) == 0o077
    assert {path.stat().st_mode & 0o777 for path in bench.root.iterdir()} == {0o600}


async def test_close_is_final_and_may_be_repeated(bench: Bench) -> None:
    async with launched(bench) as g:
        await g.close()
        assert bench.is_deserted()
        await g.close()
        for action in (g.launch, partial(g.exists, "/"), g.__aenter__):
            with pytest.raises(StateError, match=r"closed|entered once"):
                await action()
        with pytest.raises(StateError, match="the handle is closed"):
            g.add_drive(bench.image)


async def test_error_of_the_body_passes_as_it_is(bench: Bench) -> None:
    with pytest.raises(FileNotFoundError, match="the body's own"):
        async with launched(bench):
            raise FileNotFoundError("the body's own")
    assert bench.is_deserted()


async def test_group_of_errors_of_the_body_stays_whole(bench: Bench) -> None:
    mine = ExceptionGroup("mine", [ValueError(1)])
    with pytest.raises(ExceptionGroup) as caught:
        async with launched(bench):
            raise mine
    assert caught.value is mine


async def test_shutdown_waits_for_the_guest_though_callers_lose_their_calls(bench: Bench) -> None:
    async def lose() -> None:
        with pytest.raises(ConnectionLost):
            await g.lstat("/")

    async with launched(bench) as g:
        async with trio.open_nursery() as nursery:
            await fall_silent(bench, g)
            nursery.start_soon(lose)
            await wait_all_tasks_blocked()
            session = g._session
            assert session is not None
            session.orderly = True
            session.leave()
            await trio.sleep(2.5)  # longer than a qemu that hung up by itself is given
            wake(bench)
        assert session.status == 0


async def test_cancelled_body_leaves_nothing(bench: Bench) -> None:
    with trio.CancelScope() as scope:
        async with launched(bench):
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert bench.is_deserted()


async def test_errors_of_the_daemon_carry_their_errno(bench: Bench) -> None:
    async with launched(bench) as g:
        with pytest.raises(ProcedureError) as caught:
            await g.call(procedures.LSTATNS, PathArgs(GuestPath(b"/absent")))
        assert (caught.value.procedure, caught.value.errno_name) == ("lstatns", "ENOENT")


async def test_calls_by_table_go_the_way_that_suits_them(bench: Bench) -> None:
    async with launched(bench) as g:
        with pytest.raises(TypeError, match=r"ls0 is made with Guest\.receive"):
            await g.call(procedures.LS0, procedures.LS0.args(GuestPath(b"/")))
        with pytest.raises(TypeError, match=r"ping_daemon is made with Guest\.call"):
            g.receive(procedures.PING_DAEMON, NoArgs())
        assert await g.receive(procedures.LS0, procedures.LS0.args(GuestPath(b"/"))).read() == b""


async def test_checked_files_are_those_of_this_launch(bench: Bench) -> None:
    (bench.root / "name").touch()
    async with launched(bench) as g:
        files = g.files
        assert [entry.name for entry in await files.list_directory(b"/")] == [b"name"]
        await g.kill_subprocess()
        await g.launch()
        with pytest.raises(ConnectionLost):
            await files.list_directory(b"/")
        assert [entry.name for entry in await g.files.list_directory(b"/")] == [b"name"]
