"""Dirty bitmaps in qcow2 images, which tell a backup what was written: those of files, and of a running qemu."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from appliance.process import ProgramFailed, run_program
from guestmount_py.storage_daemon import StorageDaemon
from rpc.errors import DriveError

_INFO_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Bitmap:
    """A persistent dirty bitmap, which tells a backup what was written.

    Attributes:
        recording: it is kept up to date by whoever writes.
        consistent: whoever had it open last has saved it; otherwise what it should say is lost.
    """

    name: str
    granularity_bytes: int
    recording: bool
    consistent: bool

    @property
    def is_valid(self) -> bool:
        """Tell whether it has seen every write since it was made."""
        return self.recording and self.consistent


async def image_info(path: Path, kind: str) -> dict[str, Any]:
    """Return what qemu-img tells of an image, without opening another file.

    Raises:
        DriveError: it cannot be read.
    """
    try:
        found = json.loads(
            await run_program(["qemu-img", "info", "-U", "--output=json", "-f", kind, path], timeout_s=_INFO_S)
        )
    except (ProgramFailed, ValueError) as exc:
        raise DriveError(f"{path}: cannot be read as {kind}: {exc}") from exc
    return found if isinstance(found, dict) else {}


def bitmaps_of(info: dict[str, Any]) -> tuple[Bitmap, ...]:
    """Return the bitmaps among what ``image_info`` tells."""
    data = info.get("format-specific", {}).get("data", {})
    return tuple(
        Bitmap(each["name"], each["granularity"], "auto" in each["flags"], "in-use" not in each["flags"])
        for each in data.get("bitmaps", ())
    )


async def node_bitmaps(daemon: StorageDaemon, node: str) -> dict[str, dict[str, Any]]:
    """Return the persistent bitmaps of a node by their names, as qemu describes them."""
    nodes = await daemon.execute("query-named-block-nodes", flat=True)
    [found] = [each for each in nodes if each["node-name"] == node]
    return {bitmap["name"]: bitmap for bitmap in found.get("dirty-bitmaps", ()) if bitmap["persistent"]}


async def restore_bitmaps(daemon: StorageDaemon, source: str, target: str) -> None:
    """Make a node's bitmaps what they are in another one, but not recording."""
    present = await node_bitmaps(daemon, target)
    for name, bitmap in (await node_bitmaps(daemon, source)).items():
        if name in present:
            await daemon.execute("block-dirty-bitmap-remove", node=target, name=name)
        await add_bitmap(daemon, target, name, bitmap["granularity"], recording=False)
        await merge_bitmap(daemon, source, name, target)


async def add_bitmap(daemon: StorageDaemon, node: str, name: str, granularity: int, *, recording: bool) -> None:
    """Add an empty bitmap that is kept in the image's file."""
    await daemon.execute(
        "block-dirty-bitmap-add",
        node=node,
        name=name,
        granularity=granularity,
        persistent=True,
        disabled=not recording,
    )


async def merge_bitmap(daemon: StorageDaemon, source: str, name: str, target: str) -> None:
    """Add what one node's bitmap tells to its namesake of another node."""
    bitmaps = [{"node": source, "name": name}]
    await daemon.execute("block-dirty-bitmap-merge", node=target, target=name, bitmaps=bitmaps)


async def check_saved(path: Path, wanted: dict[str, bool]) -> None:
    """Insist that an image's bitmaps were saved: their names, and whether they record.

    Raises:
        DriveError: one is lost or missing; who runs out of space while saving them does not say so.
    """
    found = {bitmap.name: bitmap for bitmap in bitmaps_of(await image_info(path, "qcow2"))}
    for name, recording in wanted.items():
        bitmap = found.get(name)
        if bitmap is None or not bitmap.consistent or bitmap.recording != recording:
            raise DriveError(f"{path}: the bitmap {name} was not saved: is the disk full? run the commit again")
