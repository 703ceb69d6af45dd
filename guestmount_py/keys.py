"""Keys of encrypted devices: those the user gave, and asking for the others."""

import os
import re
import resource
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from rpc.errors import GuestmountError, UsageError

Ask: TypeAlias = Callable[[str], str]
"""Put a prompt to the user and return the key; GuestmountError if there is nobody to answer."""

_FILE_MAX_BYTES: Final = 1 << 20
_SECRETS: Final = tuple(
    re.compile(pattern, re.DOTALL | re.IGNORECASE)
    for pattern in (rb"(:key:)(.*)", rb"([a-z][a-z0-9+.-]*://[^/?#:@]*:)([^/?#]*)(?=@)", rb"(https?://[^?#]*\?)(.*)")
)
"""A key behind its selector, the password in a URI, and what a web server is asked for."""


@dataclass(frozen=True, slots=True)
class KeySelector:
    """One ``--key``.

    Attributes:
        name: which devices it opens: a device's name, a UUID, or ``all``.
        key: the key, kept out of every log.
    """

    name: str
    key: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "KeySelector":
        """Take the option's value apart: ``NAME:key:KEY``, or ``NAME:file:FILE``, whose last newline does not count.

        Raises:
            UsageError: it is neither, or the file cannot be read. The text, which may hold a key, is not repeated.
        """
        name, kind, value = [*text.split(":", 2), "", ""][:3]
        if not name or kind not in ("key", "file", "clevis"):
            raise UsageError("--key: give NAME:file:FILE or NAME:key:KEY, NAME being a device, a UUID, or all")
        if kind == "clevis":
            raise UsageError(f"--key {name}:clevis: Clevis asks servers, and the appliance has no network: give a key")
        key = value if kind == "key" else _read(name, value)
        if not key or "\0" in key:
            what = "empty" if not key else "a binary key with NUL bytes, which cannot be passed on"
            raise UsageError(f"--key {name}:{kind}: the key is {what}: give another one")
        return cls(name, key)

    def fits(self, names: Collection[str]) -> bool:
        """Tell whether it is for a device with these names, a UUID among them."""
        return self.name == "all" or self.name.lower() in {name.lower() for name in names}


def _read(name: str, file: str) -> str:
    try:
        with Path(file).open("rb") as opened:
            data = opened.read(_FILE_MAX_BYTES + 1)
    except OSError as exc:
        raise UsageError(f"--key {name}:file:{file}: {exc.strerror}: give a file that can be read") from exc
    if len(data) > _FILE_MAX_BYTES:
        raise UsageError(f"--key {name}:file:{file}: more than {_FILE_MAX_BYTES >> 20} MiB, so not a key")
    return os.fsdecode(data.removesuffix(b"\n"))


@dataclass(frozen=True, slots=True)
class Keys:
    """How a run of the program comes by keys.

    Attributes:
        given: by ``--key``, in order.
        ask: for those of other devices.
        attempts: how often to ask for one; a line of standard input that is wrong must not use up the next.
    """

    given: Sequence[KeySelector]
    ask: Ask
    attempts: int

    def of(self, names: Collection[str]) -> list[str]:
        """Return the keys that were given for a device."""
        return [selector.key for selector in self.given if selector.fits(names)]


def forbid_core_dumps(process: int = 0) -> None:
    """Keep what is in a process's memory from ever being written to a disk when it crashes.

    A limit of one byte: 0 would not keep the kernel from piping a dump to a program, 1 does (fs/coredump.c).

    Args:
        process: its id; 0 is this one. Those that it starts afterwards have the limit, too.
    """
    _, most = resource.prlimit(process, resource.RLIMIT_CORE)
    limit = 1 if most == resource.RLIM_INFINITY else min(1, most)
    resource.prlimit(process, resource.RLIMIT_CORE, (limit, limit))


def hide_keys() -> None:
    """Write over the keys and passwords on this process's command line, which ``ps`` shows to everybody.

    The memory that it is read from is the process's own (proc(5): arg_start and arg_end in /proc/PID/stat).

    Raises:
        GuestmountError: it cannot be done.
    """
    try:
        stat = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        start, end = int(stat[45]), int(stat[46])
        with Path("/proc/self/mem").open("r+b", buffering=0) as memory:
            memory.seek(start)
            words = memory.read(end - start).split(b"\0")
            memory.seek(start)
            memory.write(b"\0".join(without_secrets(word) for word in words))
    except OSError as exc:
        raise GuestmountError(
            f"keys on the command line cannot be hidden from ps: {exc.strerror}: give NAME:file:FILE"
        ) from exc


def without_secrets(word: bytes) -> bytes:
    """Return a word of a command line with stars where a key or password stands; as long as before."""
    for secret in _SECRETS:
        word = secret.sub(lambda match: match[1] + b"*" * len(match[2]), word)
    return word
