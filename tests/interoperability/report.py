"""docs/interoperability.md: what a run of the scripts and of the mixture observed with both appliances."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.interoperability.differences import MEANT, reason_of, split, unexplained
from tests.interoperability.mixture import SEED
from tests.interoperability.scripts import Script

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "interoperability.md"
_LINE_MAX: Final = 160
_INTRODUCTION: Final = """\
# Interoperability

Written by `python -m tests.interoperability` from one run; `make test` makes the same comparison. At one end is
libguestfs's own library, at the other the daemon in our appliance or in libguestfs's, both around the same kernel.

"""


@dataclass(frozen=True, slots=True)
class Result:
    """What one script observed.

    Attributes:
        ours: its lines with our appliance, theirs: with libguestfs's.
        ours_s: how long it took, both running side by side.
    """

    script: Script
    ours: Sequence[str]
    theirs: Sequence[str]
    ours_s: float
    theirs_s: float


def document(versions: str, results: Sequence[Result], mixture: tuple[Sequence[str], Sequence[str]]) -> str:
    """Return the document."""
    parts = [_INTRODUCTION, f"{versions}\n\n", _table(results), _mixture(*mixture), _meant()]
    return "".join(
        [*parts, "## What each script observed\n\nA line that differs is given twice.\n", *map(_lines, results)]
    )


def _table(results: Sequence[Result]) -> str:
    head = "## Scripts\n\n| script | checks | our appliance | libguestfs's | different |\n" + "| --- " * 5 + "|\n"
    rows = []
    for result in results:
        pairs = list(zip(result.ours, result.theirs, strict=True))
        different = sum(ours != theirs for ours, theirs in pairs)
        unmeant = len(unexplained(result.script.name, result.ours, result.theirs))
        answers = [f"{len(pairs)} answers, {seconds:.0f} s" for seconds in (result.ours_s, result.theirs_s)]
        said = f"{different}" + (f", NOT EXPLAINED: {unmeant}" if unmeant else ", meant" if different else "")
        rows.append(f"| {result.script.name} | {result.script.about} | {' | '.join(answers)} | {said} |\n")
    return head + "".join(rows)


def _mixture(ours: Sequence[str], theirs: Sequence[str]) -> str:
    done = sum(": refused: " not in line for line in theirs)
    reasons: dict[str, list[str]] = {}
    for expected, got in zip(theirs, ours, strict=True):
        if expected != got:
            (call, wanted), (_, answered) = split(expected), split(got)
            reason = reason_of("mixture", call, wanted, answered) or "NOT EXPLAINED"
            reasons.setdefault(reason, []).append(f"`{_cut(call, 60)}`: {_cut(wanted, 60)} → {_cut(answered, 60)}")
    text = (
        f"\n## The mixture\n\n{len(ours)} calls of seed {SEED}, on identical disks: {done} succeed with libguestfs's "
        f"daemon, {len(ours) - done} are refused. {sum(map(len, reasons.values()))} answers differ, for these "
        "reasons:\n\n"
    )
    rows = [f"| {len(found)} | {reason} | {found[0]} |\n" for reason, found in reasons.items()]
    return text + "| how many | why | for example |\n| --: | --- | --- |\n" + "".join(rows)


def _meant() -> str:
    rows = [f"| {_code(entry.where)} | {_code(entry.call)} | {entry.reason} |\n" for entry in MEANT]
    head = "\n## Differences that are meant\n\n| where | calls | why |\n| --- | --- | --- |\n"
    return head + "".join(rows) + "\n"


def _lines(result: Result) -> str:
    lines = [f"\n### {result.script.name}\n\n```text\n"]
    for expected, got in zip(result.theirs, result.ours, strict=True):
        if expected == got:
            lines.append(f"{_cut(expected, _LINE_MAX)}\n")
        else:
            lines.append(f"libguestfs: {_cut(expected, _LINE_MAX)}\n      ours: {_cut(got, _LINE_MAX)}\n")
    return "".join([*lines, "```\n"])


def _code(pattern: str) -> str:
    return f"`{pattern}`".replace("|", "\\|") if pattern else "all"


def _cut(text: str, length: int) -> str:
    return (text if len(text) <= length else f"{text[: length - 1]}…").replace("|", "\\|")
