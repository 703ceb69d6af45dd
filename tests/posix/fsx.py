"""Exercise one file in every way at random, and compare it with a copy in memory after each.

python -m tests.posix.fsx FILE --operations N --seed S    ends with status 1 and the last operations if a byte differs
"""

import argparse
import mmap
import os
import random
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.posix.syscalls import forget_files

LARGEST_BYTES: Final = 256 << 10
LONGEST_BYTES: Final = 64 << 10
_REMEMBERED: Final = 30
_FILE_CHECKED_EVERY: Final = 500


class Mismatch(AssertionError):
    """The file is not what was written to it."""


class Exerciser:
    """A file, and what must be in it.

    Attributes:
        expected: the contents that the file must have.
    """

    def __init__(self, path: Path, seed: int) -> None:
        self.expected = bytearray()
        self._path = path
        self._seed = seed
        self._random = random.Random(seed)
        self._source = self._random.randbytes(LONGEST_BYTES * 2)
        self._history: deque[str] = deque(maxlen=_REMEMBERED)
        self._done = 0
        self._descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_TRUNC, 0o644)
        weights: dict[Callable[[], str], int] = {
            self._read: 30,
            self._read_mapped: 15,
            self._write: 20,
            self._append: 4,
            self._write_sparse: 3,
            self._write_mapped: 12,
            self._truncate: 6,
            self._extend: 3,
            self._reopen: 2,
            self._sync: 1,
            self._forget: 1,
            self._look: 3,
        }
        self._operations = list(weights)
        self._weights = list(weights.values())

    def run(self, count: int) -> None:
        """Do so many operations.

        Raises:
            Mismatch: the file differs; the message has the seed and the last operations.
            OSError: an operation failed.
        """
        for operation in self._random.choices(self._operations, self._weights, k=count):
            self._done += 1
            self._history.append(f"{operation.__name__[1:]} …")
            said = operation()
            self._history[-1] = f"{self._done}: {operation.__name__[1:]} {said}"
            if self._done % _FILE_CHECKED_EVERY == 0:
                self.check()

    def check(self) -> None:
        """Compare all of it."""
        self._compare(os.pread(self._descriptor, LARGEST_BYTES * 2, 0), 0, LARGEST_BYTES * 2)
        self._look()

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _compare(self, found: bytes, start: int, count: int) -> None:
        wanted = self.expected[start : start + count]
        if found == wanted:
            return
        if len(found) != len(wanted):
            raise self._mismatch(f"{len(found)} bytes at {start} instead of {len(wanted)}")
        at = next(index for index in range(len(wanted)) if found[index] != wanted[index])
        last = next(index for index in reversed(range(len(wanted))) if found[index] != wanted[index])
        raise self._mismatch(
            f"bytes {start + at} to {start + last} of {len(self.expected)}: "
            f"{found[at : at + 8].hex(' ')} instead of {wanted[at : at + 8].hex(' ')}"
        )

    def _mismatch(self, what: str) -> Mismatch:
        return Mismatch(
            "\n  ".join([f"{self._path}, seed {self._seed}, operation {self._done}: {what}", *self._history])
        )

    def _range(self, end: int) -> tuple[int, int]:
        """Choose a piece that begins before ``end``: mostly short, sometimes of whole pages."""
        start = self._random.randrange(max(1, end))
        count = int(LONGEST_BYTES * self._random.random() ** 3) + 1
        if self._random.random() < 0.2:
            start, count = start & ~4095, (count + 4095) & ~4095
        return start, count

    def _data(self, count: int) -> bytes:
        start = self._random.randrange(len(self._source) - count + 1)
        return self._source[start : start + count]

    def _put(self, start: int, data: bytes) -> None:
        if start > len(self.expected):
            self.expected += bytes(start - len(self.expected))
        self.expected[start : start + len(data)] = data

    def _read(self) -> str:
        start, count = self._range(len(self.expected) + 1000)
        self._compare(os.pread(self._descriptor, count, start), start, count)
        return f"{count} at {start}"

    def _read_mapped(self) -> str:
        if not self.expected:
            return "nothing"
        start, count = self._range(len(self.expected))
        with mmap.mmap(self._descriptor, len(self.expected), prot=mmap.PROT_READ) as view:
            self._compare(view[start : start + count], start, count)
        return f"{count} at {start}"

    def _write(self) -> str:
        start, count = self._range(min(len(self.expected) + 1, LARGEST_BYTES - LONGEST_BYTES))
        return self._write_at(start, self._data(count))

    def _append(self) -> str:
        if len(self.expected) > LARGEST_BYTES - LONGEST_BYTES:
            return self._truncate()
        return self._write_at(len(self.expected), self._data(self._range(1)[1]))

    def _write_sparse(self) -> str:
        start, count = self._range(LARGEST_BYTES - LONGEST_BYTES)
        return self._write_at(start, self._data(count))

    def _write_at(self, start: int, data: bytes) -> str:
        written = os.pwrite(self._descriptor, data, start)
        self._put(start, data[:written])
        if written != len(data):
            raise self._mismatch(f"{written} bytes written instead of {len(data)}")
        return f"{len(data)} at {start}, size {len(self.expected)}"

    def _write_mapped(self) -> str:
        if not self.expected:
            return "nothing"
        start, count = self._range(len(self.expected))
        data = self._data(min(count, len(self.expected) - start))
        with mmap.mmap(self._descriptor, len(self.expected)) as view:
            view[start : start + len(data)] = data
            if self._random.random() < 0.2:
                view.flush()
        self._put(start, data)
        return f"{len(data)} at {start}"

    def _truncate(self) -> str:
        return self._resize(self._random.randrange(len(self.expected) + 1))

    def _extend(self) -> str:
        return self._resize(self._random.randrange(len(self.expected), LARGEST_BYTES + 1))

    def _resize(self, size: int) -> str:
        if self._random.random() < 0.5:
            os.ftruncate(self._descriptor, size)
        else:
            os.truncate(self._path, size)
        before = len(self.expected)
        del self.expected[size:]
        self.expected += bytes(size - len(self.expected))
        return f"from {before} to {size}"

    def _reopen(self) -> str:
        os.close(self._descriptor)
        if self._random.random() < 0.5:
            forget_files()
        self._descriptor = os.open(self._path, os.O_RDWR)
        self.check()
        return ""

    def _sync(self) -> str:
        os.fsync(self._descriptor)
        return ""

    def _forget(self) -> str:
        """Have all that is read from now on come from where it is kept."""
        os.fsync(self._descriptor)
        os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        self.check()
        return ""

    def _look(self) -> str:
        for info in (os.fstat(self._descriptor), os.stat(self._path)):
            if info.st_size != len(self.expected):
                raise self._mismatch(f"size {info.st_size} instead of {len(self.expected)}")
        return ""


def main() -> int:
    """Exercise a file; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.posix.fsx", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--operations", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    exerciser = Exerciser(options.file, options.seed)
    try:
        exerciser.run(options.operations)
        exerciser.check()
    except (Mismatch, OSError) as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    exerciser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
