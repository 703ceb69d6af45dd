"""The documents agree with the code."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.guests import families, matrix, results, stacks
from tools import guests, procedures

ROOT = Path(__file__).parent.parent


def _options(text: str) -> set[str]:
    return set(
        re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", text.replace("\\-", "-").replace("\\fR", " ").replace("\\fB", " "))
    )


@pytest.mark.parametrize(
    ("page", "module"),
    [
        ("guestmount-py.1", "cli"),
        ("guestmount-py-list.1", "list_cli"),
        ("guestmount-py-overlay.1", "overlay_cli"),
        ("guestunmount-py.1", "unmount"),
    ],
)
def test_manual_page_has_exactly_the_options_of_help(page: str, module: str) -> None:
    command = [sys.executable, "-m", f"guestmount_py.{module}", "--help"]
    shown = _options(subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout)
    manual = (ROOT / "docs/man" / page).read_text()
    written = _options(manual[manual.index(".SH OPTIONS") : manual.index(".SH EXIT STATUS")])
    program = {"-py", "-h"}
    assert shown - program == written - program


def test_readme_names_only_targets_that_exist() -> None:
    readme = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"make ([a-z]+)", readme))
    assert named
    assert named <= targets


def test_readme_names_only_files_that_exist() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / link).exists(), link


def test_ci_runs_the_readme_test_command() -> None:
    assert "make test" in (ROOT / "README.md").read_text()
    assert "make test" in (ROOT / ".ci/run").read_text()


def test_list_of_procedures_is_up_to_date() -> None:
    assert procedures.DOCUMENT.read_text() == procedures.document(), "run python -m tools.procedures"


def test_list_of_procedures_has_every_call_of_libguestfs() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", procedures.DOCUMENT.read_text(), re.MULTILINE)
    listed = [line.split("\t")[:2] for line in procedures.LIST.read_text().splitlines() if line[:1].isdigit()]
    assert {(number, name) for number, name in listed} <= set(rows)
    assert len(rows) == len(set(rows))


def test_index_of_handlers_is_up_to_date() -> None:
    assert procedures.INDEX.read_text() == procedures.index(), "run python -m tools.procedures"


def test_tables_of_guests_are_of_what_was_seen() -> None:
    assert guests.DOCUMENT.read_text() == guests.document(), "run python -m tools.guests"


def test_every_guest_was_seen() -> None:
    seen = results.load()
    assert seen["filesystems"].keys() == {each.name for each in matrix.FILESYSTEMS}
    assert seen["stacks"].keys() == {each.name for each in stacks.STACKS}
    assert seen["systems"].keys() > families.FAMILIES.keys()
