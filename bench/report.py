"""Turn measurements into JSON, JSON into a table, and the table into docs/performance.md."""

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypedDict

from bench.contenders import KERNEL, OURS, THEIRS, Contender
from bench.image import Workload
from bench.measure import Table
from bench.plot import Chart, svg
from bench.row import Row
from bench.rows import ROWS, SCALE

MARKER: Final = "<!-- below: written by `python -m bench --write-docs` -->"

SCALE_PLOT: Final = "scale.svg"


class Cell(TypedDict):
    """One contender's figures in one row."""

    value: float
    samples: list[float]
    cpu_s: dict[str, float]


class Results(TypedDict):
    """The JSON document."""

    date: str
    host: dict[str, str]
    workload: str
    rounds: int
    versions: dict[str, str]
    found: dict[str, str]
    rows: dict[str, dict[str, Cell]]


def results(table: Table, workload: Workload, contenders: Sequence[Contender], rounds: int) -> Results:
    """Collect what was measured, on what, of whom."""
    return Results(
        date=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        host=_host(),
        workload=workload.image.parent.name,
        rounds=rounds,
        versions={contender.name: contender.describe() for contender in contenders},
        found={row: found for row, (_, found) in table.found.items()},
        rows={
            row.name: {
                contender: Cell(
                    value=round(cell.value, 3),
                    samples=[round(sample, 3) for sample in cell.samples],
                    cpu_s={
                        program: round(used_s / len(cell.samples), 2)
                        for program, used_s in cell.cpu_s.items()
                        if used_s > 0
                    },
                )
                for contender, cell in table.cells[row.name].items()
            }
            for row in ROWS
            if row.name in table.cells
        },
    )


def slower_rows(measured: Results) -> list[str]:
    """Name the rows in which this project takes more than it may, by itself or compared with others."""
    rows = measured["rows"]
    return [row.name for row in ROWS if OURS in rows.get(row.name, {}) and _ours(rows, row.name) > _limit(rows, row)]


def _ours(rows: Mapping[str, Mapping[str, Cell]], name: str) -> float:
    return rows[name][OURS]["value"]


def _limit(rows: Mapping[str, Mapping[str, Cell]], row: Row) -> float:
    """Return the least of a row's limits, of those that can be told from what was measured."""
    limits = [row.limit_absolute]
    cells = rows[row.name]
    for name, limit in ((THEIRS, row.limit), (KERNEL, row.limit_kernel)):
        if name in cells:
            limits.append(limit * cells[name]["value"])
    if row.limit_row is not None:
        name, limit = row.limit_row
        if OURS in rows.get(name, {}):
            limits.append(limit * _ours(rows, name))
    return min(limits)


def markdown_table(measured: Results) -> str:
    """Format the medians, and this project's ratios to guestmount and to the kernel, as a Markdown table."""
    contenders = list(measured["versions"])
    lines = [["", *contenders, f"ours ÷ {THEIRS}", f"ours ÷ {KERNEL}"]]
    for row in ROWS:
        if cells := measured["rows"].get(row.name):
            figures = [_figure(cells[name]["value"], row.unit) if name in cells else "" for name in contenders]
            lines.append([row.title, *figures, _ratio(cells, THEIRS), _ratio(cells, KERNEL)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(f"| {' | '.join(_aligned(line, widths))} |" for line in [lines[0], rule, *lines[1:]])


def cpu_table(measured: Results) -> str:
    """Format where the appliances' CPU time went: seconds per program, row by row."""
    lines = []
    for row in ROWS:
        for contender in (OURS, THEIRS):
            cell = measured["rows"].get(row.name, {}).get(contender)
            if cell and cell["cpu_s"]:
                used = ", ".join(f"{program} {used_s:.1f}" for program, used_s in cell["cpu_s"].items())
                lines.append(f"- {row.title}: {contender} {cell['value']:.1f} s, of which CPU: {used}")
    return "\n".join(lines)


def scale_plot(measured: Results) -> str | None:
    """Draw time and memory over the number of files, as SVG; None if fewer than two numbers were measured."""
    times: dict[str, list[tuple[float, float]]] = {}
    memory: list[tuple[float, float]] = []
    for count, (time_row, memory_row) in SCALE.items():
        for contender, cell in measured["rows"].get(time_row.name, {}).items():
            times.setdefault(contender, []).append((count, cell["value"]))
        if OURS in measured["rows"].get(memory_row.name, {}):
            memory.append((count, _ours(measured["rows"], memory_row.name)))
    if len(memory) < 2 or len(times.get(OURS, ())) < 2:
        return None
    return svg(
        (
            Chart("find -ls, cold", "files", "seconds", times),
            Chart("memory of the FUSE process after it", "files", "MiB", {OURS: memory}),
        )
    )


def write_docs(measured: Results, path: Path) -> None:
    """Replace everything below the marker in a document, and the plot beside it."""
    plot = scale_plot(measured)
    if plot is not None:
        path.with_name(SCALE_PLOT).write_text(plot)
    above, marker, _ = path.read_text().partition(MARKER)
    path.write_text(f"{above}{marker}\n\n{_facts(measured)}\n\n{markdown_table(measured)}\n\n{cpu_table(measured)}\n")


def _facts(measured: Results) -> str:
    facts = {"Measured": measured["date"], **measured["host"], "rounds": str(measured["rounds"])}
    facts |= {f"workload, {row}": found for row, found in measured["found"].items()}
    facts |= measured["versions"]
    return "\n".join(f"- {name}: {fact}" for name, fact in facts.items())


def _host() -> dict[str, str]:
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if "model name" in line), "unknown"
    )
    memory_kib = next(int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal:"))
    return {
        "CPU": f"{os.cpu_count()}x {model}",
        "memory": f"{memory_kib / (1 << 20):.1f} GiB",
        "system": f"{platform.freedesktop_os_release()['PRETTY_NAME']}, Linux {platform.release()}",
        "Python": platform.python_version(),
    }


def _lines(path: str) -> Iterator[str]:
    yield from Path(path).read_text().splitlines()


def _figure(value: float, unit: str) -> str:
    return f"{value:.{0 if unit == 'MiB' else 2}f} {unit}"


def _ratio(cells: Mapping[str, Cell], other: str) -> str:
    if OURS not in cells or other not in cells or not cells[other]["value"]:
        return ""
    return f"{cells[OURS]['value'] / cells[other]['value']:.3f}"


def _aligned(line: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    yield line[0].ljust(widths[0])
    yield from (text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True))
