"""Where our daemon answers otherwise than libguestfs's, on purpose: each with the reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference that is meant.

    Attributes:
        script: in which script it shows.
        call: how the line begins.
        reason: why ours is right, or cannot be the same.
    """

    script: str
    call: str
    reason: str


MEANT: Final[tuple[Difference, ...]] = ()


def explained(script: str, line: str) -> str | None:
    """Return the reason why a line may differ."""
    return next((entry.reason for entry in MEANT if entry.script == script and line.startswith(entry.call)), None)


def unexplained(script: str, ours: Sequence[str], theirs: Sequence[str]) -> list[tuple[str, str]]:
    """Return the lines of two runs of a script that differ without a reason: expected, got."""
    lines = zip(theirs, ours, strict=True)
    return [(expected, got) for expected, got in lines if expected != got and explained(script, got) is None]
