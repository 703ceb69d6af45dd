"""A row of the table, and the work that is timed for it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; less is better in all of them.

    Attributes:
        limit: what of guestmount's figure this project may take at most, or the bench fails.
        limit_kernel: what of the kernel's.
        limit_absolute: the most it may take, in the row's unit, whatever the others take.
        limit_row: another row, and what of this project's own figure there it may take.
    """

    name: str
    title: str
    unit: str
    limit: float = 1.0
    limit_kernel: float = math.inf
    limit_absolute: float = math.inf
    limit_row: tuple[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How long a piece of work took, and what it found, which must be the same for every contender."""

    seconds: float
    found: str


@dataclass(frozen=True, slots=True)
class Step:
    """Work that is timed for a row.

    Attributes:
        row: where the time goes.
        cold: the page cache is dropped before.
        work: takes the mounted directory, and an empty one to write to, or one with what is to be written.
        by_guest: this project has the guest read the files, not the image.
    """

    row: Row
    cold: bool
    work: Callable[[Path, Path], Outcome]
    by_guest: bool = False
