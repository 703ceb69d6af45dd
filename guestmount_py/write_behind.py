"""Changes that were promised: kept for a moment, gathered, and made by the guest behind whoever asked for them.

Files are made and removed like that too, where nothing but a broken disk can keep the guest from it. That is what a
local filesystem does with its page cache: what was not synchronised is lost when the power fails, an error reaches
whoever next writes to the file, synchronises or closes it, and order is kept within each file.
"""

import errno
import math
import os
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Final

import trio

from guestmount_py.drafts import Draft
from guestmount_py.guest_writing import GuestWriting
from guestmount_py.inode_numbers import Inode
from guestmount_py.log import logger
from guestmount_py.node_table import Node, NodeTable
from guestmount_py.path_lock import PathLock
from guestmount_py.pending_changes import PendingChanges
from guestmount_py.pending_file import PendingFile
from guestmount_py.pending_names import Place
from rpc.changes import Answer, Change, Wish
from rpc.errors import ConnectionLost, GuestmountError, ProcedureError

_BATCH_MAX_BYTES: Final = 1 << 20
_BATCH_MAX_FILES: Final = 64
_LARGE_BYTES: Final = 1 << 20
"""A step that is worth no waiting for more."""
_GATHER_S: Final = 0.2
"""How long changes wait for company: a call costs the guest more than the changes of a small file."""
_SENDERS: Final = 2


