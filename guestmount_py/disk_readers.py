"""Which way a drive is read without asking the guest, and why."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import trio

from appliance.blocks import Blocks
from appliance.qemu_args import node_name
from appliance.running import Appliance
from guestmount_py.allocation_map import read_allocation_map
from guestmount_py.disk_reader import DiskReader, LostReader
from guestmount_py.export_reader import ExportReader, open_export
from guestmount_py.image_chain import Layer, image_chain
from guestmount_py.image_file import ImageFile
from guestmount_py.qcow2_reader import Qcow2Reader
from guestmount_py.raw_reader import RawReader
from rpc.errors import DriveError, RemoteProtocolError


class DirectDrive:
    """A drive, and the way it is read without asking the guest.

    Attributes:
        path: of the image.
        reader: None if only the guest may read it, a ``LostReader`` if nobody can.
        reason: why this way; one line for the log.
    """

    def __init__(
        self, blocks: Blocks, index: int, files: Sequence[ImageFile], reader: DiskReader | None, reason: str
    ) -> None:
        self.path = blocks.drives[index].path
        self.reader = reader
        self.reason = f"{self.path}: {reason}"
        self._blocks = blocks
        self._index = index
        self._files = files

    def change(self) -> str | None:
        """Return what another process did to a file of the image, so that it must not be read directly any more.

        Raises:
            DriveError: one is shorter than it was: the guest would see zeros instead of what is missing.
        """
        return next(filter(None, (file.change() for file in self._files)), None)

    async def is_current(self) -> bool:
        """Tell whether nothing has happened that would make the choice another one: a write here, a writer elsewhere.

        It costs two questions to qemu, about 2 ms: ask after each mount in the guest. While files are read, ask for
        ``change``.

        Raises:
            ConnectionLost: qemu has gone.
        """
        if self.reader is None:
            return True
        try:
            if self.change() is not None:
                return False
            return isinstance(self.reader, ExportReader) or not await self._blocks.written(self._index)
        except DriveError:
            return False

    def close(self) -> None:
        """Close the reader and the image's files."""
        if self.reader is not None:
            self.reader.close()
        for file in self._files:
            file.close()


async def choose_reader(
    appliance: Appliance, index: int, nursery: trio.Nursery, *, by_qemu: bool = False
) -> DirectDrive:
    """Choose how a drive is read, by what it is and by who writes to it, or did so since qemu was to open it.

    A mount may write to a drive, as when it replays a journal, so choose after mounting.

    Args:
        appliance: that is ready, and has the drive.
        index: of the drive.
        nursery: runs what takes an export's replies; must outlive every read.
        by_qemu: have qemu read it in any case.

    Raises:
        ConnectionLost: qemu has gone.
    """
    blocks = appliance.blocks
    with ExitStack() as opened:
        files: list[ImageFile] = []
        try:
            drive = blocks.drives[index]
            if drive.is_vouched_for:
                export = await _export(blocks, index, nursery)
                return DirectDrive(blocks, index, (), export, "read through qemu: nobody is expected to write to it")
            layers, why_not = await _layers(blocks, index)
            why_not = "as asked for" if by_qemu else why_not
            for state in blocks.drives[index].files:
                files.append(ImageFile(state.path, state))
                opened.callback(files[-1].close)
            loss = next(filter(None, (file.loss() for file in files)), None)
            if loss is not None:  # the guest would see zeros instead
                lost = LostReader(blocks.drives[index].size_bytes, loss)
                return DirectDrive(blocks, index, (), lost, f"nothing of it can be read: {loss}")
            refusal = _refusal(files, layers, appliance.pid)
            if refusal:
                return DirectDrive(blocks, index, (), None, f"only the guest reads it: {refusal}")
            reader, reason = await _reader(blocks, index, layers, files, why_not, nursery)
        except (DriveError, RemoteProtocolError) as exc:
            return DirectDrive(blocks, index, (), None, f"only the guest reads it: {exc}")
        chosen = DirectDrive(blocks, index, files, reader, reason)
        opened.pop_all()
    if await chosen.is_current():  # its map was read while nobody wrote
        return chosen
    chosen.close()
    return DirectDrive(blocks, index, (), None, "only the guest reads it: it was written to just now")


async def _layers(blocks: Blocks, index: int) -> tuple[list[Layer], str]:
    """Return the image's layers and why they are not read directly, or an empty text if they may be."""
    drive = blocks.drives[index]
    try:
        return await image_chain(drive), ""
    except DriveError as exc:
        return [Layer(Path(str(drive.path)), drive.format)], str(exc)


def _refusal(files: Sequence[ImageFile], layers: Sequence[Layer], pid: int) -> str:
    """Return why only the guest may read a drive, an empty text if it is not so."""
    if not files:
        return "one of its files cannot be watched"
    if [layer.path for layer in layers] != [file.path for file in files[: len(layers)]]:
        return "it has other layers than it had"
    for file in files:
        if not file.is_open_in(pid):
            return f"qemu has opened another file than {file.path} is now"
        change = file.change()
        if change is not None:
            return change
    return ""


async def _reader(
    blocks: Blocks, index: int, layers: list[Layer], files: Sequence[ImageFile], why_not: str, nursery: trio.Nursery
) -> tuple[DiskReader, str]:
    size_bytes = blocks.drives[index].size_bytes
    if not why_not and await blocks.written(index):
        why_not = "its overlay was written to, as by a journal's replay"
    if not why_not and layers[0].format == "raw":
        return RawReader(files[0], size_bytes), "read directly: a raw image"
    if not why_not:
        try:
            allocation = await read_allocation_map(layers, size_bytes, [file.size_bytes for file in files])
        except DriveError as exc:
            why_not = str(exc)
        else:
            rest = None if allocation.is_complete else await _export(blocks, index, nursery)
            text = f"read directly: a qcow2 image of {len(layers)} layers in {len(allocation)} runs"
            return Qcow2Reader(allocation, files, rest), text + (", the compressed ones through qemu" if rest else "")
    return await _export(blocks, index, nursery), f"read through qemu: {why_not}"


async def _export(blocks: Blocks, index: int, nursery: trio.Nursery) -> DiskReader:
    stream = await blocks.connect(index)
    return await open_export(stream, node_name(index), blocks.drives[index].size_bytes, nursery)
