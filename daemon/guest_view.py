"""A guest's files, to be looked at one by one: what is not there, or no regular file, is empty."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from daemon.files import open_regular
from daemon.session import CallError, Session
from daemon.sysroot import Sysroot

_TEXT_MAX_BYTES: Final = 256 * 1024


class GuestView:
    """The files of what is mounted as the guest's root.

    Args:
        session: has it mounted.
        prefix: of every path: another directory that holds a system.
        end_s: of the monotonic clock: every method but ``below`` raises CallError from then on, for directories may be
            made to keep their reader busy.
    """

    def __init__(self, session: Session, prefix: bytes = b"", end_s: float = float("inf")) -> None:
        self._session = session
        self._prefix = prefix
        self._end_s = end_s

    def below(self, prefix: bytes) -> "GuestView":
        """Return the view of a directory."""
        return GuestView(self._session, self._prefix + prefix, self._end_s)

    def check_time(self) -> None:
        """Raise CallError if there is none left."""
        if time.monotonic() > self._end_s:
            raise CallError("to look at it takes too long")

    def _tree(self) -> Sysroot:
        self.check_time()
        return self._session.sysroot

    def text(self, path: bytes) -> str:
        """Return the begin of a file, without NUL, which no text has and no program takes."""
        with self.opened(path) as descriptor:
            if descriptor is None:
                return ""
            try:
                data = os.pread(descriptor, _TEXT_MAX_BYTES, 0)
            except OSError:
                return ""
            return data.replace(b"\0", b"").decode("utf-8", "surrogateescape")

    def first_line(self, path: bytes) -> str:
        """Return the first line of a file that is more than blanks and comments."""
        lines = (line.strip() for line in self.text(path).splitlines())
        return next((line for line in lines if line and not line.startswith("#")), "")

    @contextmanager
    def opened(self, path: bytes) -> Iterator[int | None]:
        """Own a descriptor of a regular file, None if there is none."""
        try:
            with self._tree():
                descriptor = open_regular(self._prefix + path)
        except OSError:
            yield None
            return
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def is_file(self, *paths: bytes) -> bool:
        """Tell whether one of some regular files is there."""
        with self._tree():
            return any(os.path.isfile(self._prefix + path) for path in paths)

    def is_directory(self, *paths: bytes) -> bool:
        """Tell whether one of some directories is there."""
        with self._tree():
            return any(os.path.isdir(self._prefix + path) for path in paths)

    def target(self, path: bytes) -> bytes:
        """Return where a symbolic link leads."""
        try:
            with self._tree():
                return os.readlink(self._prefix + path)
        except OSError:
            return b""

    def names(self, path: bytes) -> list[bytes]:
        """Return the names in a directory, sorted."""
        try:
            with self._tree():
                return sorted(os.listdir(self._prefix + path))
        except OSError:
            return []

    def spelled(self, *usual: bytes) -> bytes:
        """Return a path as it is spelled there, given one that may differ in case; empty if there is none.

        Args:
            usual: its names, each as it mostly is, which spares the listing of its directory.
        """
        path = b""
        for name in usual:
            if not self._exists(path + b"/" + name):
                found = (other for other in self.names(path or b"/") if other.lower() == name.lower())
                name = next(found, b"")
            if not name:
                return b""
            path += b"/" + name
        return path

    def _exists(self, path: bytes) -> bool:
        with self._tree():
            return os.path.lexists(self._prefix + path)