class WriteBehind(PendingChanges):
    """Drafts of all files, and the tasks that have the guest make them.

    Args:
        writing: the guest's verbs.
        paths: held while the guest uses paths.
        name: returns an empty change that names the file of a step; called with the lock held.
        release: takes a lookup back that a node was held by.
        adopt: is told of a file's attributes when nothing of it is pending any more.
        named: is told what became of a step by which a name comes or goes.

    Attributes:
        is_lost: the appliance has gone: nothing should be promised any more.
        written: is told how many bytes the guest has written, each time.
    """

    def __init__(
        self,
        writing: GuestWriting,
        inodes: NodeTable,
        paths: PathLock,
        name: Callable[[Node, Draft], Change],
        adopt: Callable[[Node, bytes], None],
        release: Callable[[Node], None],
        named: Callable[[Node, Draft, Place, Answer], None],
    ) -> None:
        super().__init__(writing.step_max_bytes, release)
        self._named = named
        self._writing = writing
        self._inodes = inodes
        self._paths = paths
        self._name = name
        self._adopt = adopt
        self.is_lost = False
        self.written: Callable[[int], None] = lambda _: None

    async def run(self) -> None:
        """Have the guest make what is pending, until cancelled."""
        async with trio.open_nursery() as nursery:
            for _ in range(_SENDERS):
                nursery.start_soon(self._send)

    async def _send(self) -> None:
        while True:
            ready = self._ready(self._wanted) or self._ready(self._files)
            batch = self._batch(ready)
            if batch:
                await self._make(batch)
            else:
                due = ready[0].drafts.since + _GATHER_S if ready and not self._is_held else math.inf
                with trio.move_on_at(due):
                    await self._work.park()

    def _ready(self, files: Mapping[Inode, PendingFile]) -> list[PendingFile]:
        """Return the files of which something can be begun, the first ones of very many."""
        found = (file for file in files.values() if file.drafts.is_ready and not self._must_wait(file))
        return list(islice(found, _BATCH_MAX_FILES + 1))

    def _must_wait(self, file: PendingFile) -> bool:
        """Tell whether nothing of a file is to be begun: what is made in a directory would move its times."""
        if file.node.inode in self._paused or file.node.inode in self._names:
            return True
        place = file.drafts.next.place
        around = self._files.get(place[0]) if place is not None else None
        return around is not None and around.drafts.under_way > 0

    def _batch(self, ready: list[PendingFile]) -> list[PendingFile]:
        """Return the files whose first steps shall be made now: if somebody waits for some, those alone."""
        chosen = ready
        if not (ready and ready[0].wanted):
            if self._is_held and self.has_room and self.has_room_to_remove:
                return []
            is_due = bool(ready) and ready[0].drafts.since + _GATHER_S <= trio.current_time()
            chosen = _whole(ready) or ready if is_due else _whole(ready) if self._is_enough() else []
        weight_bytes = 0
        for count, file in enumerate(chosen):
            weight_bytes += file.drafts.next.weight_bytes
            if count and (weight_bytes > _BATCH_MAX_BYTES or count == _BATCH_MAX_FILES):
                return chosen[:count]
        return chosen

    async def _make(self, batch: list[PendingFile]) -> None:
        steps = [file.drafts.next for file in batch]
        for file, step in zip(batch, steps, strict=True):
            file.is_mixed |= file.drafts.under_way > 0
            file.drafts.under_way += 1
            self._sent_bytes += step.size_bytes
            step.seal()
            if step.wishes & Wish.MTIME:
                file.mtime_ns = step.mtime_ns
            file.drafts.since = trio.current_time()
            self._files.move_to_end(file.node.inode)  # whatever else is written to it, others have their turn first
        answers: list[Answer] | None = None
        self._calls += 1
        self._sent_files += len(batch)
        problem = errno.EIO
        try:
            async with self._paths.shared():
                changes = [step.as_change(self._name(file.node, step)) for file, step in zip(batch, steps, strict=True)]
                answers = await self._writing.change(changes)
        except ConnectionLost:
            self.is_lost = True
        except ProcedureError as exc:
            problem = exc.errno
            logger.error("changes of %d files: %s", len(batch), exc)
        except GuestmountError as exc:
            logger.error("changes of %d files: %s", len(batch), exc)
        finally:
            self._calls -= 1
            self._sent_files -= len(batch)
            for index, (file, step) in enumerate(zip(batch, steps, strict=True)):
                self._made(file, step, answers[index] if answers else Answer(problem, 0, b""))
            self._settled.unpark_all()
            self._work.unpark_all()

    def _made(self, file: PendingFile, step: Draft, answer: Answer) -> None:
        drafts = file.drafts
        self.written(answer.written)
        drafts.under_way -= 1
        drafts.steps.remove(step)
        self._sent_bytes -= step.size_bytes
        self._pending_bytes -= step.size_bytes
        self._removals -= step.removes
        if step.place is not None:
            self._note_named(file, step, step.place, answer)
        if answer.errno and not step.is_void and (step.wishes or step.runs):
            self.broken.add(file.node.inode, answer.errno)
            logger.error(
                "%r: a change was promised and failed: %s",
                self._inodes.path(file.node.inode),
                os.strerror(answer.errno),
            )
        if not drafts.steps and file.is_mixed and any(answer.stat) and not step.is_void:
            file.is_mixed = False
            last = drafts.another()  # which tells what there is now
            last.date(None, file.mtime_ns)
        elif not drafts.steps:
            if any(answer.stat) and not step.is_void:
                self._adopt(file.node, answer.stat)
            self._finish(file)

    def _note_named(self, file: PendingFile, step: Draft, place: Place, answer: Answer) -> None:
        """Note that a name has come or gone, or cannot: what should become of a file that cannot be made is lost."""
        steps = file.drafts.steps
        self._names.remove(place)
        if answer.errno:
            self.broken.add_name(place[0], answer.errno)
            if step.creates:
                self.broken.add_unmade(file.node.inode)
        self._named(file.node, step, place, answer)
        while step.creates and not any(answer.stat) and steps:
            self._pending_bytes -= steps.pop().size_bytes


def _whole(files: list[PendingFile]) -> list[PendingFile]:
    """Leave the last file out, to which more will be added soon, unless that is much already."""
    return files if files and files[-1].drafts.next.size_bytes >= _LARGE_BYTES else files[:-1]
