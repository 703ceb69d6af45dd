"""The drives as a running qemu holds them: whether the guest wrote to one, and its bytes by a read-only export."""

import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final

import trio

from appliance.control import Control
from appliance.drives import CheckedDrive
from appliance.qemu_args import node_name
from appliance.qmp import QmpError
from appliance.sockets import bind_nameless
from rpc.constants import MAILBOX_SERIAL
from rpc.errors import ConnectionLost, DriveError

_MAILBOX_FDSET: Final = 1000
MAILBOX_NODE: Final = {
    "driver": "raw",
    "node-name": MAILBOX_SERIAL,
    "file": {"driver": "file", "filename": f"/dev/fdset/{_MAILBOX_FDSET}", "locking": "off"},
    "cache": {"no-flush": True},
}
_CHANGES: Final = ("wr_operations", "unmap_operations", "failed_wr_operations", "failed_unmap_operations")
MAILBOX_DEVICE: Final = {
    "driver": "scsi-hd",
    "bus": "scsi.0",
    "drive": MAILBOX_SERIAL,
    "scsi-id": 255,
    "serial": MAILBOX_SERIAL,
}
"""Behind all drives, which have lower numbers."""


class Blocks:
    """What qemu holds of each drive, asked over the control channel.

    Attributes:
        drives: in the order of their serial numbers, see ``drive_serial``.
    """

    def __init__(self, control: Control, drives: Sequence[CheckedDrive]) -> None:
        self.drives: Final = tuple(drives)
        self._control: Final = control
        self._server: int | None = None
        """A descriptor of the inode of the server's socket: the only way to it, for its name is gone."""
        self._exported: set[int] = set()
        self._exporting = trio.Lock()

    async def written(self, index: int) -> bool:
        """Tell whether anything of a drive is in its overlay, so that the image alone is out of date.

        qemu counts a guest's writes and discards at the disk (``wr_operations``, ``unmap_operations``; those that
        failed, perhaps halfway, apart), and at a node how far any write reached (``wr_highest_offset``), each when it
        is complete (qemu: qapi/block-core.json).

        Raises:
            DriveError: qemu does not tell; ConnectionLost: it has gone.
        """
        name = node_name(index)
        disks = await self._execute("query-blockstats", {"query-nodes": False})
        nodes = await self._execute("query-blockstats", {"query-nodes": True})
        try:
            [disk] = [each["stats"] for each in disks if each.get("node-name") == name]
            [node] = [each for each in nodes if each.get("node-name") == name]
            reached = (each["wr_highest_offset"] for each in (node["stats"], node["parent"]["stats"]))
            return any(disk[count] for count in _CHANGES) or any(reached)
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise DriveError(f"qemu does not tell whether {name} was written to") from exc

    async def add_mailbox(self, descriptor: int) -> None:
        """Add a disk to the running machine that is a file of ours; the daemon knows it by its serial number.

        Raises:
            DriveError: qemu refuses; ConnectionLost: it has gone.
        """
        await self._execute("add-fd", {"fdset-id": _MAILBOX_FDSET}, fd=descriptor)
        await self._execute("blockdev-add", MAILBOX_NODE)
        await self._execute("device_add", MAILBOX_DEVICE)

    async def connect(self, index: int) -> trio.SocketStream:
        """Return a new connection to qemu's NBD server, which exports the drive as the guest sees it.

        The export's name is ``node_name(index)``; it can only be read. There is no way to the server but this one.

        Raises:
            DriveError: qemu refuses to export it; ConnectionLost: it has gone.
        """
        async with self._exporting:
            if self._server is None:
                self._server = await self._serve()
            if index not in self._exported:
                await self._execute("block-export-add", _export(node_name(index)))
                self._exported.add(index)
        client = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            await client.connect(f"/proc/self/fd/{self._server}")
        except OSError as exc:
            client.close()
            raise ConnectionLost(f"qemu's export cannot be reached: {exc.strerror}") from exc
        return trio.SocketStream(client)

    def close(self) -> None:
        """Forget the way to the exports; connections stay."""
        if self._server is not None:
            os.close(self._server)
            self._server = None

    async def _serve(self) -> int:
        """Give qemu a listening socket for its NBD server, and return the way to it."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener, ExitStack() as undo:
            inode = bind_nameless(listener)
            undo.callback(os.close, inode)
            await self._execute("getfd", {"fdname": "nbd"}, fd=listener.fileno())
            await self._execute("nbd-server-start", {"addr": {"type": "fd", "data": {"str": "nbd"}}})
            undo.pop_all()
        return inode

    async def _execute(self, command: str, arguments: dict[str, Any], *, fd: int | None = None) -> Any:
        try:
            return await self._control.execute(command, arguments, fd=fd)
        except QmpError as exc:
            if exc.hung_up:
                raise ConnectionLost(f"the appliance went away: {exc}") from exc
            raise DriveError(str(exc)) from exc


def _export(name: str) -> dict[str, Any]:
    return {"type": "nbd", "id": f"export-{name}", "node-name": name, "name": name, "writable": False}
