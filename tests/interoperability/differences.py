"""Where our daemon answers otherwise than libguestfs's, on purpose: each with the reason."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference that is meant.

    Attributes:
        where: the name of a script, or ``mixture``.
        call: a regular expression for the call, from its beginning.
        expected: a regular expression for the whole of what libguestfs's daemon answers.
        got: a regular expression for the whole of what ours answers.
        reason: why ours is right, or cannot be the same.
    """

    where: str
    call: str
    expected: str
    got: str
    reason: str

    def covers(self, where: str, call: str, expected: str, got: str) -> bool:
        """Tell whether two answers to a call differ in this way."""
        return bool(
            self.where == where
            and re.match(self.call, call)
            and re.fullmatch(self.expected, expected, re.DOTALL)
            and re.fullmatch(self.got, got, re.DOTALL)
        )


MEANT: Final[tuple[Difference, ...]] = ()


def reason_of(where: str, call: str, expected: str, got: str) -> str | None:
    """Return why two answers to a call may differ, None if they may not."""
    return next((entry.reason for entry in MEANT if entry.covers(where, call, expected, got)), None)


def unexplained(where: str, ours: Sequence[str], theirs: Sequence[str]) -> list[tuple[str, str]]:
    """Return the lines ``call: answer`` of two runs that differ without a reason: expected, got."""
    found = []
    for expected, got in zip(theirs, ours, strict=True):
        (call, _, wanted), (_, _, answered) = expected.partition(": "), got.partition(": ")
        if expected != got and (call != got.partition(": ")[0] or not reason_of(where, call, wanted, answered)):
            found.append((expected, got))
    return found
