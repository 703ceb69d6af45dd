"""One question for the maps of files, and those who wait for what it brings."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import trio

from guestmount_py.extents import FileMap
from guestmount_py.inodes import Inode
from rpc.errors import GuestmountError


class Wanted(NamedTuple):
    """A file whose map is asked for.

    Attributes:
        directory: the path it is in.
    """

    directory: bytes
    name: bytes
    inode: Inode
    size_bytes: int


class MapRequest:
    """A question under way, which is answered file by file.

    Args:
        files: in the order in which they are asked for.
    """

    def __init__(self, files: Sequence[Wanted]) -> None:
        self.files: Final = files
        self._waiting: set[Inode] = set()
        self._answers: dict[Inode, FileMap | GuestmountError | None] = {}
        self._moved = trio.Event()
        self._ended = False
        self._error: GuestmountError | None = None

    def groups(self) -> Iterator[tuple[bytes, list[bytes]]]:
        """Yield directories and names in each."""
        names: list[bytes] = []
        for index, each in enumerate(self.files):
            names.append(each.name)
            if index + 1 == len(self.files) or self.files[index + 1].directory != each.directory:
                yield each.directory, names
                names = []

    async def answer(self, inode: Inode) -> FileMap | None:
        """Wait for the map of one of the files.

        Raises:
            GuestmountError: what the question ended with, or what is wrong with this map.
        """
        self._waiting.add(inode)
        while inode not in self._answers and not self._ended:
            await self._moved.wait()
        answer = self._answers.get(inode, self._error)
        if isinstance(answer, GuestmountError):
            raise answer
        return answer

    def note(self, inode: Inode, answer: FileMap | GuestmountError | None) -> bool:
        """Take an answer for those who wait for it; False if nobody does. They run when ``move`` is called."""
        if inode not in self._waiting:
            return False
        self._answers[inode] = answer
        return True

    def move(self) -> None:
        """Wake those who wait."""
        self._moved.set()
        self._moved = trio.Event()

    def end(self, error: GuestmountError | None) -> None:
        """Leave whoever still waits with an error, or without a map."""
        self._ended = True
        self._error = error
        self.move()
