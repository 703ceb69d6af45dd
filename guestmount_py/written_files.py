"""What a mount that writes knows of the files it changed, beside their nodes."""

from dataclasses import dataclass, field
from struct import Struct
from typing import Final

from guestmount_py.inode_numbers import Inode
from guestmount_py.node_table import Node, NodeTable
from rpc import hot

_CHANGED_AT: Final = 14
_TIMES: Final = Struct(">4q")
_TIMES_FROM: Final = (_CHANGED_AT - 2) * 8
_TIMES_TO: Final = _TIMES_FROM + _TIMES.size
"""Where packed attributes have mtime and ctime."""
_PROMISED_TO_MAX: Final = 3
"""rsync has two processes that make files in the same directory."""


@dataclass(slots=True)
class Written:
    """A file that was changed, or is open.

    Attributes:
        opened: open files of it.
        kept: the number by which the guest keeps it when it has no name any more; 0 while it has one.
        is_gone: it has no name any more that we know.
        unmade_errno: why it could not be made, though that was promised.
        has_others: it has names that we do not know.
        is_fresh: it was made by this mount: what is promised of it is not refused.
        takes_names: of a directory: the guest has let us make a file in it.
        given_names: of a directory: how many names the guest has let us remove from it.
        is_free: of a directory: no file in it keeps the guest from removing it; None if that was not asked.
        is_dirty: its data were changed, so only the guest's daemon reads it.
        generation: how many files before had its inode number.
        changes: how often its attributes were told by the guest, so that an older answer is seen to be that.
        aliases: names of it that were seen beside the node's.
        promised_to: the last few processes that were promised to have it made, or a name of it changed if it is a
            directory: they are told estimates meanwhile.
        is_told: somebody has been.
    """

    opened: int = 0
    kept: int = 0
    is_gone: bool = False
    unmade_errno: int = 0
    has_others: bool = False
    is_fresh: bool = False
    takes_names: bool = False
    given_names: int = 0
    is_free: bool | None = None
    is_dirty: bool = False
    generation: int = 0
    changes: int = 0
    aliases: set[tuple[Inode, bytes]] = field(default_factory=set)
    promised_to: tuple[int, ...] = ()
    is_told: bool = False
    _shown: tuple[bytes, bytes] | None = None

    def keep_told(self, told: tuple[int, ...], stat: bytes) -> None:
        """Go on showing the times that somebody was told, in place of those that the guest has come to by the promise.

        Args:
            told: ``Statns`` as it was expected.
            stat: the same as the guest says, packed.
        """
        if self.is_told:
            changed = min(told[_CHANGED_AT : _CHANGED_AT + 2], hot.STATNS.unpack(stat)[_CHANGED_AT : _CHANGED_AT + 2])
            times = _TIMES.pack(*told[_CHANGED_AT - 2 : _CHANGED_AT], *changed)
            self._shown = stat[_TIMES_FROM:_TIMES_TO], times
            self.is_told = False

    def as_told(self, stat: bytes) -> bytes:
        """Return packed attributes with the times that are shown, as long as the guest's stay what they were."""
        if self._shown is None:
            return stat
        guests, shown = self._shown
        if stat[_TIMES_FROM:_TIMES_TO] == guests:
            return stat[:_TIMES_FROM] + shown + stat[_TIMES_TO:]
        if stat[_TIMES_FROM:_TIMES_TO] != shown:
            self._shown = None
        return stat

    def note_promised(self, pid: int) -> None:
        """Note whom something of it is promised."""
        if pid not in self.promised_to:
            self.promised_to = (*self.promised_to[1 - _PROMISED_TO_MAX :], pid)


@dataclass(slots=True)
class OpenFile:
    """An open file.

    Attributes:
        appends: the guest shall append, whatever the offset: some files may not be written to otherwise.
        by_root: what root writes leaves setuid bits alone.
        errors_told: how many of the file's errors are no news to whoever has opened it.
    """

    node: Node
    appends: bool
    by_root: bool
    errors_told: int = 0


class WrittenFiles:
    """By inode number; one that the kernel forgets is forgotten here.

    Attributes:
        forgotten: how many have been.
    """

    def __init__(self, inodes: NodeTable) -> None:
        self._inodes = inodes
        self._files: dict[Inode, Written] = {}
        self.forgotten = 0

    def find(self, inode: Inode) -> Written | None:
        """Return what is known of a file."""
        return self._files.get(inode)

    def get(self, inode: Inode) -> Written:
        """Return what is known of a file, from now on."""
        file = self._files.get(inode)
        if file is None:
            file = self._files[inode] = Written()
        return file

    def begin_again(self, inode: Inode) -> None:
        """Note that an inode number is that of another file now."""
        self._files[inode] = Written(generation=self.get(inode).generation + 1)

    def all_kept(self) -> list[int]:
        """Return the numbers of all files that have no name any more."""
        return [file.kept for file in self._files.values() if file.kept]

    def prune(self, inode: Inode) -> Written | None:
        """Forget a file that the kernel does not know any more; return what was known of it."""
        file = self._files.get(inode)
        if file is None or file.opened or self._inodes.find(inode) is not None:
            return None
        self.forgotten += 1
        return self._files.pop(inode)
