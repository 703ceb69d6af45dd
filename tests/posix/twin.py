"""Two directories on which the same processes make the same calls, and which must stay the same."""

import errno
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from tests.posix.actor import Actor
from tests.posix.snapshot import Looks, looks, snapshot
from tests.posix.syscalls import RENAME_EXCHANGE, RENAME_NOREPLACE, renameat2, utimensat

Outcome: TypeAlias = object
"""What a call returned, as far as two filesystems must agree on it; or the name of its error."""
_READ_BYTES: Final = 1 << 20


class Difference(AssertionError):
    """One directory is not what the other is; the message has all calls since the beginning."""


class Side(NamedTuple):
    """One of the directories as one process sees it: the directory's name, and what the process has opened."""

    root: str
    opened: dict[int, int]


_sides: dict[tuple[str, str], tuple[Side, Side]] = {}
"""In an actor's process: what it has opened on both sides."""


class Twin:
    """Two directories, the reference and the one that is tried, and the processes that work in both.

    Args:
        impossible: calls that are left out, for what is tried cannot make them.
    """

    def __init__(self, reference: Path, tried: Path, actors: Sequence[Actor], impossible: Collection[str] = ()) -> None:
        self.history: list[str] = []
        self._impossible = impossible
        self._roots = (str(reference), str(tried))
        self._actors = actors

    def do(self, who: int, call: str, *args: object) -> Outcome:
        """Make a call on both sides, if it is possible, and return what came of it.

        Args:
            who: which of the processes.
            call: a name of CALLS; its arguments follow.

        Raises:
            Difference: the outcomes are not the same.
        """
        if call in self._impossible:
            return None
        actor = self._actors[who % len(self._actors)]
        words = ", ".join(repr(word) if len(repr(word)) < 60 else f"{repr(word)[:20]}…" for word in args)
        self.history.append(f"{actor.uid}: {call}({words})")
        expected, found = actor.call(perform, self._roots, call, args)
        self.history[-1] += f" = {expected}"[:120]
        if expected != found:
            raise self._difference(f"outcome is {found} instead of {expected}")
        return expected

    def compare(self) -> dict[str, Any]:
        """Compare all that is in the directories, and all that is open; return the names in them and what they are.

        Raises:
            Difference: something is not the same.
        """
        try:
            expected, found = (snapshot(root) for root in self._roots)
        except OSError as exc:
            raise self._difference(f"there is what cannot be looked at: {exc}") from exc
        for name in sorted(expected.keys() | found.keys()):
            if expected.get(name) != found.get(name):
                raise self._difference(f"{name} is {found.get(name)} instead of {expected.get(name)}")
        for number, actor in enumerate(self._actors):
            expected_open, found_open = actor.call(open_files, self._roots)
            if expected_open != found_open:
                raise self._difference(f"open in process {number}: {found_open} instead of {expected_open}")
        return expected

    def end(self) -> None:
        """Close what is open."""
        for actor in self._actors:
            actor.call(close_all, self._roots)

    def _difference(self, what: str) -> Difference:
        return Difference("\n  ".join([what, *self.history]))


def perform(roots: tuple[str, str], call: str, args: tuple[Any, ...]) -> tuple[Outcome, Outcome]:
    """Make one call on both sides, in an actor's process."""
    one, other = _sides.setdefault(roots, (Side(roots[0], {}), Side(roots[1], {})))
    return _outcome(one, call, args), _outcome(other, call, args)


def _outcome(side: Side, call: str, args: tuple[Any, ...]) -> Outcome:
    try:
        os.chdir(side.root)
        return CALLS[call](side, *args)
    except OSError as exc:
        return errno.errorcode[exc.errno or 0]
    finally:
        os.chdir("/")


def open_files(roots: tuple[str, str]) -> list[dict[int, Looks]]:
    """Return, for each side, what the files look like that are open."""
    sides = _sides.get(roots, (Side(roots[0], {}), Side(roots[1], {})))
    return [{number: looks(os.fstat(opened)) for number, opened in side.opened.items()} for side in sides]


def close_all(roots: tuple[str, str]) -> None:
    """Forget both sides."""
    for side in _sides.pop(roots, ()):
        for descriptor in side.opened.values():
            os.close(descriptor)


def _open(side: Side, number: int, name: str, flags: int, mode: int = 0o644) -> None:
    if number in side.opened:
        os.close(side.opened.pop(number))
    side.opened[number] = os.open(name, flags | os.O_NONBLOCK, mode)  # a FIFO without a reader must not stop us


def _opened(side: Side, number: int) -> int:
    try:
        return side.opened[number]
    except KeyError:
        raise OSError(errno.EBADF, "not open") from None


def _close(side: Side, number: int) -> None:
    os.close(_opened(side, number))
    del side.opened[number]


def _forget(side: Side, number: int) -> None:
    os.fsync(_opened(side, number))
    os.posix_fadvise(_opened(side, number), 0, 0, os.POSIX_FADV_DONTNEED)


def _read_file(_side: Side, name: str) -> bytes:
    descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(descriptor, _READ_BYTES)
    finally:
        os.close(descriptor)


CALLS: Final[dict[str, Callable[..., Outcome]]] = {
    "open": _open,
    "close": _close,
    "forget": _forget,
    "fsync": lambda side, number: os.fsync(_opened(side, number)),
    "write": lambda side, number, data: os.write(_opened(side, number), data),
    "pwrite": lambda side, number, data, offset: os.pwrite(_opened(side, number), data, offset),
    "read": lambda side, number, count: os.read(_opened(side, number), count),
    "pread": lambda side, number, count, offset: os.pread(_opened(side, number), count, offset),
    "seek": lambda side, number, offset, whence: os.lseek(_opened(side, number), offset, whence),
    "ftruncate": lambda side, number, size: os.ftruncate(_opened(side, number), size),
    "fchmod": lambda side, number, mode: os.fchmod(_opened(side, number), mode),
    "fstat": lambda side, number: looks(os.fstat(_opened(side, number))),
    "truncate": lambda _, name, size: os.truncate(name, size),
    "mkdir": lambda _, name, mode: os.mkdir(name, mode),
    "rmdir": lambda _, name: os.rmdir(name),
    "unlink": lambda _, name: os.unlink(name),
    "rename": lambda _, old, new: os.rename(old, new),
    "rename_noreplace": lambda _, old, new: renameat2(old, new, RENAME_NOREPLACE),
    "rename_exchange": lambda _, old, new: renameat2(old, new, RENAME_EXCHANGE),
    "link": lambda _, old, new: os.link(old, new, follow_symlinks=False),
    "symlink": lambda _, target, name: os.symlink(target, name),
    "readlink": lambda _, name: os.readlink(name),
    "mkfifo": lambda _, name, mode: os.mkfifo(name, mode),
    "lstat": lambda _, name: looks(os.lstat(name)),
    "stat": lambda _, name: looks(os.stat(name)),
    "list": lambda _, name: sorted(os.listdir(name)),
    "read_file": _read_file,
    "access": lambda _, name, mode: os.access(name, mode),
    "chmod": lambda _, name, mode: os.chmod(name, mode),
    "chown": lambda _, name, uid, gid: os.lchown(name, uid, gid),
    "utime": lambda _, name, seconds: utimensat(name, (seconds, 1), (seconds, 2), follow=False),
    "setxattr": lambda _, name, attribute, value, flags: os.setxattr(name, attribute, value, flags),
    "removexattr": lambda _, name, attribute: os.removexattr(name, attribute),
    "getxattr": lambda _, name, attribute: os.getxattr(name, attribute),
    "listxattr": lambda _, name: sorted(os.listxattr(name)),
}
