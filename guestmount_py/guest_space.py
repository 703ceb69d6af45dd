"""Whether the guest has room for what is promised: where it is short, whoever writes waits and is told."""

import time
from typing import Final

from guestmount_py.guest_files import GuestFiles

_MARGIN_BYTES: Final = 16 << 20
_ASK_AGAIN_BYTES: Final = 64 << 20
_ASK_AGAIN_S: Final = 1.0
NAME_BYTES: Final = 8 << 10
"""What making or removing a file may take at most on the average, with what its directory needs."""
_MARGIN_FILES: Final = 1024
_ASK_AGAIN_FILES: Final = 4096
_MANY_FILES: Final = 1 << 62


class _Space:
    def __init__(self) -> None:
        self.free_bytes = 0
        self.taken_bytes = 0
        self.free_files = 0
        self.taken_files = 0
        self.asked_s = -_ASK_AGAIN_S

    @property
    def is_much_taken(self) -> bool:
        """Tell whether so much was promised since that it is time to ask again."""
        return self.taken_bytes > _ASK_AGAIN_BYTES or self.taken_files > _ASK_AGAIN_FILES

    def has(self, needed_bytes: int, files: int) -> bool:
        """Tell whether so much is left, and files beside those wanted."""
        has_files = not files or self.free_files - self.taken_files >= _MARGIN_FILES
        return has_files and self.free_bytes - self.taken_bytes >= needed_bytes


class GuestSpace:
    """Free space by device, asked for now and then."""

    def __init__(self, guest: GuestFiles) -> None:
        self._guest = guest
        self._spaces: dict[int, _Space] = {}

    async def is_plenty(self, device: int, path: bytes, pending_bytes: int, count: int, files: int = 0) -> bool:
        """Tell whether so many bytes and files more can be promised on the filesystem that holds a path.

        Args:
            device: the guest's number of the filesystem.
            path: of anything on it.
            pending_bytes: what is promised already, on whichever filesystem.
            count: bytes to be written.
            files: files to be made.
        """
        if self.is_plenty_now(device, pending_bytes, count, files):
            return True
        space = self._spaces.get(device)
        if space is None:
            space = self._spaces[device] = _Space()
        if space.is_much_taken or time.monotonic() - space.asked_s > _ASK_AGAIN_S:
            await self._ask(space, path)
        return self.is_plenty_now(device, pending_bytes, count, files)

    def is_plenty_now(self, device: int, pending_bytes: int, count: int, files: int = 0) -> bool:
        """Tell whether ``is_plenty`` without asking the guest, and count on it; False if that is not known."""
        space = self._spaces.get(device)
        if space is None or space.is_much_taken or not space.has(2 * (pending_bytes + count) + _MARGIN_BYTES, files):
            return False
        space.taken_bytes += count
        space.taken_files += files
        return True

    async def _ask(self, space: _Space, path: bytes) -> None:
        found = await self._guest.statvfs(path)
        space.free_bytes = found.bavail * (found.frsize or found.bsize)
        space.taken_bytes = 0
        space.free_files = found.ffree if found.files else _MANY_FILES  # btrfs counts none
        space.taken_files = 0
        space.asked_s = time.monotonic()
