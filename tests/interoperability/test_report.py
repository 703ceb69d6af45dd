"""docs/interoperability.md is of these scripts, these differences and the latest results."""

from tests.interoperability import results
from tests.interoperability.mixture import COUNT
from tests.interoperability.report import DOCUMENT, UNEXPLAINED, document
from tests.interoperability.scripts import SCRIPTS


def test_document_is_written_from_the_results() -> None:
    assert DOCUMENT.read_text() == document(results.load())


def test_results_are_complete_and_explained() -> None:
    kept = results.load()
    assert set(kept) == {script.name for script in SCRIPTS} | {results.MIXTURE}
    assert kept[results.MIXTURE].calls == COUNT
    assert UNEXPLAINED not in DOCUMENT.read_text()
