"""The mailbox: a disk in the host's memory by which long data reach the guest, for a port takes 4 KiB at a time."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import trio

from appliance.running import Appliance
from guestmount_py.log import logger
from rpc import procedures
from rpc.constants import MAILBOX_SERIAL, MAILBOX_SLOT_BYTES
from rpc.errors import DriveError, ProcedureError
from rpc.pool import ChannelPool
from rpc.procedures.writing import OpenMailboxArgs

_SLOTS: Final = 4
_PARTS_AT_ONCE: Final = 1024
"""IOV_MAX of Linux."""
MAILBOX_BYTES: Final = _SLOTS * MAILBOX_SLOT_BYTES


class Mailbox:
    """Slots of MAILBOX_SLOT_BYTES each.

    Args:
        descriptor: of the file behind the disk; closing it is the caller's business.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor: Final = descriptor
        self._free = list(range(_SLOTS))
        self._left = trio.lowlevel.ParkingLot()

    @asynccontextmanager
    async def delivered(self, parts: Sequence[bytes | memoryview]) -> AsyncIterator[int]:
        """Put data, one slot of them at most, into the mailbox for as long as the block runs; yields their place."""
        if sum(map(len, parts)) > MAILBOX_SLOT_BYTES:
            raise ValueError("more than a slot of the mailbox holds")
        while not self._free:
            await self._left.park()
        slot = self._free.pop()
        try:
            place = slot * MAILBOX_SLOT_BYTES
            for start in range(0, len(parts), _PARTS_AT_ONCE):
                place += os.pwritev(self._descriptor, parts[start : start + _PARTS_AT_ONCE], place)
            yield slot * MAILBOX_SLOT_BYTES
        finally:
            self._free.append(slot)
            self._left.unpark()


@asynccontextmanager
async def opened_mailbox(appliance: Appliance, pool: ChannelPool) -> AsyncIterator[Mailbox | None]:
    """Own a mailbox of a running appliance; None if there cannot be one, which only makes writing slower."""
    descriptor = os.memfd_create("mailbox", os.MFD_CLOEXEC)
    try:
        os.ftruncate(descriptor, MAILBOX_BYTES)
        yield await _mailbox(appliance, pool, descriptor)
    finally:
        os.close(descriptor)


async def _mailbox(appliance: Appliance, pool: ChannelPool, descriptor: int) -> Mailbox | None:
    try:
        await appliance.blocks.add_mailbox(descriptor)
        size_bytes = await pool.call(procedures.OPEN_MAILBOX, OpenMailboxArgs(MAILBOX_SERIAL))
    except (DriveError, ProcedureError) as exc:
        logger.warning("writing goes by the channels alone, slower: %s", exc)
        return None
    return Mailbox(descriptor) if size_bytes == MAILBOX_BYTES else None
