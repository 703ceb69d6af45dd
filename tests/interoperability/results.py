"""What runs observed, kept in results.json: each script's latest, and the mixture's."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).with_name("results.json")
MIXTURE: Final = "mixture"


@dataclass(frozen=True, slots=True)
class Result:
    """What a script, or the mixture, observed with both appliances, which ran side by side.

    Attributes:
        ours: its lines with our appliance, theirs: with libguestfs's; of the mixture only those that differ.
        ours_s: how long it took.
        calls: of the mixture, how many there were, and succeeded: how many of them libguestfs's daemon did not refuse.
    """

    ours: Sequence[str]
    theirs: Sequence[str]
    ours_s: float
    theirs_s: float
    calls: int = 0
    succeeded: int = 0


def shortened(result: Result) -> Result:
    """Keep of the mixture what differs."""
    pairs = list(zip(result.ours, result.theirs, strict=True))
    different = [(ours, theirs) for ours, theirs in pairs if ours != theirs]
    calls = [theirs for _, theirs in pairs if theirs[0].isdigit()]  # the rest is what the disks hold at the end
    return Result(
        ours=[ours for ours, _ in different],
        theirs=[theirs for _, theirs in different],
        ours_s=result.ours_s,
        theirs_s=result.theirs_s,
        calls=len(calls),
        succeeded=sum(": refused: " not in call for call in calls),
    )


def load() -> dict[str, Result]:
    """Return the latest results, by script."""
    if not FILE.exists():
        return {}
    return {name: Result(**fields) for name, fields in json.loads(FILE.read_text()).items()}


def save(name: str, result: Result) -> None:
    """Keep one result; the others stay."""
    results = {**load(), name: result}
    rows = {name: asdict(result) for name, result in sorted(results.items())}
    FILE.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
