"""Whether the guest has room for what is promised: where it is short, whoever writes waits and is told."""

import time
from typing import Final

from guestmount_py.guest_files import GuestFiles

_MARGIN_BYTES: Final = 16 << 20
_ASK_AGAIN_BYTES: Final = 64 << 20
_ASK_AGAIN_S: Final = 1.0


class _Space:
    def __init__(self) -> None:
        self.free_bytes = 0
        self.taken_bytes = 0
        self.asked_s = 0.0


class GuestSpace:
    """Free space by device, asked for now and then."""

    def __init__(self, guest: GuestFiles) -> None:
        self._guest = guest
        self._spaces: dict[int, _Space] = {}

    async def is_plenty(self, device: int, path: bytes, pending_bytes: int, count: int) -> bool:
        """Tell whether so many bytes more can be promised on the filesystem that holds a path.

        Args:
            device: the guest's number of the filesystem.
            path: of anything on it.
            pending_bytes: what is promised already, on whichever filesystem.
            count: bytes to be written.
        """
        space = self._spaces.get(device)
        if space is None:
            space = self._spaces[device] = _Space()
            await self._ask(space, path)
        space.taken_bytes += count
        needed = 2 * (pending_bytes + count) + _MARGIN_BYTES
        is_short = space.free_bytes - space.taken_bytes < needed
        is_old = is_short and time.monotonic() - space.asked_s > _ASK_AGAIN_S
        if space.taken_bytes > _ASK_AGAIN_BYTES or is_old:
            await self._ask(space, path)
        return space.free_bytes - space.taken_bytes >= needed

    async def _ask(self, space: _Space, path: bytes) -> None:
        found = await self._guest.statvfs(path)
        space.free_bytes = found.bavail * (found.frsize or found.bsize)
        space.taken_bytes = 0
        space.asked_s = time.monotonic()
