"""Merging an overlay into its base, which may be broken off at any moment and done again.

Until the end the overlay is only read, so that it shows the whole disk all the time; the base alone does not. What an
overlay cannot give back are the base's dirty bitmaps: qemu marks them as lost as soon as it opens the base for writing,
until it has closed it. So they are copied to a file of their own first, the journal:

    FILE.commit made, whole  →  base's bitmaps as in the journal  →  data copied  →  bitmaps merged, saved, looked at
                             →  base on disk  →  FILE.commit removed  →  FILE removed

Who finds a journal begins behind its making. Each step may be done twice.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import trio

from appliance.image_use import RESIZE, WRITE, check_unused, denied
from appliance.process import ProgramFailed, run_program
from appliance.qcow2 import empty_image
from guestmount_py.bitmaps import add_bitmap, check_saved, image_info, merge_bitmap, node_bitmaps, restore_bitmaps
from guestmount_py.overlay import Overlay, check_base, check_journal, note_commit, read_overlay, remove, stamp, sync
from guestmount_py.storage_daemon import StorageDaemon, storage_daemon
from rpc.errors import DriveError

_JOB: Final = "commit"
_REPORT_S: Final = 0.2
_REPAIR_S: Final = 3600.0


async def commit_overlay(path: Path, report: Callable[[int, int], None] = lambda _done, _all: None) -> None:
    """Merge an overlay into its base and remove it.

    Cancellation: the overlay is as good as before; the base holds part of it until a commit has ended.

    Args:
        path: the overlay.
        report: is told now and then how many bytes of how many are done.

    Raises:
        DriveError: one of the files is in use, cannot be written to, or the disk is full.
    """
    overlay = await read_overlay(path)
    with denied(overlay.path, WRITE, RESIZE, alone=True):
        overlay = await read_overlay(path)  # as it is now that nobody writes to it
        check_journal(overlay)
        check_base(overlay)
        check_unused(overlay.base)
        if not os.access(overlay.base, os.W_OK):
            raise DriveError(f"{overlay.base}: permission denied: you need write permission on the image to merge into")
        size_bytes = (await image_info(overlay.base, overlay.base_format))["virtual-size"]
        if size_bytes != overlay.size_bytes:
            raise DriveError(f"{overlay.path}: its base {overlay.base} has another size: see 'qemu-img resize'")
        resumed = overlay.journal.exists()
        async with storage_daemon() as daemon:
            kept = await _merge(daemon, overlay, report)
        if overlay.base_format == "qcow2":
            if resumed:
                await _free_leaks(overlay.base)
            await check_saved(overlay.base, {name: bitmap["recording"] for name, bitmap in kept.items()})
        _finish(overlay)


async def _merge(
    daemon: StorageDaemon, overlay: Overlay, report: Callable[[int, int], None]
) -> dict[str, dict[str, Any]]:
    """Do all that qemu does of it; return the bitmaps that the base must have then."""
    base = {"driver": overlay.base_format, "node-name": "base", "file": "base-file"}
    info = await image_info(overlay.base, overlay.base_format)
    below = info.get("full-backing-filename")
    if below:
        await _add_below(daemon, overlay.base, Path(below), info.get("backing-filename-format"))
        base["backing"] = "below"
    driver = "host_device" if overlay.base.is_block_device() else "file"
    await daemon.execute(
        "blockdev-add",
        **{"driver": driver, "node-name": "base-file", "filename": str(overlay.base), "auto-read-only": True},
    )
    await daemon.execute("blockdev-add", **base, read_only=True)  # from now on nobody else writes to it
    if not overlay.journal.exists():
        await _make_journal(daemon, overlay)
    await _add_file(daemon, "journal", overlay.journal, read_only=True)
    await _add_file(daemon, "overlay", overlay.path, read_only=True, backing="base")
    kept = await node_bitmaps(daemon, "journal")
    note_commit(overlay, begun=True)
    await daemon.execute("blockdev-reopen", options=[{**base, "read-only": False}])
    await restore_bitmaps(daemon, "journal", "base")  # not recording: what is copied shall not count as written
    known = {bitmap.name for bitmap in overlay.bitmaps if bitmap.is_valid}
    recording = [name for name, bitmap in kept.items() if bitmap["recording"]]
    for name in recording:
        if name not in known:  # the overlay's is lost, so all that is copied counts as written
            await daemon.execute("block-dirty-bitmap-enable", node="base", name=name)
    await _copy(daemon, report)
    await daemon.execute("blockdev-reopen", options=[{**base, "read-only": False}])
    for name in recording:
        if name in known:
            await merge_bitmap(daemon, "overlay", name, "base")
            await daemon.execute("block-dirty-bitmap-enable", node="base", name=name)
    await daemon.execute("blockdev-reopen", options=[{**base, "read-only": True}])  # which saves them, or fails
    return kept


async def _add_below(daemon: StorageDaemon, base: Path, below: Path, kind: str | None) -> None:
    """Add the image that the base itself is an overlay of; those below it are found by qemu."""
    if kind is None or not below.is_absolute():
        raise DriveError(
            f"{base}: its backing file {below} cannot be opened: name its format with 'qemu-img rebase -u'"
        )
    driver = "host_device" if below.is_block_device() else "file"
    file = {"driver": driver, "filename": str(below)}
    await daemon.execute("blockdev-add", **{"driver": kind, "node-name": "below", "file": file}, read_only=True)


async def _add_file(
    daemon: StorageDaemon, name: str, path: Path, *, read_only: bool, backing: str | None = None
) -> None:
    """Add a qcow2 image that is a file."""
    file = {"driver": "file", "node-name": f"{name}-file", "filename": str(path)}
    await daemon.execute("blockdev-add", **file, read_only=read_only)
    node = {"driver": "qcow2", "node-name": name, "file": f"{name}-file", "backing": backing}
    await daemon.execute("blockdev-add", **node, read_only=read_only)


async def _make_journal(daemon: StorageDaemon, overlay: Overlay) -> None:
    """Copy the base's bitmaps that are not lost, and note, empty, those that only the overlay has."""
    part = overlay.journal_part
    try:
        _write_empty(part, overlay.size_bytes)
        await _add_file(daemon, "journal", part, read_only=False)
        present = await node_bitmaps(daemon, "base")
        wanted = {}
        for name, bitmap in present.items():
            if not bitmap.get("inconsistent"):
                wanted[name] = bitmap["recording"]
                await add_bitmap(daemon, "journal", name, bitmap["granularity"], recording=bitmap["recording"])
                await merge_bitmap(daemon, "base", name, "journal")
        for new in overlay.bitmaps:
            if new.is_valid and new.name not in present and overlay.base_format == "qcow2":
                wanted[new.name] = True
                await add_bitmap(daemon, "journal", new.name, new.granularity_bytes, recording=True)
        for node in ("journal", "journal-file"):
            await daemon.execute("blockdev-del", node_name=node)  # saved now
        await check_saved(part, wanted)
        sync(part)
        part.rename(overlay.journal)
        sync(part.parent)
    except OSError as exc:
        raise DriveError(f"{part}: {exc.strerror}: nothing was merged yet") from exc


