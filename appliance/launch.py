"""Launch an appliance: CONFIG → LAUNCHING → READY, and back to CONFIG when qemu has gone."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import trio

from appliance.accelerator import choose_accelerator
from appliance.cache import cache_directory, make_private
from appliance.config import ApplianceConfig, ApplianceFiles
from appliance.drives import check_drive, make_overlay
from appliance.locate import find_appliance
from appliance.packages import Log
from appliance.patience import lone_leaf, patience
from appliance.restore import ensure_template, job_key, resume, start_restored
from appliance.running import Appliance, ConsoleSink, Job, Started, root_uuid, start_qemu
from appliance.state import Event, State, StateMachine
from appliance.template import (
    Template,
    TemplateUnusable,
    discard_template,
    failed_lately,
    note_failure,
    opened_template,
    template_path,
)
from rpc.client import open_channel
from rpc.errors import ConnectionLost, LaunchError, LaunchTimeout, ProtocolError, RemoteProtocolError, UsageError

_RESTORE_S: Final = 60.0
"""How long a restored daemon may be silent; it needs a tenth of a second."""


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
    drives = [await check_drive(drive) for drive in config.drives]
    files = files or await find_appliance(log)
    accelerator = await choose_accelerator(config, files, log)
    with ExitStack() as overlays:  # qemu inherits them
        fds = [overlays.enter_context(make_overlay(drive, config.temporary)).fileno() for drive in drives]
        job = Job(config, files, accelerator, root_uuid(files.root), list(zip(drives, fds, strict=True)))
        if config.template and files.resumable:
            restored = await _restored(job, log, console, stack)
            if restored is not None:
                return restored
        started = await start_qemu(job, console, stack)
    return await _await_daemon(started, config, log, stack)


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
    directory = cache_directory()
    make_private(directory)
    key = job_key(job)
    note_failure(directory, key, failed=False)
    with suppress(FileNotFoundError):
        _check_template(directory, key)
    await ensure_template(job, directory, key, lambda _data: None, log)
    return template_path(directory, key)


def _check_template(directory: Path, key: str) -> None:
    try:
        with opened_template(directory, key):
            pass
    except TemplateUnusable:
        discard_template(directory, key)


async def _restored(job: Job, log: Log, console: ConsoleSink, stack: AsyncExitStack) -> Appliance | None:
    """Return an appliance restored from a template; None if that failed, which costs no more than a line in the log.

    Raises:
        DriveError: qemu cannot attach a drive, and could not if it booted.
    """
    directory = cache_directory()
    key = job_key(job)
    if failed_lately(directory, key):
        log("the appliance boots: restoring it failed within the last hour")
        return None
    try:
        make_private(directory)
        await ensure_template(job, directory, key, console, log)
        with opened_template(directory, key) as template:
            return await _resumed(job, template, console, log, stack)
    except (LaunchError, ConnectionLost, ProtocolError, TemplateUnusable, FileNotFoundError) as exc:
        discard_template(directory, key)
        if not isinstance(exc, TemplateUnusable | FileNotFoundError):  # the next one made will do
            with suppress(OSError):
                note_failure(directory, key)
        log(f"the appliance could not be restored from its template, so it boots: {exc}")
        return None


async def _resumed(job: Job, template: Template, console: ConsoleSink, log: Log, stack: AsyncExitStack) -> Appliance:
    try:
        async with AsyncExitStack() as trying:
            started = await start_restored(job, template, console, trying)
            config = replace(job.config, launch_timeout_s=min(_RESTORE_S, job.config.launch_timeout_s))
            appliance = await _await_daemon(started, config, log, trying)
            try:
                with trio.fail_after(_RESTORE_S):
                    await resume(appliance.channels[0], len(job.drives))
            except trio.TooSlowError as exc:
                raise LaunchTimeout("the restored daemon does not see its drives") from exc
            stack.push_async_exit(trying.pop_all())
            return appliance
    except BaseExceptionGroup as group:
        raise lone_leaf(group) from None


async def _await_daemon(started: Started, config: ApplianceConfig, log: Log, stack: AsyncExitStack) -> Appliance:
    """Wait for the launch words, and agree on the extensions; a daemon that has none serves the first channel alone."""
    appliance = started.appliance
    channels = [await stack.enter_async_context(open_channel(stream)) for stream in started.streams]

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
    started.run_control()
    return appliance
