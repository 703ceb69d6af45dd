"""External programs."""

from pathlib import Path

import pytest

from daemon.command import run, run_status
from daemon.session import CallError


def test_output_is_returned_and_arguments_reach_no_shell() -> None:
    assert run(["printf", "%s", "$(id) `id` ; id"]) == b"$(id) `id` ; id"


def test_failure_says_what_the_program_said() -> None:
    with pytest.raises(CallError, match=r"ls: cannot access '/none'"):
        run(["ls", "/none"])
    with pytest.raises(CallError, match="false ended with status 1"):
        run(["false"])
    with pytest.raises(CallError, match="no-such-program: not in this appliance"):
        run(["no-such-program"])
    assert run(["false"], accept=(0, 1)) == b""


def test_death_by_signal_is_a_status() -> None:
    assert run_status(["sh", "-c", "kill -9 $$"]) == (137, b"", b"")


def test_much_output_and_many_errors_block_nothing() -> None:
    status, output, errors = run_status(["sh", "-c", "head -c 3000000 /dev/zero >&2; head -c 3000000 /dev/zero"])
    assert (status, len(output), len(errors)) == (0, 3_000_000, 65536)


def test_input_is_the_file_and_no_other_descriptor_passes(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(b"text")
    with (tmp_path / "input").open("rb") as file:
        assert run(["cat"], stdin=file.fileno()) == b"text"
        assert b"/input" not in run(["ls", "-l", "/proc/self/fd"])


def test_no_descriptor_is_left() -> None:
    before = {path.name for path in Path("/proc/self/fd").iterdir()}
    for _ in range(3):
        run(["true"])
        with pytest.raises(CallError):
            run(["no-such-program"])
    assert {path.name for path in Path("/proc/self/fd").iterdir()} == before
