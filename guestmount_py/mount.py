"""One mount from start to end: appliance, guest's mounts, FUSE, readiness, signals, unmount."""

import json
import math
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from logging import ERROR, WARNING
from pathlib import Path
from typing import Final

import trio

from appliance.config import Drive
from appliance.patience import lone_leaf
from appliance.state import State
from guestmount_py.config import GuestMount, MountConfig
from guestmount_py.events import CallEnded, CallStarted, ConsoleOutput, LogMessage, SubprocessQuit
from guestmount_py.guest_root import GuestRoot, mount_in_guest
from guestmount_py.handle import Guest
from guestmount_py.image_keys import with_image_keys
from guestmount_py.inodes import InodeTable
from guestmount_py.keys import Ask, Keys
from guestmount_py.log import console_sink, logger
from guestmount_py.preconditions import check_fuse
from guestmount_py.serving import serving_record
from guestmount_py.statistics import Statistics
from rpc.errors import GuestmountError

_KEY_ATTEMPTS: Final = 3
_WRITTEN_BACK_S: Final = 30.0
"""How long a signal waits for what programs have changed in mapped files."""


async def serve_mount(
    config: MountConfig, *, log_file: Path, report: Callable[[str], None], ready: Callable[[], None], ask: Ask
) -> None:
    """Mount, say when it is ready, and return when it is unmounted and the appliance has gone.

    SIGTERM, SIGINT and SIGHUP unmount too, lazily if the mount is busy.

    Raises:
        GuestmountError: anything failed before the mount was ready; nothing is left then.
    """
    check_fuse(config.mountpoint)
    mountpoint = Path(os.path.realpath(config.mountpoint))
    _warn_if_not_empty(mountpoint, report)
    if config.overlays:
        from guestmount_py.overlay import overlaid

        config = await overlaid(config)
    drives = await with_image_keys(config.drives, Keys(config.keys, ask, 1))
    guest = _configured_guest(config, drives, report)
    statistics = Statistics()
    guest.subscribe(CallEnded, statistics.note_call)
    async with AsyncExitStack() as stack:
        record = stack.enter_context(ExitStack())  # entered first: it ends only after the appliance
        await stack.enter_async_context(guest)
        await _launch(guest)
        logger.info("appliance is ready, qemu is process %d", guest.pid)
        await _unlock(guest, config, ask)
        if config.inspect or config.everything:
            config = await _inspected(guest, config, report, ask)
        root, mounts = await mount_in_guest(guest, config, report)
        config = replace(config, mounts=mounts)
        if config.everything:
            root = await _with_shelves(guest, root, mounts)
        ending = _Ending()
        try:
            async with _serving(guest, root, statistics, config, mountpoint, ending) as serving:
                ending.note = record.enter_context(serving_record(mountpoint, log_file, writable=config.writable))
                await serving.start(_unmount_on_signal, serving.cancel_scope, mountpoint if config.writable else None)
                await serving.start(_write_on_signal, statistics, config.stats)
                ready()
                logger.info("mounted on %s", mountpoint)
                await trio.sleep(math.inf)
        except BaseExceptionGroup as group:
            raise lone_leaf(group) from None
        logger.info("unmounted")
        if config.stats:
            _write(statistics, config.stats)
        await _shut_down(guest, ending, writable=config.writable)


@dataclass(slots=True)
class _Ending:
    """How a mount ends.

    Attributes:
        failure: what could not be written.
        note: writes that down for guestunmount-py.
    """

    failure: str | None = None
    note: Callable[[str | None], None] | None = None


@asynccontextmanager
async def _serving(
    guest: Guest, root: GuestRoot, statistics: Statistics, config: MountConfig, mountpoint: Path, ending: _Ending
) -> AsyncIterator[trio.Nursery]:
    """Own the mount; what was promised to be written has been when it is given up."""
    from guestmount_py.fuse_loop import fuse_mounted, fuse_mounted_writable

    where = mountpoint, config.fuse_options, str(config.drives[0].path)
    if config.writable:
        from guestmount_py.writing_mount import opened_writing

        async with opened_writing(guest, root, statistics, config) as operations:
            async with fuse_mounted_writable(operations, *where) as serving:
                yield serving
            try:
                await operations.finish()
            except GuestmountError as exc:
                logger.error("%s", exc)
                ending.failure = str(exc)
        return
    from guestmount_py.tree import Tree

    async with guest.images(statistics, config.plane) as images, trio.open_nursery() as nursery:
        tree = Tree(
            guest.files,
            InodeTable(root.root, root.devices, root.unnumbered),
            nursery,
            statistics,
            images,
            config.cache_mib,
        )
        async with fuse_mounted(tree, *where) as serving:
            yield serving
        nursery.cancel_scope.cancel()


def _configured_guest(config: MountConfig, drives: Sequence[Drive], report: Callable[[str], None]) -> Guest:
    guest = Guest()
    guest.configure(verbose=config.verbose)
    if not config.template:
        guest.configure(template=False)
    if config.keys or config.keys_from_stdin:
        guest.configure(encrypted=True)
    for drive in drives:
        guest.add_drive(
            drive.path,
            format=drive.format,
            blocksize_bytes=drive.blocksize_bytes,
            writable=config.writable and not drive.only_read,
            snapshot=drive.snapshot,
            key=drive.key,
        )
    sink = console_sink()
    guest.subscribe(ConsoleOutput, lambda event: sink(event.data))
    guest.subscribe(LogMessage, lambda event: report(event.text))
    guest.subscribe(SubprocessQuit, _note_death)
    if config.trace:
        guest.subscribe(CallStarted, lambda event: logger.debug("call %s %r", event.procedure, event.args))
    return guest


