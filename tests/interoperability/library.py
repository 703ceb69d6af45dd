"""libguestfs's own library, in a process of its own: one handle, called by name."""

import errno
import os
import pickle
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

DRIVER: Final = Path(__file__).with_name("driver.py")
# Debian's, which has Debian's bindings; the tests may run in another Python.
DEBIAN_PYTHON: Final = "/usr/bin/python3"


class LibraryError(Exception):
    """The library refused a call.

    Attributes:
        errno: as the library tells it, 0 if there is none.
        message: what it said.
    """

    def __init__(self, number: int, message: str) -> None:
        super().__init__(f"{errno.errorcode.get(number, number)}: {message}")
        self.errno = number
        self.message = message


class Library:
    """A handle; every method of libguestfs's Python bindings is one of this class.

    A call raises LibraryError where the bindings raise RuntimeError.
    """

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Return the process id of the library's process."""
        return self._process.pid

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def method(*arguments: object, **keywords: object) -> Any:
            return self.call(name, arguments, keywords)

        return method

    def call(self, name: str, arguments: Sequence[object] = (), keywords: Mapping[str, object] | None = None) -> Any:
        """Make one call and wait for its answer."""
        self.start(name, *arguments, **(keywords or {}))
        return self.finish()

    def start(self, name: str, *arguments: object, **keywords: object) -> None:
        """Make one call; ``finish`` waits for its answer."""
        assert self._process.stdin is not None
        pickle.dump((name, arguments, keywords), self._process.stdin)
        self._process.stdin.flush()

    def finish(self) -> Any:
        """Wait for the answer to the call under way."""
        assert self._process.stdout is not None
        number, message, value = pickle.load(self._process.stdout)
        if number is not None:
            raise LibraryError(number, message)
        return value


@contextmanager
def opened(environment: Mapping[str, str]) -> Iterator[Library]:
    """Own a handle of the library that sees the given variables; it is closed at the end."""
    with subprocess.Popen(
        [DEBIAN_PYTHON, DRIVER],
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            yield Library(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
