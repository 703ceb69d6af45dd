"""Change files at random, some with fsync and some without, and say so.

python -m tests.writing.writer ROOT SEED [--lie]

Each line of its output is a change, said before it begins; ``synced``, ``unlinked`` and ``renamed`` after the fsync
that makes it last. Its input is one line: the names that are there, and their sizes. It works until something fails, as
everything does once the power is cut. With --lie it says so without having called fsync.
"""

import json
import mmap
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.posix.syscalls import forget_files
from tests.writing.ledger import data_of

_NAMES: Final = [f"{directory}{number}" for directory in ("", "one/", "two/") for number in range(5)]
_LARGEST_BYTES: Final = 400_000


class Writer:
    """A directory, the names and sizes of the files in it, and a source of chances."""

    def __init__(self, root: Path, seed: int, sizes: dict[str, int], *, lie: bool) -> None:
        self._root = root
        self._random = random.Random(seed)
        self._sizes = sizes
        self._lasting = set(sizes)
        self._lie = lie

    def run(self) -> None:
        """Change files for ever."""
        for name in ("one", "two"):
            (self._root / name).mkdir(exist_ok=True)
            self._sync_directory(f"{name}/x")
        self._sync_directory("x")
        actions: dict[Callable[[str], None], int] = {
            self._write_and_sync: 8,
            self._write_plainly: 6,
            self._write_synchronously: 2,
            self._write_mapped: 2,
            self._resize: 2,
            self._replace: 4,
            self._unlink: 1,
            self._forget: 2,
        }
        while True:
            (action,) = self._random.choices(list(actions), list(actions.values()))
            action(self._random.choice(_NAMES))

    def _say(self, what: str, name: str, **more: object) -> None:
        print(json.dumps({"what": what, "name": name, **more}), flush=True)

    def _sync(self, descriptor: int, *, data_only: bool = False) -> None:
        if not self._lie:
            (os.fdatasync if data_only else os.fsync)(descriptor)

    def _sync_directory(self, name: str) -> None:
        descriptor = os.open((self._root / name).parent, os.O_RDONLY)
        self._sync(descriptor)
        os.close(descriptor)

    def _sync_name(self, name: str) -> None:
        """Have a name last, too; fsync of a file promises no more than its contents."""
        if name not in self._lasting:
            self._sync_directory(name)
            self._lasting.add(name)

    def _choose(self, name: str) -> tuple[int, bytes]:
        """Choose a piece of a file to write, and say so."""
        size = self._sizes.get(name, 0)
        offset = self._random.choice((size, self._random.randrange(size + 1)))
        count = self._random.choice((1, 100, 4096, 5000, 70_000, self._random.randrange(1, 200_000)))
        if offset + count > _LARGEST_BYTES:
            offset = 0
        seed = self._random.randrange(1 << 32)
        self._say("write", name, offset=offset, count=count, seed=seed)
        self._sizes[name] = max(size, offset + count)
        return offset, data_of(seed, count)

    def _write(self, name: str, flags: int = 0) -> int:
        offset, data = self._choose(name)
        descriptor = os.open(self._root / name, os.O_CREAT | os.O_RDWR | flags, 0o644)
        for start in range(0, len(data), 65_536):
            os.pwrite(descriptor, data[start : start + 65_536], offset + start)
        return descriptor

    def _write_and_sync(self, name: str) -> None:
        descriptor = self._write(name)
        self._sync(descriptor, data_only=self._random.random() < 0.4)
        self._sync_name(name)
        self._say("synced", name)
        os.close(descriptor)

    def _write_plainly(self, name: str) -> None:
        os.close(self._write(name))

    def _write_synchronously(self, name: str) -> None:
        if name in self._lasting:
            descriptor = os.open(self._root / name, os.O_RDONLY)
            self._sync(descriptor)  # what was written before, plainly
            self._say("synced", name)
            os.close(descriptor)
            descriptor = self._write(name, 0 if self._lie else self._random.choice((os.O_SYNC, os.O_DSYNC)))
            self._say("synced", name)
            os.close(descriptor)

    def _write_mapped(self, name: str) -> None:
        size = self._sizes.get(name, 0)
        if not size:
            return
        offset, count = self._random.randrange(size), self._random.randrange(1, 10_000)
        count, seed = min(count, size - offset), self._random.randrange(1 << 32)
        self._say("write", name, offset=offset, count=count, seed=seed)
        descriptor = os.open(self._root / name, os.O_RDWR)
        with mmap.mmap(descriptor, size) as view:
            view[offset : offset + count] = data_of(seed, count)
            if not self._lie:
                view.flush()
        self._sync(descriptor)
        self._sync_name(name)
        self._say("synced", name)
        os.close(descriptor)

    def _resize(self, name: str) -> None:
        if name not in self._sizes:
            return
        size = self._random.randrange(self._sizes[name] + 10_000)
        self._say("resize", name, size=size)
        descriptor = os.open(self._root / name, os.O_RDWR)
        os.ftruncate(descriptor, size)
        self._sizes[name] = size
        if self._random.random() < 0.7:
            self._sync(descriptor)
            self._sync_name(name)
            self._say("synced", name)
        os.close(descriptor)

    def _replace(self, name: str) -> None:
        temporary = f"{name}.new"
        self._write_and_sync(temporary)
        self._say("rename", temporary, to=name)
        os.rename(self._root / temporary, self._root / name)  # noqa: PTH104 - the call itself is tried
        self._sizes[name] = self._sizes.pop(temporary)
        self._sync_directory(name)
        self._lasting = self._lasting - {temporary} | {name}
        self._say("renamed", temporary, to=name)

    def _unlink(self, name: str) -> None:
        if self._sizes.pop(name, None) is not None:
            self._say("unlink", name)
            (self._root / name).unlink()
            self._sync_directory(name)
            self._lasting.discard(name)
            self._say("unlinked", name)

    @staticmethod
    def _forget(_name: str) -> None:
        forget_files()


def main() -> None:
    """Work until the power is cut."""
    root, seed, *more = sys.argv[1:]
    writer = Writer(Path(root), int(seed), json.loads(sys.stdin.readline()), lie="--lie" in more)
    try:
        writer.run()
    except OSError as exc:
        sys.stderr.write(f"{exc}\n")


if __name__ == "__main__":
    main()
