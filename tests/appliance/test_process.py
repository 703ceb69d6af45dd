import os
from pathlib import Path

import pytest
import trio

from appliance.process import ProgramFailed, run_program


async def test_output_of_a_program_is_returned_without_its_warnings() -> None:
    assert await run_program(["sh", "-c", "echo out; echo warning >&2"]) == "out\n"


@pytest.mark.parametrize(
    "script",
    [
        "echo first; echo the reason",
        "echo first >&2; echo the reason >&2; echo more",
        "echo sh: the reason >&2",
    ],
)
async def test_program_that_fails_says_its_last_complaint(script: str) -> None:
    with pytest.raises(ProgramFailed, match=r"^sh: the reason$"):
        await run_program(["sh", "-c", f"{script}; exit 3"])


async def test_silent_failure_says_the_status() -> None:
    with pytest.raises(ProgramFailed, match="sh ended with status 3"):
        await run_program(["sh", "-c", "exit 3"])


async def test_missing_program_is_named() -> None:
    with pytest.raises(ProgramFailed, match="no-such-program is not installed"):
        await run_program(["no-such-program"])


async def test_program_that_hangs_is_killed(tmp_path: Path) -> None:
    with pytest.raises(ProgramFailed, match="did not end within"):
        await run_program(["sh", "-c", f"echo $$ >{tmp_path}/pid; exec sleep 1000"], timeout_s=0.5)
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_programs_of_the_administrator_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    await run_program(["mke2fs", "-V"])


async def test_cancelled_program_is_gone(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_program, ["sh", "-c", f"echo $$ >{fifo}; exec sleep 1000"])
        pid = int(await trio.to_thread.run_sync(fifo.read_text))
        nursery.cancel_scope.cancel()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
