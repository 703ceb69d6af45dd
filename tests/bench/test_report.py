import json
import shutil
from pathlib import Path

import pytest

from bench.__main__ import DOCUMENT, RESULTS
from bench.report import MARKER, SCALE_PLOT, Cell, Results, markdown_table, scale_plot, slower_rows, write_docs


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


@pytest.mark.parametrize(("ours", "slower"), [(99.0, []), (100.0, []), (101.0, ["resident"])])
def test_slower_rows_names_only_rows_above_guestmounts(ours: float, slower: list[str]) -> None:
    results = measured(0.1, 2.0)
    results["rows"]["resident"] = {"guestmount-py": cell(ours), "guestmount": cell(100.0)}
    assert slower_rows(results) == slower


@pytest.mark.parametrize(("ours", "theirs", "over"), [(1.0, 8.0, []), (1.1, 8.0, ["tar"]), (1.1, 99.0, ["tar"])])
def test_row_with_a_limit_by_the_kernel_keeps_both(ours: float, theirs: float, over: list[str]) -> None:
    """An eighth of guestmount's time, and twice the kernel's 0.5 s."""
    assert slower_rows(measured(ours, theirs)) == over


@pytest.mark.parametrize(("in_turn", "over"), [(1.0, []), (0.9, ["read-at-once"]), (None, [])])
def test_row_with_a_limit_by_another_row_is_judged_by_that(in_turn: float | None, over: list[str]) -> None:
    results = measured(1.0, 2.0)
    results["rows"] = {"read-at-once": {"guestmount-py": cell(1.0), "guestmount": cell(9.0)}}
    if in_turn is not None:
        results["rows"]["read-in-turn"] = {"guestmount-py": cell(in_turn)}
    assert slower_rows(results) == over


@pytest.mark.parametrize(
    ("seconds", "mib", "over"),
    [(150.0, 280.0, []), (151.0, 280.0, ["find-1000000"]), (150.0, 297.0, ["memory-1000000"])],
)
def test_ten_times_the_files_take_no_more_than_fifteen_times_as_much(
    seconds: float, mib: float, over: list[str]
) -> None:
    results = measured(1.0, 2.0)
    results["rows"] = {
        "find-100000": {"guestmount-py": cell(10.0)},
        "find-1000000": {"guestmount-py": cell(seconds)},
        "memory-100000": {"guestmount-py": cell(80.0)},
        "memory-1000000": {"guestmount-py": cell(mib)},
    }
    assert slower_rows(results) == over


def test_plot_of_scale_needs_two_numbers_of_files(tmp_path: Path) -> None:
    results = measured(1.0, 2.0)
    results["rows"]["find-10000"] = {"guestmount-py": cell(1.0), "kernel": cell(0.2)}
    results["rows"]["memory-10000"] = {"guestmount-py": cell(35.0)}
    document = tmp_path / "performance.md"
    document.write_text(MARKER)
    assert scale_plot(results) is None
    write_docs(results, document)
    assert [path.name for path in tmp_path.iterdir()] == ["performance.md"]
    results["rows"]["find-100000"] = {"guestmount-py": cell(6.0)}
    results["rows"]["memory-100000"] = {"guestmount-py": cell(75.0)}
    write_docs(results, document)
    assert (tmp_path / "scale.svg").read_text() == scale_plot(results)


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


def test_slower_rows_without_others_judges_nothing() -> None:
    results = measured(9.0, 2.0)
    del results["rows"]["tar"]["guestmount"], results["rows"]["tar"]["kernel"]
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


def test_document_shows_the_results_that_are_kept(tmp_path: Path) -> None:
    document = tmp_path / DOCUMENT.name
    shutil.copyfile(DOCUMENT, document)
    write_docs(json.loads(RESULTS.read_text()), document)
    assert document.read_text() == DOCUMENT.read_text()
    plot = DOCUMENT.with_name(SCALE_PLOT)
    assert (tmp_path / SCALE_PLOT).read_text() == plot.read_text()
