"""A mount that writes, inside: what has to be known of the guest's filesystems, and the end at which all is written."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from guestmount_py.config import MountConfig
from guestmount_py.guest_root import GuestRoot
from guestmount_py.handle import Guest
from guestmount_py.host_space import HostSpace
from guestmount_py.node_table import NodeTable
from guestmount_py.statistics import Statistics
from guestmount_py.write_out import opened_write_out
from guestmount_py.writing import WritingOperations
from rpc import procedures
from rpc.arguments import NoArgs
from rpc.codec import Device
from rpc.errors import ProcedureError
from rpc.procedures.contents import PreadDeviceArgs

_EXT_MAGIC: Final = (0x438, b"\x53\xef")
_EXT_INCOMPAT_AT: Final = 0x460
_EXT_CASEFOLD: Final = 0x20000
_XFS_MAGIC: Final = b"XFSB"
_XFS_VERSION_AT: Final = 100
_XFS_BORG_BIT: Final = 0x4000
"""XFS_SB_VERSION_BORGBIT: the case of ASCII letters in names does not matter (fs/xfs/libxfs/xfs_format.h)."""
_BTRFS_MAGIC: Final = (0x10040, b"_BHRfS_M")
_START_BYTES: Final = 2048


@asynccontextmanager
async def opened_writing(
    guest: Guest, root: GuestRoot, statistics: Statistics, config: MountConfig
) -> AsyncIterator[WritingOperations]:
    """Own the handlers of a mount that writes; ``finish`` is to be called before they are given up."""
    files = guest.files
    images = [drive.path for drive in config.drives if isinstance(drive.path, Path) and not drive.only_read]
    async with guest.writing() as writing, opened_write_out(images) as write_out, trio.open_nursery() as nursery:
        folding = {
            device
            for mount, device in zip(config.mounts, root.mounted, strict=True)
            if not await _has_exact_names(guest, mount.block_device)
        }
        inodes = NodeTable(root.root, root.devices)
        operations = WritingOperations(files, writing, inodes, nursery, statistics, config.cache_mib, folding=folding)
        operations.behind.written = write_out.note
        nursery.start_soon(operations.behind.run)

        async def flush() -> None:
            await operations.behind.settle_all()
            await guest.call(procedures.SYNC, NoArgs())

        operations.space = HostSpace(images, flush)
        yield operations
        nursery.cancel_scope.cancel()


async def _has_exact_names(guest: Guest, device: str) -> bool:
    """Tell whether a filesystem takes no two spellings for the same name; False if that is not known."""
    try:
        return await _is_of_exact_names(guest, device)
    except ProcedureError:
        return False


async def _is_of_exact_names(guest: Guest, device: str) -> bool:
    start = await _read(guest, device, 0, _START_BYTES)
    at, magic = _EXT_MAGIC
    if start[at : at + len(magic)] == magic:
        return not int.from_bytes(start[_EXT_INCOMPAT_AT : _EXT_INCOMPAT_AT + 4], "little") & _EXT_CASEFOLD
    if start.startswith(_XFS_MAGIC):
        return not int.from_bytes(start[_XFS_VERSION_AT : _XFS_VERSION_AT + 2], "big") & _XFS_BORG_BIT
    at, magic = _BTRFS_MAGIC
    return await _read(guest, device, at, len(magic)) == magic


async def _read(guest: Guest, device: str, offset: int, count: int) -> bytes:
    return await guest.call(procedures.PREAD_DEVICE, PreadDeviceArgs(Device(device), count, offset))
