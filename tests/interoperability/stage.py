"""Where a script plays: one of the two appliances, and a directory for its disks."""

import errno
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from tests.interoperability.library import Library, LibraryError, opened

PROGRAM_TIMEOUT_S: Final = 600.0
# Of the shared handle: /dev/sda, /dev/sdb and so on.
SHARED_DISKS_MIB: Final = (512, 64, 64, 64)


class Stage:
    """One appliance and how to use it.

    Attributes:
        directory: free for disks and local files.
        environment: variables that make libguestfs launch this appliance.
        busybox: a static program for guests.
    """

    def __init__(self, directory: Path, environment: Mapping[str, str], busybox: Path) -> None:
        self.directory = directory
        self.busybox = busybox
        temporary = directory / "tmp"
        temporary.mkdir()
        self.environment = {**environment, "TMPDIR": os.fspath(temporary), "LIBGUESTFS_CACHEDIR": os.fspath(temporary)}
        self._disks = 0
        self._stack = ExitStack()
        self._shared: Library | None = None

    def close(self) -> None:
        """Shut the shared handle down."""
        self._stack.close()

    def disk(self, size_mib: int) -> Path:
        """Create a blank raw image."""
        self._disks += 1
        path = self.directory / f"disk-{self._disks}.img"
        with path.open("wb") as file:
            file.truncate(size_mib << 20)
        return path

    @contextmanager
    def library(self, *disks: Path) -> Iterator[Library]:
        """Own a handle with disks added, not launched."""
        with opened(self.environment) as library:
            for disk in disks:
                library.add_drive(os.fspath(disk), format="raw")
            yield library

    @contextmanager
    def launched(self, *disks: Path) -> Iterator[Library]:
        """Own a launched handle; at the end it is shut down, which must succeed."""
        with self.library(*disks) as library:
            library.launch()
            yield library
            library.shutdown()

    @contextmanager
    def shared(self) -> Iterator[Library]:
        """Borrow the handle that scripts share; whatever is on its disks may be overwritten."""
        if self._shared is None:
            disks = [self.disk(size_mib) for size_mib in SHARED_DISKS_MIB]
            self._shared = self._stack.enter_context(self.launched(*disks))
        self._shared.umount_all()
        yield self._shared

    @contextmanager
    def filesystem(self, kind: str = "ext4", device: str = "/dev/sda") -> Iterator[Library]:
        """Borrow the shared handle with a fresh filesystem mounted on its root."""
        with self.shared() as library:
            library.mkfs(kind, device)
            library.mount(device, "/")
            yield library

    def program(self, *command: str | Path, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        """Run one of libguestfs's programs."""
        return subprocess.run(
            command,
            env={**os.environ, **self.environment},
            cwd=self.directory,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PROGRAM_TIMEOUT_S,
        )


def outcome(library: Library, name: str, *arguments: Any, **keywords: Any) -> str:
    """Make a call; return what it answered, or how it was refused."""
    try:
        return brief(library.call(name, arguments, keywords))
    except LibraryError as exc:
        return refusal(exc)


def refusal(exc: LibraryError) -> str:
    """Return the errno of an error; a bug of our daemon, which has none either, is no answer."""
    assert "a bug in guestfsd" not in exc.message, exc.message
    return f"refused: {errno.errorcode.get(exc.errno, 'no errno')}"


def brief(value: Any) -> str:
    """Return a value, or the beginning and the length of a long one."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:60]}… ({len(value)})"


def asked(library: Library, name: str, *arguments: Any, **keywords: Any) -> str:
    """Make a call; return it with its outcome in one line."""
    words = [brief(argument) for argument in arguments] + [f"{key}={brief(value)}" for key, value in keywords.items()]
    return f"{name}({', '.join(words)}): {outcome(library, name, *arguments, **keywords)}"
