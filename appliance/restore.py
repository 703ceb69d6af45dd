"""Templates made and used: boot once without drives and save; later restore, add the drives, and wake the daemon."""

import os
import shutil
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import trio

from appliance.packages import Log
from appliance.patience import lone_leaf, patience
from appliance.qemu_args import TemplateFds, disk_device, drive_node, drive_serial, port_id, qemu_arguments
from appliance.qmp import Qmp, QmpError
from appliance.running import ConsoleSink, Job, Started, TemplateFiles, start_qemu
from appliance.template import Template, TemplateUnusable, finish_template, maker_of, nameless_file, template_key
from appliance.template_cache import TemplateCache
from rpc import procedures
from rpc.client import Channel
from rpc.codec import UInt64
from rpc.errors import DriveError, LaunchError, LaunchTimeout, ProcedureError
from rpc.procedures.extensions import ResumeArgs

_MAKE_S: Final = 300.0
"""A boot that takes longer is not worth saving, and may have hung."""
_ENTROPY_BYTES: Final = 64
_CAPABILITIES: Final = [
    {"capability": "x-ignore-shared", "state": True},  # the memory stays where it is
    {"capability": "events", "state": True},
]


def job_key(job: Job) -> str:
    """Return the key of the template that a job can be restored from.

    Raises:
        LaunchError: qemu, or a file of the appliance, is missing.
    """
    program = shutil.which(job.config.qemu)
    if program is None:
        raise LaunchError(f"{job.config.qemu} is not installed: install the package qemu-system-x86")
    argv = qemu_arguments(
        job.config,
        job.files,
        accelerator=job.accelerator,
        root_uuid=job.root_uuid,
        channel_fds=range(job.config.channel_count),
        control_fd=0,
        drives=(),
        template=TemplateFds(0),
    )
    try:
        return template_key(job.files, Path(program), argv, job.accelerator)
    except OSError as exc:
        raise LaunchError(f"{exc.filename}: {exc.strerror}") from exc


async def ensure_template(
    job: Job, cache: TemplateCache, key: str, console: ConsoleSink, log: Log, deadline: float
) -> None:
    """Make a template unless there is one; whoever comes meanwhile waits for it, and for no second failure.

    Cancellation: nothing is left.

    Raises:
        LaunchError: the appliance did not boot, or qemu could not save it; ImageError: the cache cannot take it.
        LaunchTimeout: the deadline, of trio's clock, has passed.
    """
    if cache.path(key).exists():
        return
    try:
        with trio.fail_at(deadline):
            async with cache.lock(log):
                if cache.path(key).exists():
                    return
                if cache.failed_lately(key):
                    raise LaunchError("another process has just failed to make it")
                cache.prune()
                try:
                    await _make(job._replace(drives=()), cache.path(key), key, console, log)
                except LaunchError:
                    cache.blame(key, None)
                    raise
    except trio.TooSlowError as exc:
        raise LaunchTimeout("its template was not made in time") from exc


async def _make(job: Job, path: Path, key: str, console: ConsoleSink, log: Log) -> None:
    memory_bytes = job.config.ram_mib << 20
    with nameless_file(path.parent, memory_bytes) as file:
        try:
            async with AsyncExitStack() as stack:
                maker = await _save(job, file.fileno(), console, log, stack)
        except BaseExceptionGroup as group:
            raise lone_leaf(group) from None
        await trio.to_thread.run_sync(finish_template, file, path, key, memory_bytes, maker)


async def _save(job: Job, file: int, console: ConsoleSink, log: Log, stack: AsyncExitStack) -> bytes:
    started = await start_qemu(job, console, stack, TemplateFiles(file))
    appliance = started.appliance

    def say() -> None:
        log(f"the appliance is still starting: {appliance.console_tail or 'its console is empty yet'}")

    try:
        async with patience(_MAKE_S, say):
            return await _saved(started, job.config.channel_count, file)
    except trio.TooSlowError as exc:
        raise LaunchTimeout(f"not saved within {_MAKE_S:g} s: {appliance.console_tail}") from exc
    except QmpError as exc:
        raise await _with_console(exc, started) from exc


