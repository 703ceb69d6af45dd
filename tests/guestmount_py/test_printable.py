"""What a guest says stays on its line, on terminals and in logs."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from guestmount_py import prompt
from guestmount_py.log import logger, open_log
from guestmount_py.printable import printable


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    before = list(logger.handlers)
    open_log(tmp_path / "log", verbose=False, trace=False, echo=False)
    yield tmp_path / "log"
    logger.setLevel(logging.NOTSET)
    for handler in [each for each in logger.handlers if each not in before]:
        logger.removeHandler(handler)
        assert isinstance(handler, logging.StreamHandler)
        handler.stream.close()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "plain: caf\N{LATIN SMALL LETTER E WITH ACUTE} \\ 'x'",
            "plain: caf\N{LATIN SMALL LETTER E WITH ACUTE} \\ 'x'",
        ),
        ("a\nguestmount-py: b\r", "a\\nguestmount-py: b\\r"),
        ("\x1b[2J\x07\x9b\0", "\\x1b[2J\\x07\\x9b\\x00"),
        ("\u202eabc\u2028\udcff\U000e0001", "\\u202eabc\\u2028\\udcff\\U000e0001"),
    ],
)
def test_what_is_no_letter_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert shown.isprintable()


def test_message_is_one_line_of_the_log(log: Path) -> None:
    logger.warning("cannot mount %s", "a\n2026-01-01 INFO unmounted\x1b[2J")
    (line,) = log.read_text().splitlines()
    assert line.endswith(r" WARNING cannot mount a\n2026-01-01 INFO unmounted\x1b[2J")


def test_only_the_traceback_has_several_lines(log: Path) -> None:
    try:
        raise ValueError("\x1b[2J")
    except ValueError:
        logger.exception("a\nbug")
    first, *trace = log.read_text().splitlines()
    assert first.endswith(r" ERROR a\nbug")
    assert trace[0] == "Traceback (most recent call last):"
    assert trace[-1] == r"ValueError: \x1b[2J"


def test_prompt_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(prompt, "_TERMINAL", Path("/dev/null"))
    monkeypatch.setattr(prompt, "_unseen", asked.append)
    prompt.asking(from_stdin=False, echo=False)('key of "a\nb":')
    assert asked == [r'key of "a\nb": ']
