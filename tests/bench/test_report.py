from pathlib import Path

import pytest

from bench.report import MARKER, Cell, Results, markdown_table, slower_rows, write_docs


def cell(value: float) -> Cell:
    return Cell(value=value, samples=[value], cpu_s={})


def measured(ours: float, theirs: float) -> Results:
    return Results(
        date="2026-11-21 08:00 UTC",
        host={"CPU": "2x a processor"},
        workload="bench-0123",
        rounds=1,
        versions={"guestmount-py": "0.1", "guestmount": "1.48", "kernel": "6.1"},
        found={"tar": "1 bytes"},
        rows={
            "tar": {"guestmount-py": cell(ours), "guestmount": cell(theirs), "kernel": cell(0.5)},
            "resident": {"guestmount-py": cell(100.0), "guestmount": cell(1000.0), "kernel": cell(0.0)},
        },
    )


@pytest.mark.parametrize(("ours", "slower"), [(1.9, []), (2.0, []), (2.1, ["tar"])])
def test_slower_rows_names_only_rows_above_guestmounts(ours: float, slower: list[str]) -> None:
    assert slower_rows(measured(ours, 2.0)) == slower


@pytest.mark.parametrize(("ours", "over"), [(1 / 15, []), (0.07, ["mount-warm"])])
def test_row_with_a_limit_of_its_own_is_judged_by_it(ours: float, over: list[str]) -> None:
    results = measured(1.0, 2.0)
    results["rows"] = {"mount-warm": {"guestmount-py": cell(ours), "guestmount": cell(1.0)}}
    assert slower_rows(results) == over


@pytest.mark.parametrize(
    ("row", "ours", "over"),
    [("mount-warm", 0.8, []), ("mount-warm", 0.81, ["mount-warm"]), ("crowd", 90.0, []), ("crowd", 91.0, ["crowd"])],
)
@pytest.mark.parametrize("theirs", [{}, {"guestmount": cell(1000.0)}], ids=["alone", "compared"])
def test_row_with_an_absolute_limit_is_judged_by_it_whatever_guestmount_takes(
    row: str, ours: float, over: list[str], theirs: dict[str, Cell]
) -> None:
    results = measured(1.0, 2.0)
    results["rows"] = {row: {"guestmount-py": cell(ours), **theirs}}
    assert slower_rows(results) == over


def test_slower_rows_without_guestmount_judges_nothing() -> None:
    results = measured(9.0, 2.0)
    del results["rows"]["tar"]["guestmount"]
    assert slower_rows(results) == []


def test_table_shows_medians_and_ratios_and_no_ratio_to_zero() -> None:
    header, _, tar, resident = markdown_table(measured(1.0, 2.0)).splitlines()
    assert [word.strip() for word in header.split("|")[2:5]] == ["guestmount-py", "guestmount", "kernel"]
    assert [word.strip() for word in tar.split("|")[2:7]] == ["1.00 s", "2.00 s", "0.50 s", "0.500", "2.000"]
    assert [word.strip() for word in resident.split("|")[2:7]] == ["100 MiB", "1000 MiB", "0 MiB", "0.100", ""]


def test_write_docs_keeps_what_stands_above_the_marker(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text(f"# Performance\n\n{MARKER}\nold figures\n")
    write_docs(measured(1.0, 2.0), document)
    text = document.read_text()
    assert text.startswith(f"# Performance\n\n{MARKER}\n\n- Measured: 2026-11-21 08:00 UTC\n")
    assert "old figures" not in text
    assert markdown_table(measured(1.0, 2.0)) in text
