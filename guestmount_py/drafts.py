"""What a file is still to become: changes that were promised and that the guest has not made yet."""

from collections import deque
from dataclasses import dataclass, field
from stat import S_ISGID, S_ISUID
from typing import Final

from guestmount_py.inode_numbers import Inode
from rpc.changes import Change, Wish

_TIMES: Final = Wish.ATIME | Wish.MTIME
_NS: Final = 1_000_000_000


@dataclass(slots=True)
class Run:
    """Data that lie one after the other in a file."""

    offset: int
    pieces: list[bytes]
    size_bytes: int


@dataclass(slots=True)
class Draft:
    """Changes of one file that can be made in one step, in the order of ``rpc.changes``.

    Attributes:
        place: the directory and the name that comes or goes by it.
        is_void: nobody can see the file any more, so what becomes of the step does not matter.
    """

    wishes: int = 0
    mode: int = 0
    uid: int = 0
    gid: int = 0
    atime_ns: int = 0
    mtime_ns: int = 0
    runs: list[Run] = field(default_factory=list)
    size_bytes: int = 0
    is_void: bool = False
    place: tuple[Inode, bytes] | None = None

    def create(self, place: tuple[Inode, bytes], mode: int, uid: int, gid: int) -> None:
        """Have the file made before all else."""
        self.place = place
        self.wishes = Wish.CREATE
        self.mode, self.uid, self.gid = mode, uid, gid

    def remove(self, place: tuple[Inode, bytes]) -> None:
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

    def write(self, offset: int, data: bytes, *, append: bool) -> bool:
        """Add data; False if that must be another step, for writing moves the times."""
        if self.wishes & _TIMES or (bool(self.wishes & Wish.APPEND) is not append and self.runs):
            return False
        if append:
            self.wishes |= Wish.APPEND
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

    def as_change(self, change: Change) -> Change:
        """Return it for the wire, for the file that ``change`` names."""
        return change._replace(
            ino=change.ino if not self.creates else 0,
            wishes=self.wishes,
            mode=self.mode,
            uid=self.uid,
            gid=self.gid,
            atime=divmod(self.atime_ns, _NS),
            mtime=divmod(self.mtime_ns, _NS),
            writes=[(run.offset, b"".join(run.pieces) if len(run.pieces) > 1 else run.pieces[0]) for run in self.runs],
        )


@dataclass(slots=True)
class Drafts:
    """All that one file is still to become, first step first.

    Attributes:
        under_way: the guest has the first step.
        since: trio's clock when the first step began.
    """

    steps: deque[Draft] = field(default_factory=deque)
    under_way: bool = False
    since: float = 0.0

    @property
    def size_bytes(self) -> int:
        """Return how much data the steps have that are not under way."""
        return sum(step.size_bytes for step in self.steps)

    @property
    def is_plain(self) -> bool:
        """Tell whether there is one step, which writes nothing."""
        return len(self.steps) == 1 and not self.steps[0].runs

    def last(self, now: float) -> Draft:
        """Return the step that further changes may go into."""
        if not self.steps:
            self.since = now
        if not self.steps or (self.under_way and len(self.steps) == 1):
            self.steps.append(Draft())
        return self.steps[-1]

    def another(self) -> Draft:
        """Return a new last step."""
        self.steps.append(Draft())
        return self.steps[-1]
