"""What is pending: the changes of each file that the guest is still to make, how many, and who waits for them."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import trio

from guestmount_py.broken_promises import BrokenPromises
from guestmount_py.drafts import LONG_STEP_MAX_BYTES, Draft, Drafts
from guestmount_py.inode_numbers import Inode
from guestmount_py.node_table import Node
from guestmount_py.pending_file import PendingFile
from guestmount_py.pending_names import PendingNames, Place

_PENDING_MAX_BYTES: Final = 48 << 20
_PENDING_MAX_FILES: Final = 512
_PENDING_MAX_REMOVALS: Final = 16384
"""What goes takes 2 KB of ours until it has gone, and nothing is lost with it when the power fails."""
_ENOUGH_BYTES: Final = LONG_STEP_MAX_BYTES
_FEW_BYTES: Final = 1 << 20
_ENOUGH_FILES: Final = 48
_FEW_FILES: Final = 12
"""Enough for a guest that has nothing to do; for one that has, a call costs more than waiting for more."""
_ATIME_AT: Final = 10
_NS: Final = 1_000_000_000


class PendingChanges:
    """Drafts of all files, in the order in which they have their turn.

    Args:
        step_max_bytes: of data in one step of a file.
        release: takes a lookup back that a node was held by.

    Attributes:
        broken: errors of what was promised.
    """

    def __init__(self, step_max_bytes: int, release: Callable[[Node], None]) -> None:
        self._step_max_bytes = step_max_bytes
        self._release = release
        self._files: OrderedDict[Inode, PendingFile] = OrderedDict()
        self._wanted: dict[Inode, PendingFile] = {}
        self._removals = 0
        self.broken: Final = BrokenPromises()
        self._paused: dict[Inode, int] = {}
        self._names: Final = PendingNames()
        self._is_held = False
        self._pending_bytes = 0
        self._sent_bytes = 0
        self._sent_files = 0
        self._calls = 0
        self._work = trio.lowlevel.ParkingLot()
        self._settled = trio.lowlevel.ParkingLot()

    @property
    def pending_bytes(self) -> int:
        """Return how much data the guest does not have yet."""
        return self._pending_bytes

    def is_pending(self, inode: Inode) -> bool:
        """Tell whether something of a file is still to be made."""
        return inode in self._files

    def is_unmade(self, inode: Inode) -> bool:
        """Tell whether a file that was promised is still to be made."""
        file = self._files.get(inode)
        return file is not None and file.is_unmade

    def unmade_blocks(self, node: Node) -> int:
        """Return how many sectors the data will take that were promised of a file which is still to be made."""
        return self._files[node.inode].sectors

    def is_slight(self, inode: Inode) -> bool:
        """Tell whether nothing but attributes are pending of a file."""
        file = self._files.get(inode)
        return file is None or file.is_slight

    def outdate(self, directory: Inode) -> None:
        """Forget what time a directory should get: a change of its names has moved it since."""
        file = self._files.get(directory)
        if file is not None:
            file.forget_mtime()

    def has_names(self, directory: Inode, name: bytes | None = None) -> bool:
        """Tell whether a name, or any, is still to come or go in a directory."""
        return directory in self._names if name is None else self._names.has((directory, name))

    def has_directories_to_go(self, directory: Inode) -> bool:
        """Tell whether a directory in one is still to go, which the guest counts as a link of it until then."""
        return any(self._files[inode].node.entry.is_directory for inode in self._names.whose(directory))

    @property
    def is_idle(self) -> bool:
        """Tell whether nothing is pending."""
        return not self._files

    def directories_of_names(self) -> list[Inode]:
        """Return the directories in which names are still to come or go."""
        return self._names.directories()

    @property
    def has_room(self) -> bool:
        """Tell whether not too much is pending for more."""
        files = len(self._files) - self._removals
        return files <= _PENDING_MAX_FILES and self._pending_bytes <= _PENDING_MAX_BYTES

    @property
    def has_room_to_remove(self) -> bool:
        """Tell whether not too many files are still to go for one more."""
        return self._removals <= _PENDING_MAX_REMOVALS

    async def room(self) -> None:
        """Wait until there is."""
        while not self.has_room:
            await self._settled.park()

    async def room_to_remove(self) -> None:
        """Wait until there is for a removal."""
        while not self.has_room_to_remove:
            await self._settled.park()

    def create(self, node: Node, mode: int, uid: int, gid: int, target: bytes) -> None:
        """Have a file made, or a symbolic link if it has a target; the mode is without the type of a regular one."""
        place = node.parent, node.entry.name
        draft = self.draft(node)
        draft.create(place, mode, uid, gid, target)
        draft.atime_ns = draft.written_ns = node.entry.fields[_ATIME_AT] * _NS + node.entry.fields[_ATIME_AT + 1]
        self._note_name(place, node.inode)

    def remove(self, node: Node) -> None:
        """Have a file's only name removed."""
        place = node.parent, node.entry.name
        self.next_draft(node).remove(place)
        self._removals += 1
        self._note_name(place, node.inode)

    def can_move(self, inode: Inode) -> bool:
        """Tell whether a file can still be made by another name: the guest has not been asked to make it."""
        return self.is_unmade(inode) and not self._files[inode].drafts.under_way and inode not in self._paused

    def move(self, node: Node) -> None:
        """Have a file that ``can_move`` be made by the name that it has now."""
        step = self._files[node.inode].drafts.steps[0]
        if step.place is not None:
            self._names.remove(step.place)
        step.place = node.parent, node.entry.name
        self._names.add(step.place, node.inode)

    def _note_name(self, place: Place, inode: Inode) -> None:
        self._names.add(place, inode)
        if self._is_enough():
            self._work.unpark_all()

    async def _settle_names(self, directory: Inode) -> None:
        while inodes := self._names.whose(directory):
            for inode in inodes:
                self._want(self._files[inode])
            await self._settled.park()

    def draft(self, node: Node) -> Draft:
        """Return the step that further changes of a file may go into; the node stays known until it is made."""
        file = self._files.get(node.inode)
        if file is None:
            file = self._files[node.inode] = PendingFile(node, Drafts(step_max_bytes=self._step_max_bytes))
            node.lookup_count += 1
            if len(self._files) == 1:
                self._work.unpark_all()
        return file.drafts.last(trio.current_time())

    def next_draft(self, node: Node) -> Draft:
        """Return a new step, to follow those there are."""
        file = self._files.get(node.inode)
        return self.draft(node) if file is None else file.drafts.another()

    def write(self, node: Node, offset: int, data: bytes, *, append: bool) -> None:
        """Have data written, for which there should be room."""
        draft = self.draft(node)
        if not draft.write(offset, data, append=append):
            self.next_draft(node).write(offset, data, append=append)
        self._pending_bytes += len(data)
        if self._is_enough():
            self._work.unpark_all()

    def forget(self, inode: Inode) -> None:
        """Drop what is pending of a file that nobody can see any more, but for what is under way."""
        file = self._files.get(inode)
        self.broken.forget(inode)
        if file is None:
            return
        steps = file.drafts.steps
        while len(steps) > file.drafts.under_way:
            dropped = steps.pop()
            self._pending_bytes -= dropped.size_bytes
            self._removals -= dropped.removes
        for step in steps:
            step.is_void = True
        if not steps:
            self._finish(file)

    async def pause(self, inode: Inode) -> None:
        """Begin nothing of a file, whose name is about to change, until ``resume``; wait for what is under way."""
        self._paused[inode] = self._paused.get(inode, 0) + 1
        try:
            while (file := self._files.get(inode)) is not None and file.drafts.under_way:
                await self._settled.park()
        except trio.Cancelled:
            self.resume(inode)
            raise

    def resume(self, inode: Inode) -> None:
        """Go on with a file, once for each ``pause``."""
        self._paused[inode] -= 1
        if not self._paused[inode]:
            del self._paused[inode]
            self._work.unpark_all()
            self._settled.unpark_all()

    async def resumed(self, inode: Inode) -> None:
        """Wait while a name of a file is about to change."""
        while inode in self._paused:
            await self._settled.park()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Leave the guest to something that takes no longer than a step, unless somebody waits for one or for room."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
            self._work.unpark_all()

    async def settle(self, inode: Inode) -> None:
        """Wait until nothing of a file is pending, and no name in it if it is a directory."""
        await self._settle_names(inode)
        file = self._files.get(inode)
        if file is None:
            return
        self._want(file)
        while self._files.get(inode) is file:
            await self._settled.park()

    async def settle_all(self) -> None:
        """Wait until nothing of any file is pending that is now."""
        for file in list(self._files.values()):
            self._want(file)
        for inode in list(self._files):
            await self.settle(inode)

    def _want(self, file: PendingFile) -> None:
        file.wanted = True
        self._wanted[file.node.inode] = file
        self._work.unpark_all()

    def _is_enough(self) -> bool:
        enough_files, enough_bytes = (_ENOUGH_FILES, _ENOUGH_BYTES) if self._calls else (_FEW_FILES, _FEW_BYTES)
        waiting_files, waiting_bytes = len(self._files) - self._sent_files, self._pending_bytes - self._sent_bytes
        return waiting_bytes >= enough_bytes or waiting_files >= enough_files

    def _finish(self, file: PendingFile) -> None:
        del self._files[file.node.inode]
        self._wanted.pop(file.node.inode, None)
        self._release(file.node)
        self._settled.unpark_all()
