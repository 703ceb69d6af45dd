"""A process of its own that makes calls for a test: as another user, with another umask, at the same time as others.

python -m tests.posix.actor UID GID GROUPS UMASK   (GROUPS: numbers with commas between them, or nothing)
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Final, ParamSpec, Self, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

REPOSITORY: Final = Path(__file__).parents[2]
ANSWER_S: Final = 120.0


class Actor:
    """A process that calls what it is told to, one call after another. Its descriptors are numbers for later calls."""

    def __init__(self, uid: int = 0, gid: int = 0, groups: tuple[int, ...] = (), umask: int = 0o022) -> None:
        words = [str(uid), str(gid), ",".join(map(str, groups)), str(umask)]
        command = [sys.executable, "-m", "tests.posix.actor", *words]
        self._process = subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout
        self.uid, self.gid = uid, gid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def pid(self) -> int:
        """Return the process's number."""
        return self._process.pid

    def start(self, function: Callable[P, Any], *args: P.args, **kwargs: P.kwargs) -> None:
        """Begin a call of a function that a module holds; its answer must be fetched by ``answer``."""
        _send(self._to, (function, args, kwargs))

    def answer(self) -> Any:
        """Wait for the answer of the call that was begun; what it raised is raised here."""
        raised, value = pickle.load(self._from)
        if raised:
            raise value
        return value

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in the process, and return or raise what it does."""
        self.start(function, *args, **kwargs)
        answer: T = self.answer()
        return answer

    def kill(self) -> None:
        """End the process at once, whatever it is doing."""
        self._process.kill()
        self.end()

    def end(self) -> None:
        """Let the process end; whatever it has open is closed."""
        for pipe in (self._to, self._from):
            try:
                pipe.close()
            except BrokenPipeError:
                continue
        self._process.wait(ANSWER_S)


def close_below(directory: str) -> None:
    """Close what is open in a directory: a test that failed leaves it so, and nothing could be unmounted."""
    for number in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{number}").startswith(directory + "/"):
                os.close(int(number))
        except OSError:  # the listing's own
            continue


def _send(pipe: BinaryIO | Any, what: object) -> None:
    pickle.dump(what, pipe)
    pipe.flush()


def main() -> None:
    """Serve until there are no more calls; only these are made as the user, who may not see Python's own modules."""
    uid, gid, groups, umask = sys.argv[1:]
    os.setgroups([int(word) for word in groups.split(",") if word])
    os.setresgid(int(gid), int(gid), int(gid))
    calls, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    before = os.umask(0)
    while True:
        os.umask(before)
        try:
            function, args, kwargs = pickle.load(calls)
        except EOFError:
            return
        os.umask(int(umask))
        os.setresuid(int(uid), int(uid), 0)
        try:
            answer = (False, function(*args, **kwargs))
        except Exception as exc:
            answer = (True, exc)
        os.setresuid(0, 0, 0)
        _send(answers, answer)


if __name__ == "__main__":
    main()
