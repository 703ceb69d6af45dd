"""Launch an appliance: CONFIG → LAUNCHING → READY, and back to CONFIG when qemu has gone."""

import os
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import trio

from appliance.accelerator import choose_accelerator
from appliance.config import ApplianceConfig, ApplianceFiles
from appliance.console import Console
from appliance.drives import CheckedDrive, check_drive, make_overlay
from appliance.locate import find_appliance
from appliance.packages import Log
from appliance.patience import lone_leaf, patience
from appliance.qemu_args import qemu_arguments
from appliance.qemu_process import QemuProcess
from appliance.state import Event, State, StateMachine
from rpc.client import Channel, open_channel
from rpc.errors import ConnectionLost, ImageError, LaunchError, LaunchTimeout, RemoteProtocolError

_EXT_MAGIC_AT: Final = 0x438
_EXT_UUID_AT: Final = 0x468


class Appliance:
    """A launched appliance.

    Attributes:
        machine: its state; READY until qemu has gone.
        gone: set when qemu has gone.
        channels: conversations with the daemon, launch word received; libguestfs's daemon has one.
        extended: the daemon has our extensions.
    """

    def __init__(self, process: QemuProcess, console: Console, machine: StateMachine) -> None:
        self.machine: Final = machine
        self.channels: tuple[Channel, ...] = ()
        self.extended = False
        self.gone: Final = trio.Event()
        self._process = process
        self.console: Final = console

    @property
    def pid(self) -> int:
        """Return qemu's process id."""
        return self._process.pid

    @property
    def console_tail(self) -> str:
        """Return the console's last lines in one line."""
        return self.console.summary

    async def wait(self) -> int:
        """Wait until qemu has gone; return its exit status, negative for a signal."""
        return await self._process.wait()

    def kill(self) -> None:
        """Kill qemu, without a word to the guest."""
        self._process.kill()

    async def watch(self) -> None:
        """Follow qemu to its end, which the owner sees to also when all is cancelled."""
        with trio.CancelScope(shield=True):
            await self._process.wait()
        self.gone.set()
        self.machine.fire(Event.EXIT)


@asynccontextmanager
async def launch(
    config: ApplianceConfig,
    files: ApplianceFiles | None = None,
    *,
    log: Log,
    console: Callable[[bytes], None],
    machine: StateMachine | None = None,
) -> AsyncIterator[Appliance]:
    """Own a launched appliance; at the end it has powered off, or was killed, and nothing of it is left.

    Cancellation: the appliance is ended first.

    Args:
        config: what it shall be.
        files: what qemu boots; None for what ``find_appliance`` finds, once the drives are seen to be good.
        log: takes a line for each thing that takes long.
        console: takes the output of the guest's console.
        machine: holds the state, which must be CONFIG.

    Raises:
        StateError: the machine is in another state.
        DriveError: an image cannot be attached.
        LaunchError: qemu is missing or ended, with the console's last lines; LaunchTimeout: the daemon stayed silent.
    """
    machine = machine or StateMachine()
    try:
        async with AsyncExitStack() as stack:
            with ExitStack() as until_watched:
                if machine.state is State.CONFIG:
                    until_watched.callback(machine.fire, Event.EXIT)
                machine.fire(Event.START)
                drives = [await check_drive(drive) for drive in config.drives]
                files = files or await find_appliance(log)
                accelerator = await choose_accelerator(config, files, log)
                appliance, streams = await _start(config, files, drives, accelerator, machine, console, stack)
                until_watched.pop_all()
            channels = [await stack.enter_async_context(open_channel(stream)) for stream in streams]
            await _await_daemon(appliance, channels, config, log)
            machine.fire(Event.LAUNCH_WORD)
            yield appliance
    except BaseExceptionGroup as group:
        raise lone_leaf(group) from None