def _write_empty(path: Path, size_bytes: int) -> None:
    start, length_bytes = empty_image(size_bytes)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(start)
        file.truncate(length_bytes)


async def _copy(daemon: StorageDaemon, report: Callable[[int, int], None]) -> None:
    """Write all that the overlay has to the base, and flush it."""
    await daemon.execute("block-commit", job_id=_JOB, device="overlay", base_node="base", auto_dismiss=False)
    completing = False
    while True:
        [job] = await daemon.execute("query-jobs")
        report(job["current-progress"], job["total-progress"])
        if job["status"] == "concluded":
            break
        if job["status"] == "ready" and not completing:
            completing = True
            await daemon.execute("job-complete", id=_JOB)
        with trio.move_on_after(_REPORT_S):
            await daemon.event("JOB_STATUS_CHANGE")
    await daemon.execute("job-dismiss", id=_JOB)
    if "error" in job:
        raise DriveError(f"the overlay could not be merged: {job['error']}: it is as it was; run the commit again")


async def _free_leaks(base: Path) -> None:
    """Free clusters that a qemu which was killed had taken and not used yet."""
    try:
        await run_program(["qemu-img", "check", "-q", "-r", "leaks", "-f", "qcow2", base], timeout_s=_REPAIR_S)
    except ProgramFailed as exc:
        raise DriveError(f"{base}: is damaged: {exc}") from exc


def _finish(overlay: Overlay) -> None:
    """Remove what is not needed any more, once the base is on disk."""
    try:
        sync(overlay.base)
        stamp(overlay.path, overlay.base)  # between the two removals it may be asked whether it fits
        note_commit(overlay, begun=False)
        overlay.journal.unlink()
        sync(overlay.journal.parent)
    except OSError as exc:
        raise DriveError(f"{overlay.path}: the commit cannot be ended: {exc.strerror}: run it again") from exc
    remove(overlay)
