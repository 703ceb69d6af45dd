"""Random calls of several processes on few files: two names of one, directories renamed, files replaced while open."""

import os
import random
from typing import Final

from tests.posix.syscalls import forget_files
from tests.posix.twin import Twin

CALLS_EACH: Final = 24
_FILES: Final = ("one/a", "one/b", "two/a", "two/c", "one/deep/a", "two/deep/b", "d")
_DIRECTORIES: Final = ("one", "two", "one/deep", "two/deep", "three")
_NUMBERS: Final = 2


def interleave(twin: Twin, seed: int) -> None:
    """Make the calls that belong to a seed, and compare everything at the end.

    Raises:
        Difference: the directories differ.
    """
    source = random.Random(seed)
    processes = range(3)
    for name in ("one", "two", "one/deep"):
        twin.do(0, "mkdir", name, 0o755)
    for name in ("one/a", "one/deep/a", "d"):
        twin.do(0, "open", 9, name, os.O_CREAT | os.O_WRONLY)
        twin.do(0, "write", 9, _data(source))
    twin.do(0, "link", "one/a", "two/a")
    twin.do(0, "close", 9)
    if source.random() < 0.5:
        _forget(twin, source, 0)
    for who in processes:
        twin.do(who, "open", 0, source.choice(("one/a", "two/a", "one/deep/a", "d")), os.O_RDWR)
    for _ in range(CALLS_EACH):
        kind = source.choices(list(_KINDS), list(_KINDS.values()))[0]
        kind(twin, source, source.choice(processes))
    twin.compare()
    twin.end()


def _data(source: random.Random) -> bytes:
    return source.randbytes(source.choice((1, 10, 100, 4096, 5000, 5000, 20_000)))


def _write(twin: Twin, source: random.Random, who: int) -> None:
    twin.do(who, "pwrite", source.randrange(_NUMBERS), _data(source), source.choice((0, 1, 50, 4000, 4096, 8192)))


def _read(twin: Twin, source: random.Random, who: int) -> None:
    twin.do(who, "pread", source.randrange(_NUMBERS), 30_000, source.choice((0, 1, 4096)))


def _open(twin: Twin, source: random.Random, who: int) -> None:
    flags = source.choice((os.O_RDWR, os.O_RDWR | os.O_CREAT, os.O_RDWR | os.O_TRUNC, os.O_RDWR | os.O_APPEND))
    twin.do(who, "open", source.randrange(_NUMBERS), source.choice(_FILES), flags)


def _resize(twin: Twin, source: random.Random, who: int) -> None:
    size = source.choice((0, 1, 5, 4096, 10_000))
    if source.random() < 0.5:
        twin.do(who, "ftruncate", source.randrange(_NUMBERS), size)
    else:
        twin.do(who, "truncate", source.choice(_FILES), size)


def _replace(twin: Twin, source: random.Random, who: int) -> None:
    """Write a file anew, as an editor does."""
    twin.do(who, "open", 8, "temporary", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o640)
    twin.do(who, "write", 8, _data(source))
    if source.random() < 0.3:
        twin.do(who, "fsync", 8)
    twin.do(who, "close", 8)
    twin.do(who, "rename", "temporary", source.choice(_FILES))


def _rename(twin: Twin, source: random.Random, who: int) -> None:
    names = _DIRECTORIES if source.random() < 0.6 else _FILES
    call = source.choice(("rename", "rename", "rename_exchange", "rename_noreplace"))
    twin.do(who, call, source.choice(names), source.choice(names))


def _link(twin: Twin, source: random.Random, who: int) -> None:
    twin.do(who, "link", source.choice(_FILES), source.choice(_FILES))


def _remove(twin: Twin, source: random.Random, who: int) -> None:
    if source.random() < 0.3:
        twin.do(who, "rmdir", source.choice(_DIRECTORIES))
    else:
        twin.do(who, "unlink", source.choice(_FILES))


def _make(twin: Twin, source: random.Random, who: int) -> None:
    twin.do(who, "mkdir", source.choice(_DIRECTORIES), 0o755)


def _forget(twin: Twin, _source: random.Random, _who: int) -> None:
    """Have them be files that were there already: until they are forgotten, much is known of those just made."""
    twin.history.append("forget")
    forget_files()


def _look(twin: Twin, source: random.Random, who: int) -> None:
    match source.randrange(4):
        case 0:
            twin.do(who, "list", source.choice((".", *_DIRECTORIES)))
        case 1:
            twin.do(who, "lstat", source.choice(_FILES + _DIRECTORIES))
        case 2:
            twin.do(who, "read_file", source.choice(_FILES))
        case _:
            twin.do(who, "fstat", source.randrange(_NUMBERS))


def _change(twin: Twin, source: random.Random, who: int) -> None:
    name = source.choice(_FILES)
    match source.randrange(3):
        case 0:
            twin.do(who, "chmod", name, source.choice((0o600, 0o644, 0o755)))
        case 1:
            twin.do(who, "utime", name, source.randrange(10**9))
        case _:
            twin.do(who, "setxattr", name, "user.a", _data(source)[:50], 0)


_KINDS: Final = {
    _write: 5,
    _read: 4,
    _open: 3,
    _resize: 2,
    _replace: 3,
    _rename: 5,
    _link: 2,
    _remove: 2,
    _make: 2,
    _look: 6,
    _change: 2,
    _forget: 2,
}
