"""docs/interoperability.md: what the latest runs of the scripts and of the mixture observed with both appliances."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.interoperability.differences import MEANT, reason_of, split, unexplained
from tests.interoperability.mixture import LEFT_OUT, SEED
from tests.interoperability.results import MIXTURE, Result
from tests.interoperability.scripts import SCRIPTS

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "interoperability.md"
UNEXPLAINED: Final = "NOT EXPLAINED"
_LINE_MAX: Final = 160
_INTRODUCTION: Final = """\
# Interoperability

Written by `python -m tests.interoperability` from its latest runs. `make test` plays them with our appliance again, and
what is quick with libguestfs's too; `make test-long` plays all with both. At one end is libguestfs's own library of
Debian 12, 1.48.6, at the other the daemon in our appliance or in libguestfs's, both around the same kernel, emulated,
side by side on one machine.

"""


def document(results: Mapping[str, Result]) -> str:
    """Return the document; scripts that never ran are left out."""
    parts = [_INTRODUCTION, _table(results)]
    if MIXTURE in results:
        parts.append(_mixture(results[MIXTURE]))
    parts += [_meant(), "## What each script observed\n\nA line that differs is given twice.\n"]
    return "".join(
        [*parts, *(_lines(script.name, results[script.name]) for script in SCRIPTS if script.name in results)]
    )


def _table(results: Mapping[str, Result]) -> str:
    rows = ["## Scripts\n\n| script | checks | our appliance | libguestfs's | different |\n" + "| --- " * 5 + "|\n"]
    for script in SCRIPTS:
        if script.name in results:
            result = results[script.name]
            both = (result.ours_s, result.theirs_s)
            answers = " | ".join(f"{len(result.ours)} answers, {seconds:.0f} s" for seconds in both)
            rows.append(f"| {script.name} | {script.about} | {answers} | {_different(script.name, result)} |\n")
    return "".join(rows)


def _different(name: str, result: Result) -> str:
    count = sum(ours != theirs for ours, theirs in zip(result.ours, result.theirs, strict=True))
    unmeant = len(unexplained(name, result.ours, result.theirs))
    return f"{unmeant} {UNEXPLAINED}" if unmeant else f"{count}, meant" if count else "nothing"


def _mixture(result: Result) -> str:
    reasons: dict[str, list[str]] = {}
    for expected, got in zip(result.theirs, result.ours, strict=True):
        (call, wanted), (_, answered) = split(expected), split(got)
        reason = reason_of(MIXTURE, call, wanted, answered) or UNEXPLAINED
        reasons.setdefault(reason, []).append(f"`{_cut(call, 60)}`: {_cut(wanted, 60)} → {_cut(answered, 60)}")
    text = (
        f"\n## The mixture\n\n{result.calls} calls of seed {SEED}, on identical disks, in {result.ours_s:.0f} s with "
        f"our daemon, {result.theirs_s:.0f} s with libguestfs's, which refuses {result.calls - result.succeeded}. "
        "The last lines are what the disks hold afterwards, read by this machine's kernel. "
        f"{len(result.ours)} lines differ, for these reasons:\n\n"
        "| how many | why | for example |\n| --: | --- | --- |\n"
    )
    rows = [f"| {len(found)} | {reason} | {found[0]} |\n" for reason, found in reasons.items()]
    left_out = [f"| {what} | {why} |\n" for what, why in LEFT_OUT]
    return "".join([text, *rows, "\nLeft out is:\n\n| what | why |\n| --- | --- |\n", *left_out])


def _meant() -> str:
    rows = [f"| {_code(entry.where)} | {_code(entry.call)} | {entry.reason} |\n" for entry in MEANT]
    head = "\n## Differences that are meant\n\n| where | calls | why |\n| --- | --- | --- |\n"
    return head + "".join(rows) + "\n"


def _lines(name: str, result: Result) -> str:
    lines = [f"\n### {name}\n\n```text\n"]
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