async def _launch(guest: Guest) -> None:
    """Launch, and import meanwhile what comes after it: pyfuse3 takes a tenth of the time to a mount."""
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, partial(import_module, "guestmount_py.fuse_loop"))
            await guest.launch()
    except BaseExceptionGroup as group:
        raise lone_leaf(group) from None


async def _unlock(guest: Guest, config: MountConfig, ask: Ask) -> None:
    """Open the encrypted devices that something to be mounted may be on."""
    wanted = [mount.block_device for mount in config.mounts if not mount.is_on_disk]
    if wanted:
        for closed in await _open_encrypted(guest, config, ask, wanted):
            logger.warning("%s", closed)


async def _open_encrypted(guest: Guest, config: MountConfig, ask: Ask, wanted: Sequence[str] | None) -> list[str]:
    from guestmount_py.unlocking import unlock

    attempts = 1 if config.keys_from_stdin else _KEY_ATTEMPTS
    return await unlock(guest, Keys(config.keys, ask, attempts), wanted, writable=config.writable)


async def _inspected(guest: Guest, config: MountConfig, report: Callable[[str], None], ask: Ask) -> MountConfig:
    """Add what an operating system on the disks mounts, or everything, to what is to be mounted."""
    from guestmount_py.inspection import chosen_system, find_systems, find_systems_if_possible

    find = find_systems_if_possible if config.everything else find_systems
    found = await find(guest, report)
    closed: list[str] = []
    if found.encrypted:
        closed = await _open_encrypted(guest, config, ask, None)
        found = await find(guest, report)
    if config.everything:
        from guestmount_py.everything import shelves

        mounts = tuple(await shelves(guest, found.systems, report))
        shown = {mount.device for mount in mounts}  # of those it will be said why they are left out
        for line in (*closed, *(line for device, line in found.unread.items() if device not in shown)):
            report(f"warning: {line}")
        return replace(config, mounts=mounts)
    hidden = [*closed, *found.unread.values()]
    system = await chosen_system(guest, found.systems, config.root, hidden)
    for line in hidden:
        report(f"warning: {line}")
    logger.info("the operating system is %s on %s", system.title, system.root)
    for line in system.warnings():
        report(f"warning: {line}")
    for line in system.notes:
        logger.info("%s", line)
    return replace(config, mounts=(*system.mounts(), *config.mounts))


async def _with_shelves(guest: Guest, root: GuestRoot, mounts: Sequence[GuestMount]) -> GuestRoot:
    """Finish the directories that everything is mounted on.

    Files get their inode numbers by the names of those directories, not by the order of the mounts, so another disk
    changes none of them.
    """
    from guestmount_py.everything import label_shelves

    await label_shelves(guest, mounts)
    return root._replace(devices=())


async def _shut_down(guest: Guest, ending: _Ending, *, writable: bool) -> None:
    """Let the guest write everything out and unmount.

    Raises:
        GuestmountError: something was not written; if nothing could be, that is worth no more than a line in the log.
    """
    if writable and guest.state is not State.READY:
        ending.failure = ending.failure or "the appliance died, and with it what was not synchronised"
    try:
        await guest.shutdown()
    except GuestmountError as exc:
        logger.log(ERROR if writable else WARNING, "the guest could not unmount: %s", exc)
        if writable:
            ending.failure = ending.failure or str(exc)
    if ending.note is not None:
        ending.note(ending.failure)
    if ending.failure is not None:
        raise GuestmountError(f"not everything was written: {ending.failure}")


def _warn_if_not_empty(mountpoint: Path, report: Callable[[str], None]) -> None:
    if any(mountpoint.iterdir()):
        report(f"warning: {mountpoint} is not empty: its files are hidden while the guest is mounted on it")


async def _unmount_on_signal(
    scope: trio.CancelScope, written: Path | None, task_status: "trio.TaskStatus[None]"
) -> None:
    """Unmount when a signal says so; of a mount that is ``written`` to, first have the kernel give us what it has."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        task_status.started()
        async for number in signals:
            logger.info("signal %d: unmounting", number)
            if written is not None:
                with trio.move_on_after(_WRITTEN_BACK_S):
                    await trio.to_thread.run_sync(_write_back, written, abandon_on_cancel=True)
            scope.cancel()
            return


def _write_back(mountpoint: Path) -> None:
    """Have the kernel write back what programs have changed in mapped files: a busy mount is given up without that."""
    import ctypes

    try:
        descriptor = os.open(mountpoint, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:  # nobody answers any more
        return
    try:
        ctypes.CDLL(None).syncfs(descriptor)
    finally:
        os.close(descriptor)


async def _write_on_signal(statistics: Statistics, path: Path | None, task_status: "trio.TaskStatus[None]") -> None:
    """Write the statistics whenever it is asked for; started when a signal cannot end the process any more."""
    with trio.open_signal_receiver(signal.SIGUSR1) as signals:
        task_status.started()
        async for _ in signals:
            _write(statistics, path)


def _write(statistics: Statistics, path: Path | None) -> None:
    """Write the statistics to a file, or into the log."""
    if path is None:
        logger.info("statistics: %s", json.dumps(statistics.as_dict()))
        return
    try:
        statistics.write(path)
    except OSError as exc:
        logger.error("the statistics cannot be written to %s: %s", path, exc.strerror)


def _note_death(event: SubprocessQuit) -> None:
    """Log the appliance's end; the mount stays and answers EIO, for an empty directory would mislead a backup."""
    logger.error("the appliance died: every access answers EIO until the mount is unmounted: %s", event.console)