async def _start(
    config: ApplianceConfig,
    files: ApplianceFiles,
    drives: Sequence[CheckedDrive],
    accelerator: str,
    machine: StateMachine,
    console: Callable[[bytes], None],
    stack: AsyncExitStack,
) -> tuple[Appliance, list[trio.SocketStream]]:
    """Start qemu; the stack then owns it, its watchers and our ends of the channels."""
    nursery = await stack.enter_async_context(trio.open_nursery())
    with ExitStack() as inherited:  # what qemu gets, and we then close
        overlay_fds = []
        for drive in drives:
            overlay = inherited.enter_context(await make_overlay(drive, config.temporary))
            overlay_fds.append(overlay.fileno())
        streams, channel_fds = [], []
        for _ in range(config.channel_count):
            ours, theirs = socket.socketpair()
            inherited.enter_context(theirs)
            channel_fds.append(theirs.fileno())
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
            streams.append(await stack.enter_async_context(stream))
        argv = qemu_arguments(
            config,
            files,
            accelerator=accelerator,
            root_uuid=root_uuid(files.root),
            channel_fds=channel_fds,
            drives=list(zip(drives, overlay_fds, strict=True)),
        )
        output, console_write = os.pipe2(os.O_CLOEXEC)
        inherited.callback(os.close, console_write)
        with ExitStack() as undo:
            undo.callback(os.close, output)
            process = QemuProcess([config.qemu, *argv], [*overlay_fds, *channel_fds], console_write)
            undo.pop_all()
    stack.callback(process.close)
    appliance = Appliance(process, Console(console), machine)
    nursery.start_soon(appliance.console.pump, trio.lowlevel.FdStream(output))
    nursery.start_soon(appliance.watch)
    stack.push_async_callback(_end, process, streams, machine)
    return appliance, streams


async def _end(process: QemuProcess, streams: Sequence[trio.SocketStream], machine: StateMachine) -> None:
    """Hang up, which makes a daemon unmount and power off, and see to that, whatever is being cancelled.

    A guest that has no daemon yet has nothing to lose: it is left to ``QemuProcess.close``.
    """
    with trio.CancelScope(shield=True):
        for stream in streams:
            await trio.aclose_forcefully(stream)
        if machine.state is State.READY:
            await process.end()


async def _await_daemon(appliance: Appliance, channels: Sequence[Channel], config: ApplianceConfig, log: Log) -> None:
    """Wait for the launch words, and agree on the extensions; a daemon that has none serves the first channel alone."""

    def say() -> None:
        log(f"the appliance is still starting: {appliance.console_tail or 'its console is empty yet'}")

    try:
        async with patience(config.launch_timeout_s, say):
            for channel in channels:
                await channel.wait_launch()
                appliance.extended = await channel.hello() is not None
                appliance.channels += (channel,)
                if not appliance.extended:
                    break
        if appliance.gone.is_set():
            raise ConnectionLost("qemu has gone")
    except trio.TooSlowError as exc:
        tail = appliance.console_tail
        raise LaunchTimeout(f"the appliance said nothing within {config.launch_timeout_s:g} s: {tail}") from exc
    except (ConnectionLost, RemoteProtocolError) as exc:
        with trio.move_on_after(5):
            status = await appliance.wait()
            await appliance.gone.wait()
            await appliance.console.ended.wait()
            raise LaunchError(f"qemu ended with status {status}: {appliance.console_tail}") from exc
        raise LaunchError(f"the appliance hung up while it started: {appliance.console_tail}") from exc


def root_uuid(root: Path) -> str:
    """Return the UUID in the superblock of an ext2, ext3 or ext4 image.

    Raises:
        ImageError: it is no such image.
    """
    with suppress(OSError), root.open("rb") as file:
        start = file.read(_EXT_UUID_AT + 16)
        if start[_EXT_MAGIC_AT : _EXT_MAGIC_AT + 2] == b"\x53\xef" and len(start) == _EXT_UUID_AT + 16:
            return str(uuid.UUID(bytes=start[_EXT_UUID_AT:]))
    raise ImageError(f"{root}: not an ext2 image: the appliance is damaged; remove it and it is built anew")
