"""``-x``: every call to the daemon in the log."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from guestmount_py.log import logger
from rpc.pool import ChannelPool
from rpc.procedure import Procedure

ArgsT = TypeVar("ArgsT")
RetT = TypeVar("RetT")


class TracingPool(ChannelPool):
    """Log each call before it is made."""

    async def call(self, procedure: Procedure[ArgsT, RetT], args: ArgsT) -> RetT:
        """Log and call."""
        logger.debug("call %s %r", procedure.name, args)
        return await super().call(procedure, args)

    @asynccontextmanager
    async def download(self, procedure: Procedure[ArgsT, None], args: ArgsT) -> AsyncIterator[AsyncIterator[bytes]]:
        """Log and download."""
        logger.debug("call %s %r", procedure.name, args)
        async with super().download(procedure, args) as pieces:
            yield pieces
