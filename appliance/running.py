"""A started qemu: its process, its console and our ends of its channels."""

import os
import socket
import uuid
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from pathlib import Path
from typing import Final, NamedTuple

import trio

from appliance.blocks import Blocks
from appliance.config import ApplianceConfig, ApplianceFiles
from appliance.console import Console
from appliance.control import Control
from appliance.drives import CheckedDrive
from appliance.qemu_args import TemplateFds, qemu_arguments
from appliance.qemu_process import QemuProcess
from appliance.qmp import Qmp
from appliance.state import Event, State, StateMachine
from rpc.client import Channel
from rpc.errors import ImageError

_EXT_MAGIC_AT: Final = 0x438
_EXT_UUID_AT: Final = 0x468

ConsoleSink = Callable[[bytes], None]


class Job(NamedTuple):
    """What is to be started.

    Attributes:
        drives: each with the descriptor of its overlay, None if the guest writes to the image.
    """

    config: ApplianceConfig
    files: ApplianceFiles
    accelerator: str
    root_uuid: str
    drives: Sequence[tuple[CheckedDrive, int | None]] = ()


class TemplateFiles(NamedTuple):
    """Descriptors of a template to restore, or without a state of one to make."""

    memory: int
    state: int | None = None


class Appliance:
    """A launched appliance.

    Attributes:
        gone: set when qemu has gone.
        channels: conversations with the daemon, launch word received; libguestfs's daemon has one.
        extended: the daemon has our extensions.
        restored: it was restored from a template.
        blocks: what qemu holds of each drive.
    """

    def __init__(self, process: QemuProcess, console: Console, blocks: Blocks) -> None:
        self.channels: tuple[Channel, ...] = ()
        self.extended = False
        self.restored = False
        self.gone: Final = trio.Event()
        self.console: Final = console
        self.blocks: Final = blocks
        self._process = process
        self._machine: StateMachine | None = None

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

    def lead(self, machine: StateMachine) -> None:
        """Make a machine that is launching READY, until qemu has gone."""
        machine.fire(Event.LAUNCH_WORD)
        self._machine = machine

    @property
    def is_ready(self) -> bool:
        """Tell whether a machine is READY by this appliance."""
        return self._machine is not None and self._machine.state is State.READY

    async def watch(self) -> None:
        """Follow qemu to its end, which the owner sees to also when all is cancelled."""
        with trio.CancelScope(shield=True):
            await self._process.wait()
        self.gone.set()
        if self._machine is not None:
            self._machine.fire(Event.EXIT)


class Started(NamedTuple):
    """A qemu that runs, and our ends.

    Attributes:
        streams: the channels, none for a template that is being made.
        qmp: the control channel, for one task until ``control`` runs.
        control: the same, for many tasks, once it runs.
        nursery: of what watches it.
    """

    appliance: Appliance
    streams: list[trio.SocketStream]
    qmp: Qmp
    control: Control
    nursery: trio.Nursery

    def run_control(self) -> None:
        """Open the control channel to many tasks; nobody else may use it then."""
        self.nursery.start_soon(self.control.run)


async def start_qemu(
    job: Job, console: ConsoleSink, stack: AsyncExitStack, template: TemplateFiles | None = None
) -> Started:
    """Start qemu; the stack then owns it, its watchers and our ends of the channels.

    Raises:
        LaunchError: it cannot be started.
    """
    making = template is not None and template.state is None
    nursery = await stack.enter_async_context(trio.open_nursery())
    with ExitStack() as inherited:  # what qemu gets, and we then close
        streams, channel_fds = [], []
        for _ in range(job.config.channel_count):
            ours, descriptor = _pair(inherited)
            channel_fds.append(descriptor)
            if making:
                ours.close()  # the daemon is to be saved while it waits for somebody to listen
            else:
                streams.append(await _stream(ours, stack))
        ours, control_fd = _pair(inherited)
        qmp = Qmp(await _stream(ours, stack))
        fds = None if template is None else TemplateFds(*template)
        argv = qemu_arguments(
            job.config,
            job.files,
            accelerator=job.accelerator,
            root_uuid=job.root_uuid,
            channel_fds=channel_fds,
            control_fd=control_fd,
            drives=job.drives,
            template=fds,
        )
        descriptors = [*channel_fds, control_fd, *(overlay for _, overlay in job.drives if overlay is not None)]
        descriptors += [number for drive, _ in job.drives for number in drive.inherited_fds]
        descriptors += [number for number in fds or () if number is not None]
        output, console_write = os.pipe2(os.O_CLOEXEC)
        inherited.callback(os.close, console_write)
        with ExitStack() as undo:
            undo.callback(os.close, output)
            process = QemuProcess([job.config.qemu, *argv], descriptors, console_write)
            undo.pop_all()
    stack.callback(process.close)
    control = Control(qmp)
    appliance = Appliance(process, Console(console), Blocks(control, [drive for drive, _ in job.drives]))
    stack.callback(appliance.blocks.close)
    nursery.start_soon(appliance.console.pump, trio.lowlevel.FdStream(output))
    nursery.start_soon(appliance.watch)
    stack.push_async_callback(_end, appliance, process, streams)
    return Started(appliance, streams, qmp, control, nursery)


def _pair(inherited: ExitStack) -> tuple[socket.socket, int]:
    """Return our end of a new socketpair and the descriptor of the end that qemu inherits."""
    ours, theirs = socket.socketpair()
    inherited.enter_context(theirs)
    return ours, theirs.fileno()


async def _stream(ours: socket.socket, stack: AsyncExitStack) -> trio.SocketStream:
    return await stack.enter_async_context(trio.SocketStream(trio.socket.from_stdlib_socket(ours)))


async def _end(appliance: Appliance, process: QemuProcess, streams: Sequence[trio.SocketStream]) -> None:
    """Hang up, which makes a daemon unmount and power off, and see to that, whatever is being cancelled.

    A guest that has no daemon yet has nothing to lose: it is left to ``QemuProcess.close``.
    """
    with trio.CancelScope(shield=True):
        for stream in streams:
            await trio.aclose_forcefully(stream)
        if appliance.is_ready:
            await process.end()


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