async def _saved(started: Started, channel_count: int, state_fd: int) -> bytes:
    """Wait until a daemon stands at every port, save the machine, and return what ``maker_of`` tells of qemu."""
    qmp = started.qmp
    maker = maker_of(await qmp.greet())
    closed = {port_id(index) for index in range(channel_count)}
    while closed:
        port = await qmp.event("VSERPORT_CHANGE")
        closed -= {port.get("id")} if port.get("open") else set()
    await qmp.execute("stop")
    await qmp.execute("migrate-set-capabilities", {"capabilities": _CAPABILITIES})
    await qmp.execute("getfd", {"fdname": "state"}, fd=state_fd)
    await qmp.execute("migrate", {"uri": "fd:state"})
    await _migrated(qmp)
    await qmp.execute("quit")
    await started.appliance.wait()
    return maker


async def start_restored(
    job: Job, template: Template, console: ConsoleSink, stack: AsyncExitStack, deadline: float
) -> Started:
    """Start qemu from a template, with the job's drives; its daemon is about to say its launch word.

    Raises:
        LaunchError: qemu could not restore it; LaunchTimeout: not until the deadline, of trio's clock.
        TemplateUnusable: another version of qemu made it.
        DriveError: qemu could not add a drive.
    """
    files = TemplateFiles(template.memory.fileno(), template.state.fileno())
    started = await start_qemu(job, console, stack, files)
    try:
        with trio.fail_at(deadline):
            await _restore(started.qmp, job, template)
    except QmpError as exc:
        raise await _with_console(exc, started) from exc
    except trio.TooSlowError as exc:
        raise LaunchTimeout(f"qemu did not restore it in time: {started.appliance.console_tail}") from exc
    started.appliance.restored = True
    return started


async def _restore(qmp: Qmp, job: Job, template: Template) -> None:
    if maker_of(await qmp.greet()) != template.maker:
        raise TemplateUnusable("another version of qemu made it")
    await qmp.execute("migrate-set-capabilities", {"capabilities": _CAPABILITIES})
    await qmp.execute("migrate-incoming", {"uri": f"fd:{template.state.fileno()}"})
    await _migrated(qmp)
    await _add_drives(qmp, job)
    await qmp.execute("cont")


async def _migrated(qmp: Qmp) -> None:
    while (status := (await qmp.event("MIGRATION")).get("status")) != "completed":
        if status == "failed":
            raise QmpError(f"migrate: {(await qmp.execute('query-migrate')).get('error-desc', 'failed')}")


async def _add_drives(qmp: Qmp, job: Job) -> None:
    for index, (drive, _) in enumerate(job.drives):
        try:
            await qmp.execute("blockdev-add", drive_node(drive, index))
            await qmp.execute("device_add", disk_device(drive, index))
        except QmpError as exc:
            if exc.hung_up:
                raise
            raise DriveError(f"{drive.path}: qemu cannot attach it: {exc}") from exc


async def _with_console(exc: QmpError, started: Started) -> LaunchError:
    """Return the error with what qemu has said on its way out."""
    if exc.hung_up:
        with trio.move_on_after(5):
            await started.appliance.console.ended.wait()
    return LaunchError(f"{exc}: {started.appliance.console_tail}")


async def resume(channel: Channel, drive_count: int) -> None:
    """Tell a restored daemon the time, give it entropy, and wait until it sees all drives.

    Raises:
        LaunchError: it does not, or answers nonsense.
    """
    serials = [drive_serial(index) for index in range(drive_count)]
    args = ResumeArgs(UInt64(time.time_ns()), os.urandom(_ENTROPY_BYTES), serials)
    try:
        devices = await channel.call(procedures.RESUME, args)
    except ProcedureError as exc:
        raise LaunchError(f"the restored daemon cannot go on: {exc.message}") from exc
    if len(devices) != drive_count:
        raise LaunchError(f"the restored daemon sees {len(devices)} drives instead of {drive_count}")
