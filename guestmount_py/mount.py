"""One mount from start to end: appliance, guest's mounts, FUSE, readiness, signals, unmount."""

import json
import math
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Final

import trio

from appliance.patience import lone_leaf, patience
from guestmount_py.config import GuestMount, MountConfig
from guestmount_py.events import CallEnded, CallStarted, ConsoleOutput, LogMessage, SubprocessQuit
from guestmount_py.guest_files import GuestFiles
from guestmount_py.handle import Guest
from guestmount_py.inode_numbers import UNNUMBERED_ROOT, UNNUMBERED_TYPES
from guestmount_py.inodes import InodeTable
from guestmount_py.log import console_sink, logger
from guestmount_py.preconditions import check_fuse
from guestmount_py.serving import serving_record
from guestmount_py.statistics import Statistics
from rpc.errors import GuestmountError, ProcedureError, UsageError

_MOUNT_IN_GUEST_S: Final = 1200.0
"""A large journal may have to be replayed first, under emulation."""


async def serve_mount(
    config: MountConfig, *, log_file: Path, report: Callable[[str], None], ready: Callable[[], None]
) -> None:
    """Mount, say when it is ready, and return when it is unmounted and the appliance has gone.

    SIGTERM, SIGINT and SIGHUP unmount too, lazily if the mount is busy.

    Raises:
        GuestmountError: anything failed before the mount was ready; nothing is left then.
    """
    check_fuse(config.mountpoint)
    mountpoint = Path(os.path.realpath(config.mountpoint))
    _warn_if_not_empty(mountpoint, report)
    guest = _configured_guest(config, report)
    statistics = Statistics()
    guest.subscribe(CallEnded, statistics.note_call)
    async with AsyncExitStack() as stack:
        record = stack.enter_context(ExitStack())  # entered first: it ends only after the appliance
        await stack.enter_async_context(guest)
        await _launch(guest)
        from guestmount_py.fuse_loop import fuse_mounted
        from guestmount_py.tree import Tree

        logger.info("appliance is ready, qemu is process %d", guest.pid)
        files = guest.files
        inodes = await _mount_all(files, config.mounts, report)
        try:
            async with guest.images(statistics, config.plane) as images, trio.open_nursery() as nursery:
                tree = Tree(files, inodes, nursery, statistics, images, config.cache_mib)
                source = str(config.drives[0].path)
                async with fuse_mounted(tree, mountpoint, config.fuse_options, source) as serving:
                    record.enter_context(serving_record(mountpoint, log_file))
                    await serving.start(_unmount_on_signal, serving.cancel_scope)
                    await serving.start(_write_on_signal, statistics, config.stats)
                    ready()
                    logger.info("mounted on %s", mountpoint)
                    await trio.sleep(math.inf)
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise lone_leaf(group) from None
        logger.info("unmounted")
        if config.stats:
            _write(statistics, config.stats)
        await _shut_down(guest)


def _configured_guest(config: MountConfig, report: Callable[[str], None]) -> Guest:
    guest = Guest()
    guest.configure(verbose=config.verbose)
    if not config.template:
        guest.configure(template=False)
    for drive in config.drives:
        guest.add_drive(drive.path, format=drive.format, blocksize_bytes=drive.blocksize_bytes)
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


async def _shut_down(guest: Guest) -> None:
    """Let the guest unmount; nothing was written, so that a failure is worth no more than a line in the log."""
    try:
        await guest.shutdown()
    except GuestmountError as exc:
        logger.warning("the guest could not unmount: %s", exc)


async def _mount_all(files: GuestFiles, mounts: Sequence[GuestMount], report: Callable[[str], None]) -> InodeTable:
    """Mount the guest's filesystems."""
    try:
        async with patience(_MOUNT_IN_GUEST_S, lambda: report("the guest is still mounting its filesystems")):
            for mount in mounts:
                await _mount_in_guest(files, mount)
            return await inode_table(files, mounts)
    except trio.TooSlowError as exc:
        raise GuestmountError(f"the guest did not mount its filesystems within {_MOUNT_IN_GUEST_S:g} s") from exc


async def _mount_in_guest(files: GuestFiles, mount: GuestMount) -> None:
    try:
        await files.mount(mount.device, mount.mountpoint, mount.read_only_options, mount.fstype)
    except ProcedureError as exc:
        found = ""
        with suppress(GuestmountError):  # the reason of the first failure is what counts
            found = ", ".join(f"{device} ({kind})" for device, kind in await files.filesystems() if kind != "unknown")
        hint = f"the filesystems are {found}" if found else "no filesystem was found on any disk"
        reason = exc.message.partition(";")[0].rstrip(".")  # the rest is mount(8)'s pointer to dmesg(1)
        raise GuestmountError(f"cannot mount {mount.device}: {reason}: {hint}") from exc


async def inode_table(files: GuestFiles, mounts: Sequence[GuestMount]) -> InodeTable:
    """Return the table of inodes of filesystems that are mounted in the guest.

    Raises:
        GuestmountError: nothing is mounted on ``/``.
        UsageError: two of them are the same.
    """
    try:
        root = await files.lstat(b"/", b"")
    except ProcedureError as exc:
        raise GuestmountError(
            f"nothing is mounted on / in the guest: {exc.message}: give one -m without a path"
        ) from exc
    points = [(await files.lstat(mount.mountpoint, b"")).fields for mount in mounts]
    seen: dict[tuple[int, ...], GuestMount] = {}
    for mount, point in zip(mounts, points, strict=True):
        other = seen.setdefault(point[:2], mount)
        if other is not mount:
            raise UsageError(
                f"-m {mount.device} and -m {other.device} show the same filesystem: give each place only once"
            )
    unnumbered = {
        point[0] for mount, point in zip(mounts, points, strict=True) if await _is_unnumbered(files, mount, point)
    }
    return InodeTable(root, (point[0] for point in points), unnumbered)


async def _is_unnumbered(files: GuestFiles, mount: GuestMount, root: tuple[int, ...]) -> bool:
    """Tell whether a filesystem has no inode numbers of its own."""
    if root[1] != UNNUMBERED_ROOT:  # so most need not be asked about
        return False
    with suppress(ProcedureError):
        return mount.fstype in UNNUMBERED_TYPES or await files.vfs_type(mount.device) in UNNUMBERED_TYPES
    return False


def _warn_if_not_empty(mountpoint: Path, report: Callable[[str], None]) -> None:
    if any(mountpoint.iterdir()):
        report(f"warning: {mountpoint} is not empty: its files are hidden while the guest is mounted on it")


async def _unmount_on_signal(scope: trio.CancelScope, task_status: "trio.TaskStatus[None]") -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        task_status.started()
        async for number in signals:
            logger.info("signal %d: unmounting", number)
            scope.cancel()
            return


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
