"""What the tests saw of each guest, kept in results.json, of which ``python -m tools.guests`` writes docs/guests.md.

``pytest --record`` keeps what is seen; without it, a test fails that sees anything else.
"""

import json
from pathlib import Path
from typing import Final, Protocol, TypeAlias

FILE: Final = Path(__file__).with_name("results.json")
Tables: TypeAlias = dict[str, dict[str, dict[str, str]]]
"""Cells by the names of table, row and column."""


class Note(Protocol):
    """Takes what was seen of one guest: some cells of a row."""

    def __call__(self, table: str, row: str, **cells: str) -> None:
        """Keep the cells, or insist that they are those kept."""


def load() -> Tables:
    """Return what was kept."""
    tables: Tables = json.loads(FILE.read_text())
    return tables


def keep(table: str, row: str, **cells: str) -> None:
    """Keep some cells; all others stay."""
    tables = load() if FILE.exists() else {}
    tables.setdefault(table, {}).setdefault(row, {}).update(cells)
    FILE.write_text(json.dumps(tables, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def compare(table: str, row: str, **cells: str) -> None:
    """Insist on what was kept.

    Raises:
        AssertionError: something else was seen.
    """
    kept = load().get(table, {}).get(row, {})
    for column, cell in cells.items():
        if kept.get(column) != cell:
            raise AssertionError(
                f"{table}, {row}, {column}: {cell!r}, not {kept.get(column)!r} as results.json has it: "
                "if that is right, run pytest --record and python -m tools.guests"
            )
