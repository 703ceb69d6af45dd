"""Where our daemon answers otherwise than libguestfs's, on purpose: each with the reason."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference that is meant.

    Attributes:
        where: a regular expression for the name of the script, or ``mixture``.
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
            re.fullmatch(self.where, where)
            and re.match(self.call, call)
            and re.fullmatch(self.expected, expected, re.DOTALL)
            and re.fullmatch(self.got, got, re.DOTALL)
        )


_NO_ERRNO: Final = "refused: no errno"
_ANY_ERRNO: Final = "refused: E[A-Z0-9]+"

MEANT: Final[tuple[Difference, ...]] = (
    Difference(
        ".*",
        "",
        _NO_ERRNO,
        _ANY_ERRNO,
        "Both refuse. libguestfs runs a program (ln, mkdir, cp, parted) or checks by itself and gives no errno, which "
        "FUSE turns into EINVAL; ours says which error it was.",
    ),
    Difference(
        "mixture",
        r"\d+ statvfs",
        r"(.*'flag': )4096(, .*)",
        r"(.*'flag': )4102(, .*)",
        "The guest's filesystems are mounted nosuid and nodev: no program and no device node of a guest shall have "
        "power in the appliance.",
    ),
    Difference(
        "mixture",
        "",
        "refused: (ENXIO|ENODEV)",
        "refused: (EACCES|EINVAL)",
        "Opening a device node of the guest: ours never does (nodev), libguestfs opens the appliance's device of that "
        "number.",
    ),
    Difference(
        "mixture",
        r"\d+ checksums_out",
        r"\d+ bytes, .*|b'.*  -.n'",
        "b''",
        "No file is there: libguestfs prints a checksum of nothing, for a file named '-'.",
    ),
    Difference(
        "mixture",
        r"\d+ case_sensitive_path",
        "(?i)(/.*)",
        "(?i)(/.*)",
        "Several names differ only in case: ours keeps the one that was given, libguestfs takes the first it finds.",
    ),
)


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
