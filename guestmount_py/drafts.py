"""What a file is still to become: changes that were promised and that the guest has not made yet."""

import time
from collections import deque
from dataclasses import dataclass, field
from stat import S_ISGID, S_ISUID
from typing import Final

from guestmount_py.pending_names import Place
from rpc.changes import Change, Wish

_TIMES: Final = Wish.ATIME | Wish.MTIME
_ATTRIBUTES: Final = Wish.MODE | Wish.UID | Wish.GID | _TIMES
_CLOCK: Final = 5
"""CLOCK_REALTIME_COARSE (linux/time.h), by which kernels date files."""
STEP_MAX_BYTES: Final = 4 << 20
"""What a message carries."""
LONG_STEP_MAX_BYTES: Final = 12 << 20
"""What a slot of the mailbox holds, with what stands between the data so that they stand at whole pages."""
_RUN_BYTES: Final = 64
"""More than stands before each run on the way to the guest."""


def promised_now_ns() -> int:
    """Return the time that data promised now get, or an empty file: in order, whenever the guest makes them."""
    return time.clock_gettime_ns(_CLOCK)


@dataclass(slots=True)
class Run:
    """Data that lie one after the other in a file."""

    offset: int
    pieces: list[bytes]
    size_bytes: int


@dataclass(slots=True, eq=False)
class Draft:
    """Changes of one file that can be made in one step, in the order of ``rpc.changes``.

    Attributes:
        max_bytes: how much it may take on the way to the guest.
        place: the directory and the name that comes or goes by it.
        target: of a symbolic link that it makes.
        written_ns: when the file or its last data were promised, by the clock of the host's kernel, as touch(1) has it.
        is_void: nobody can see the file any more, so what becomes of the step does not matter.
    """

    max_bytes: int = STEP_MAX_BYTES
    wishes: int = 0
    mode: int = 0
    uid: int = 0
    gid: int = 0
    atime_ns: int = 0
    mtime_ns: int = 0
    runs: list[Run] = field(default_factory=list)
    size_bytes: int = 0
    written_ns: int = 0
    is_void: bool = False
    place: Place | None = None
    target: bytes = b""

    def create(self, place: Place, mode: int, uid: int, gid: int, target: bytes) -> None:
        """Have the file made before all else: a symbolic link if it has a target."""
        self.place, self.target = place, target
        self.wishes = Wish.CREATE
        self.mode, self.uid, self.gid = mode, uid, gid

    def remove(self, place: Place) -> None:
        """Have the file's only name removed, and nothing else done."""
        self.place = place
        self.wishes = Wish.REMOVE

    @property
    def creates(self) -> bool:
        """Tell whether the file is made by it."""
        return bool(self.wishes & Wish.CREATE)

    @property
    def removes(self) -> bool:
        """Tell whether the file's name is removed by it."""
        return bool(self.wishes & Wish.REMOVE)

    @property
    def is_slight(self) -> bool:
        """Tell whether all it changes are attributes, which can be told before it is made."""
        return not (self.runs or self.wishes & ~_ATTRIBUTES)

    @property
    def weight_bytes(self) -> int:
        """Return about what it takes on the way to the guest."""
        return self.size_bytes + _RUN_BYTES * len(self.runs)

    def blocks(self, block_bytes: int) -> int:
        """Return how many blocks of a file its data lie in."""
        return sum(-(-(run.offset + run.size_bytes) // block_bytes) - run.offset // block_bytes for run in self.runs)

    @property
    def _only_writes(self) -> bool:
        return not self.wishes or (self.wishes == Wish.MTIME and self.mtime_ns == self.written_ns)

    def goes_beside(self, other: "Draft") -> bool:
        """Tell whether it does not matter which of the two the guest does first: all they do is write, elsewhere."""
        if not (self._only_writes and other._only_writes) or len(self.runs) != 1 or len(other.runs) != 1:
            return False
        own, its = self.runs[0], other.runs[0]
        return own.offset >= its.offset + its.size_bytes or its.offset >= own.offset + own.size_bytes

    def write(self, offset: int, data: bytes, *, append: bool) -> bool:
        """Add data; False if that must be another step: it is full, or writing would move the times that it sets."""
        if self.wishes & _TIMES or (bool(self.wishes & Wish.APPEND) is not append and self.runs):
            return False
        if self.weight_bytes + len(data) > self.max_bytes:
            return False
        if append:
            self.wishes |= Wish.APPEND
        self.written_ns = promised_now_ns()
        last = self.runs[-1] if self.runs else None
        if last is not None and last.offset + last.size_bytes == offset:
            last.pieces.append(data)
            last.size_bytes += len(data)
        else:
            self.runs.append(Run(offset, [data], len(data)))
        self.size_bytes += len(data)
        return True

    def own(self, uid: int | None, gid: int | None) -> bool:
        """Give the file to somebody; False if that must be another step, for it may take bits of the mode away."""
        if self.wishes & (Wish.MODE | Wish.CREATE) and self.mode & (S_ISUID | S_ISGID):
            return False
        if uid is not None:
            self.wishes |= Wish.UID
            self.uid = uid
        if gid is not None:
            self.wishes |= Wish.GID
            self.gid = gid
        return True

    def permit(self, mode: int) -> None:
        """Set the permissions."""
        self.wishes |= Wish.MODE
        self.mode = mode

    def date(self, atime_ns: int | None, mtime_ns: int | None) -> None:
        """Set the times."""
        if atime_ns is not None:
            self.wishes |= Wish.ATIME
            self.atime_ns = atime_ns
        if mtime_ns is not None:
            self.wishes |= Wish.MTIME
            self.mtime_ns = mtime_ns

    def seal(self) -> None:
        """Have what is not dated get the moment of the last data, and of its creation: nothing is added any more."""
        dates_new = self.creates and not self.target
        if dates_new:
            self.wishes |= Wish.ATIME
        if (self.runs or dates_new) and not self.wishes & Wish.MTIME:
            self.date(None, self.written_ns)

    def as_change(self, change: Change) -> Change:
        """Return it for the wire, for the file that ``change`` names."""
        return change._replace(
            ino=change.ino if not self.creates else 0,
            wishes=self.wishes,
            mode=self.mode,
            uid=self.uid,
            gid=self.gid,
            atime_ns=self.atime_ns,
            mtime_ns=self.mtime_ns,
            writes=[(0, self.target)] if self.target else [(run.offset, _joined(run.pieces)) for run in self.runs],
        )


def _joined(pieces: list[bytes]) -> bytes:
    return b"".join(pieces) if len(pieces) > 1 else pieces[0]


@dataclass(slots=True)
class Drafts:
    """All that one file is still to become, first step first.

    Attributes:
        under_way: so many of the first steps the guest has.
        step_max_bytes: how much a step may take on the way to the guest.
        since: trio's clock when the first step began that is not under way.
    """

    steps: deque[Draft] = field(default_factory=deque)
    under_way: int = 0
    since: float = 0.0
    step_max_bytes: int = STEP_MAX_BYTES

    @property
    def is_ready(self) -> bool:
        """Tell whether the next step can be begun: two at once where that comes to the same."""
        if self.under_way == len(self.steps):
            return False
        return not self.under_way or (self.under_way == 1 and self.next.goes_beside(self.steps[0]))

    @property
    def next(self) -> Draft:
        """Return the first step that is not under way, which there must be."""
        return self.steps[self.under_way]

    def last(self, now: float) -> Draft:
        """Return the step that further changes may go into."""
        if not self.steps:
            self.since = now
        if self.under_way == len(self.steps):
            self.steps.append(Draft(self.step_max_bytes))
        return self.steps[-1]

    def another(self) -> Draft:
        """Return a new last step."""
        self.steps.append(Draft(self.step_max_bytes))
        return self.steps[-1]
