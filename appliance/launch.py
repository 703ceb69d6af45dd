"""Launch an appliance: CONFIG → LAUNCHING → READY, and back to CONFIG when qemu has gone."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import trio

from appliance.accelerator import choose_accelerator
from appliance.config import ApplianceConfig, ApplianceFiles
from appliance.drives import CheckedDrive, check_drive, make_overlay
from appliance.locate import find_appliance
from appliance.packages import Log
from appliance.patience import lone_leaf, patience
from appliance.restore import ensure_template, job_key, resume, start_restored
from appliance.running import Appliance, ConsoleSink, Job, Started, root_uuid, start_qemu
from appliance.state import Event, State, StateMachine
from appliance.template import Template, TemplateUnusable
from appliance.template_cache import TemplateCache
from rpc.client import open_channel
from rpc.errors import ConnectionLost, LaunchError, LaunchTimeout, ProtocolError, RemoteProtocolError, UsageError

_RESTORE_S: Final = 60.0
"""How long restoring may take; it needs a quarter of a second."""


@asynccontextmanager
async def launch(
    config: ApplianceConfig,
    files: ApplianceFiles | None = None,
    *,
    log: Log,
    console: ConsoleSink,
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
            with ExitStack() as until_ready:
                if machine.state is State.CONFIG:
                    until_ready.callback(machine.fire, Event.EXIT)
                machine.fire(Event.START)
                async with AsyncExitStack() as bringing_up:
                    appliance = await _brought_up(config, files, log, console, bringing_up)
                    stack.push_async_exit(bringing_up.pop_all())
                until_ready.pop_all()
                appliance.lead(machine)
            yield appliance
    except BaseExceptionGroup as group:
        raise lone_leaf(group) from None


async def _brought_up(
    config: ApplianceConfig, files: ApplianceFiles | None, log: Log, console: ConsoleSink, stack: AsyncExitStack
) -> Appliance:
    """Return an appliance whose daemon answers and sees the drives; the stack then owns it."""
    checked = [await check_drive(drive) for drive in config.drives]
    drives = [await _opened(drive, index, stack) for index, drive in enumerate(checked)]
    files = files or await find_appliance(log)
    accelerator = await choose_accelerator(config, files, log)
    deadline = trio.current_time() + config.launch_timeout_s
    with ExitStack() as overlays:  # qemu inherits them
        fds = [
            None if drive.writable else overlays.enter_context(make_overlay(drive, config.temporary)).fileno()
            for drive in drives
        ]
        job = Job(config, files, accelerator, root_uuid(files.root), list(zip(drives, fds, strict=True)))
        attempt = _Attempt(job, log, console, deadline)
        if config.template and files.resumable:
            restored = await attempt.restored(stack)
            if restored is not None:
                return restored
        started = await start_qemu(job, console, stack)
    appliance = await _await_daemon(started, config, log, stack, deadline)
    attempt.blame()
    return appliance


async def _opened(drive: CheckedDrive, index: int, stack: AsyncExitStack) -> CheckedDrive:
    """Return a drive with what it needs beside its file, which the stack then owns."""
    if not drive.needs_source:
        return drive
    from appliance.opened_sources import opened_source

    return await stack.enter_async_context(opened_source(drive, index))


class _Attempt:
    """One try to launch from a template; whatever fails, the machine boots instead, which costs a line in the log.

    The template is blamed only when the same machine has booted: a disk or a busy host may have been at fault.
    """

    def __init__(self, job: Job, log: Log, console: ConsoleSink, deadline: float) -> None:
        self._job: Final = job
        self._log: Final = log
        self._console: Final = console
        self._deadline: Final = deadline
        self._suspect: tuple[TemplateCache, str, int] | None = None

    async def restored(self, stack: AsyncExitStack) -> Appliance | None:
        """Return a restored appliance, None if that failed.

        Raises:
            LaunchError: qemu is not installed.
            DriveError: qemu cannot attach a drive, and could not if it booted.
        """
        key = job_key(self._job)
        try:
            cache = TemplateCache()
            if cache.failed_lately(key):
                self._log("the appliance boots: restoring it failed within the last hour")
                return None
            await ensure_template(self._job, cache, key, self._console, self._log, self._deadline)
            with cache.opened(key) as template:
                self._suspect = (cache, key, os.fstat(template.memory.fileno()).st_ino)
                return await self._resumed(template, stack)
        except (LaunchError, ConnectionLost, ProtocolError, TemplateUnusable, OSError) as exc:
            if isinstance(exc, TemplateUnusable):  # the next one made will do
                self._suspect = None
            self._log(f"the appliance could not be restored from its template, so it boots: {exc}")
            return None

    def blame(self) -> None:
        """Note that the machine has booted, and so that its template is no good."""
        if self._suspect is not None:
            cache, key, inode = self._suspect
            cache.blame(key, inode)

    async def _resumed(self, template: Template, stack: AsyncExitStack) -> Appliance:
        job, deadline = self._job, min(self._deadline, trio.current_time() + _RESTORE_S)
        try:
            async with AsyncExitStack() as trying:
                started = await start_restored(job, template, self._console, trying, deadline)
                appliance = await _await_daemon(started, job.config, self._log, trying, deadline)
                try:
                    with trio.fail_at(deadline):
                        await resume(appliance.channels[0], len(job.drives))
                except trio.TooSlowError as exc:
                    raise LaunchTimeout("the restored daemon does not see its drives") from exc
                stack.push_async_exit(trying.pop_all())
                return appliance
        except BaseExceptionGroup as group:
            raise lone_leaf(group) from None


async def prepare_template(config: ApplianceConfig, log: Log, files: ApplianceFiles | None = None) -> Path:
    """Make the template that launches with this configuration are restored from, unless it is there; return its path.

    Raises:
        UsageError: this appliance is not known to be one that can be restored.
        LaunchError: it did not boot, or the cache cannot take it.
    """
    files = files or await find_appliance(log)
    if not files.resumable:
        raise UsageError(f"{files.root.parent}: the appliance there cannot be saved: it is not of this version")
    accelerator = await choose_accelerator(config, files, log)
    job = Job(config, files, accelerator, root_uuid(files.root))
    cache = TemplateCache()
    key = job_key(job)
    async with cache.lock(log):
        cache.forgive(key)
        with suppress(FileNotFoundError, TemplateUnusable), cache.opened(key):
            pass
    deadline = trio.current_time() + config.launch_timeout_s
    await ensure_template(job, cache, key, lambda _data: None, log, deadline)
    return cache.path(key)


async def _await_daemon(
    started: Started, config: ApplianceConfig, log: Log, stack: AsyncExitStack, deadline: float
) -> Appliance:
    """Wait for the launch words, and agree on the extensions; a daemon that has none serves the first channel alone."""
    appliance = started.appliance
    channels = [await stack.enter_async_context(open_channel(stream)) for stream in started.streams]

    def say() -> None:
        log(f"the appliance is still starting: {appliance.console_tail or 'its console is empty yet'}")

    try:
        async with patience(max(0.0, deadline - trio.current_time()), say):
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
    started.run_control()
    return appliance
