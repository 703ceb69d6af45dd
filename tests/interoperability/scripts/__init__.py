"""What libguestfs's own tests check, as scripts of our own. Each plays on a stage and yields what it observed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from tests.interoperability.stage import Stage

Play: TypeAlias = Callable[[Stage], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Script:
    """One script: its function's name, what it checks, and the function."""

    name: str
    about: str
    play: Play


SCRIPTS: Final[list[Script]] = []


def script(about: str) -> Callable[[Play], Play]:
    """Register a script."""

    def register(play: Play) -> Play:
        SCRIPTS.append(Script(play.__name__, about, play))
        return play

    return register


from tests.interoperability.scripts import death, disks, files, inspection, storage, storage_rest, transfers  # noqa: E402

__all__ = [
    "SCRIPTS",
    "Script",
    "death",
    "disks",
    "files",
    "inspection",
    "script",
    "storage",
    "storage_rest",
    "transfers",
]
