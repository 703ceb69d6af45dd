"""docs/interoperability.md is of these scripts and these differences."""

from tests.interoperability.differences import MEANT
from tests.interoperability.mixture import COUNT, SEED
from tests.interoperability.report import DOCUMENT
from tests.interoperability.scripts import SCRIPTS


def test_every_script_and_every_difference_is_in_the_document() -> None:
    text = DOCUMENT.read_text()
    assert [script.name for script in SCRIPTS if f"\n| {script.name} | {script.about} |" not in text] == []
    assert [entry.reason for entry in MEANT if entry.reason not in text] == []
    assert f"{COUNT} calls of seed {SEED}" in text
    assert "NOT EXPLAINED" not in text
