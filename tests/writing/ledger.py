"""What must be in a directory after a power cut, kept from what a writer said before and after each change."""

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

Change: TypeAlias = dict[str, Any]
"""What the writer says: ``what`` it begins, or is done with and has synced; the name; for writes where and what."""


def data_of(seed: int, count: int) -> bytes:
    """Return the bytes that a change is about."""
    return random.Random(seed).randbytes(count)


@dataclass(slots=True)
class Version:
    """Contents that a file may have.

    Attributes:
        synced: what fsync was done for.
        current: what a reader would see before the cut.
        unsure: pieces, from and to, that were written to since the last fsync.
        shortest: the smallest size since then.
        longest: the largest.
    """

    synced: bytes = b""
    current: bytearray = field(default_factory=bytearray)
    unsure: list[tuple[int, int]] = field(default_factory=list)
    shortest: int = 0
    longest: int = 0

    @classmethod
    def of(cls, data: bytes) -> "Version":
        """Return the version that is on the disk for certain."""
        return cls(data, bytearray(data), [], len(data), len(data))

    def resize(self, size: int) -> None:
        """Note that the size changes; bytes beyond the smaller one are unsure."""
        self.unsure.append((min(size, len(self.current)), max(size, len(self.current))))
        del self.current[size:]
        self.current += bytes(size - len(self.current))
        self.shortest, self.longest = min(self.shortest, size), max(self.longest, size)

    def write(self, offset: int, data: bytes) -> None:
        """Note a write."""
        if offset + len(data) > len(self.current):
            self.resize(offset + len(data))
        self.current[offset : offset + len(data)] = data
        self.unsure.append((offset, offset + len(data)))

    def sync(self) -> None:
        """Note that all of it is on the disk."""
        self.synced, self.unsure = bytes(self.current), []
        self.shortest = self.longest = len(self.current)

    def lost(self, found: bytes) -> str:
        """Say what is missing from the contents that were found; nothing if they may be these."""
        if not self.shortest <= len(found) <= self.longest:
            return f"{len(found)} bytes, not {self.shortest} to {self.longest}"
        for start, end in self._sure():
            if found[start:end] != self.synced[start:end]:
                at = next(index for index in range(start, end) if found[index] != self.synced[index])
                return f"byte {at} of {len(self.synced)} is {found[at]:#x}, not {self.synced[at]:#x}, which was synced"
        return ""

    def _sure(self) -> list[tuple[int, int]]:
        end = min(len(self.synced), self.shortest)
        pieces, at = [], 0
        for start, stop in sorted(self.unsure):
            if start > at:
                pieces.append((at, min(start, end)))
            at = max(at, stop)
        return [(start, stop) for start, stop in [*pieces, (at, end)] if start < stop]


class Ledger:
    """All names that a writer has made, and what each may stand for.

    Attributes:
        promises: how many it has heard.
        trusting: whether a promise is believed; until the next ``verify`` it may be switched off.
    """

    def __init__(self) -> None:
        self.promises = 0
        self.trusting = True
        self._names: dict[str, list[Version | None]] = {}
        self._changes: list[Change] = []

    def note(self, change: Change) -> None:
        """Take what the writer says."""
        name = change["name"]
        if not self.trusting and change["what"] in ("synced", "unlinked", "renamed"):
            return
        self._changes.append(change)
        possible = self._names.setdefault(name, [None])
        match change["what"]:
            case "write":
                data = data_of(change["seed"], change["count"])
                for version in self._made(name):
                    version.write(change["offset"], data)
            case "resize":
                for version in self._made(name):
                    version.resize(change["size"])
            case "synced":
                self.promises += 1
                self._names[name] = [version for version in possible if version is not None]
                for version in self._made(name):
                    version.sync()
            case "unlink":
                possible.append(None)
            case "unlinked":
                self.promises += 1
                self._names[name] = [None]
            case "rename":
                self._names.setdefault(change["to"], [None]).extend(self._made(name))
                possible.append(None)
            case "renamed":
                self.promises += 1
                self._names[change["to"]] = [version for version in possible if version is not None]
                self._names[name] = [None]
            case unknown:
                raise ValueError(unknown)

    def _made(self, name: str) -> list[Version]:
        """Return the versions that the name stands for while it exists; a new one if it did not."""
        versions = [version for version in self._names[name] if version is not None]
        if not versions:
            versions = [Version()]
            self._names[name] += versions
        return versions

    def verify(self, root: Path) -> list[str]:
        """Compare a directory with the promises, and go on from what is there; return what is missing."""
        problems = []
        there = {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}
        there = {name: path for name, path in there.items() if not name.startswith("lost+found")}
        for name in sorted(there.keys() | self._names.keys()):
            possible = self._names.get(name, [])
            found = there[name].read_bytes() if name in there else None
            if found is None:
                reasons = [] if None in possible else ["is not there"]
            else:
                reasons = [version.lost(found) for version in possible if version is not None]
                if "" in reasons:
                    reasons = []
                elif not reasons:
                    reasons = ["was never made, or removed for good"]
            if reasons:
                about = [str(change) for change in self._changes if name in (change["name"], change.get("to"))]
                problems.append("\n  ".join([f"{name}: {', '.join(reasons)}; since the last mount:", *about]))
            self._names[name] = [None if found is None else Version.of(found)]
        self._changes.clear()
        self.trusting = True
        return problems

    def names(self) -> dict[str, int]:
        """Return the names that are there, each with its size."""
        return {name: len(made[0].current) for name, made in self._names.items() if made[0] is not None}
