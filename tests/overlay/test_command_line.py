"""guestmount-py overlay: what it takes, what it says, how it ends."""

import pytest

from guestmount_py.overlay_cli import line_of
from guestmount_py.tree_diff import Change
from tests.overlay.conftest import Place
from tests.overlay.disk import overlay_program

_WRONG = {
    "nothing": ([], "required"),
    "no file": (["diff"], "required: FILE"),
    "no action": (["merge", "file"], "invalid choice"),
    "option of diff": (["commit", "--null", "file"], "belong to diff"),
    "device": (["diff", "-m", "sda1", "file"], "is no device"),
    "sectors": (["diff", "--blocksize", "5", "file"], "invalid choice"),
}


@pytest.mark.parametrize(("words", "said"), _WRONG.values(), ids=_WRONG)
def test_wrong_command_line_is_one_line_and_status_2(words: list[str], said: str) -> None:
    done = overlay_program(*words)
    assert done.returncode == 2
    assert done.stderr.startswith("guestmount-py: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


@pytest.mark.parametrize("action", ["diff", "commit", "discard"])
def test_overlay_that_is_missing_is_one_line_and_status_1(place: Place, action: str) -> None:
    done = overlay_program(action, place.overlay)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"guestmount-py: {place.overlay}: No such file or directory: give the name of an overlay\n"


async def test_commit_and_discard_are_silent(place: Place) -> None:
    for action in ("commit", "discard"):
        await place.create()
        done = overlay_program(action, place.overlay)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert place.names() == ["base.qcow2"]


def test_lines_have_three_columns_whatever_the_name() -> None:
    change = Change("changed", b"/a\tb\nc\\d \xff\xc3\xa4\xc2\x9b", ("content", "mode"))
    assert line_of("", change, null=False) == b"changed\tcontent,mode\t/a\\011b\\012c\\134d \\377\xc3\xa4\\302\\233\n"
    assert (
        line_of("/dev/sda1", change, null=True)
        == b"changed\tcontent,mode\t/dev/sda1:/a\tb\nc\\d \xff\xc3\xa4\xc2\x9b\0"
    )
