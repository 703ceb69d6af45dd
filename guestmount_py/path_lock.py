"""Paths stay what they are while somebody uses one: a rename waits for that, and everybody for a rename."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


class PathLock:
    """A lock that many share or one has alone; who wants it alone comes before those that come later."""

    def __init__(self) -> None:
        self._sharing = 0
        self._alone = False
        self._want_alone = 0
        self._changed = trio.lowlevel.ParkingLot()

    @property
    def is_free(self) -> bool:
        """Tell whether paths can be used at once, and stay what they are until the next await."""
        return not self._alone and not self._want_alone

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Use paths. Whoever waits for another's use of paths in the block waits for ever."""
        while not self.is_free:
            await self._changed.park()
        self._sharing += 1
        try:
            yield
        finally:
            self._sharing -= 1
            self._changed.unpark_all()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Change paths."""
        self._want_alone += 1
        try:
            while self._alone or self._sharing:
                await self._changed.park()
            self._alone = True
        finally:
            self._want_alone -= 1
            if not self._alone:
                self._changed.unpark_all()
        try:
            yield
        finally:
            self._alone = False
            self._changed.unpark_all()
