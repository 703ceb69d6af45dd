"""Programs of the guest, run in its root."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rpc import constants
from rpc.errors import ProcedureError
from rpc.procedures import COMMAND, COMMAND_LINES, SH, SH_LINES
from rpc.procedures.commands import CommandArgs, ShArgs
from tests.daemon.guestfsd import Guestfsd, started

PROGRAMS = ("sh", "cat", "echo", "sleep", "ls", "yes", "id", "printf")


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    """Make a guest's root with a few programs of this machine and the libraries they need."""
    root = tmp_path / "guest"
    for name in ("bin", "dev", "sys", "etc"):
        (root / name).mkdir(parents=True)
    (root / "proc").symlink_to("etc/../somewhere/proc")
    (root / "somewhere/proc").mkdir(parents=True)
    for name in PROGRAMS:
        program = shutil.which(name)
        assert program is not None
        shutil.copy(program, root / "bin" / name)
        listed = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
        for library in re.findall(r"/\S+", listed):
            place = root / library.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, place)
    (root / "hello").write_bytes(b"hello\nworld")
    return root


@pytest.fixture
def daemon(guest: Path) -> Iterator[Guestfsd]:
    before = _mounts_below(guest)
    with started(guest) as guestfsd:
        yield guestfsd
        assert guestfsd.finish() == (0, "")
    assert _mounts_below(guest) == before


def _mounts_below(directory: Path) -> list[str]:
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(directory) in line]


def refused(daemon: Guestfsd, *arguments: str) -> tuple[str, str]:
    with pytest.raises(ProcedureError) as caught:
        daemon.call(COMMAND, CommandArgs(list(arguments)))
    return caught.value.errno_name, caught.value.message


def test_program_runs_in_the_guests_root(daemon: Guestfsd) -> None:
    assert daemon.call(COMMAND, CommandArgs(["/bin/cat", "/hello"])) == "hello\nworld"
    assert daemon.call(COMMAND, CommandArgs(["cat", "/hello"])) == "hello\nworld"
    assert daemon.call(COMMAND_LINES, CommandArgs(["cat", "/hello"])) == ["hello", "world"]
    assert daemon.call(COMMAND_LINES, CommandArgs(["printf", r"a\n\nb\n"])) == ["a", "", "b"]
    assert daemon.call(COMMAND_LINES, CommandArgs(["printf", ""])) == []
    assert daemon.call(COMMAND, CommandArgs(["echo", "$HOME; *", "é\udcff"])) == "$HOME; * é\udcff\n"


def test_shell_takes_a_command_line(daemon: Guestfsd) -> None:
    assert daemon.call(SH, ShArgs("cat /hello | cat; echo -n $PWD")) == "hello\nworld/"
    assert daemon.call(SH_LINES, ShArgs("echo a; echo b")) == ["a", "b"]
    assert daemon.call(SH, ShArgs("cat")) == ""


def test_devices_processes_and_kernel_are_there_and_gone_afterwards(daemon: Guestfsd, guest: Path) -> None:
    assert daemon.call(SH, ShArgs("cat </dev/null; ls -d /sys/kernel")) == "/sys/kernel\n"
    assert daemon.call(SH, ShArgs("read comm </proc/self/comm; echo $comm")) == "sh\n"
    assert [list((guest / name).iterdir()) for name in ("somewhere/proc", "dev", "sys")] == [[], [], []]


def test_failure_is_told_in_the_programs_words_without_errno(daemon: Guestfsd) -> None:
    assert refused(daemon, "sh", "-c", "echo out; echo why >&2; exit 3") == ("", "why")
    assert refused(daemon, "sh", "-c", "exit 3") == ("", "sh ended with status 3")
    assert refused(daemon, "sh", "-c", "kill -9 $$") == ("", "Killed")
    errno_name, text = refused(daemon, "/bin/none")
    assert errno_name == ""
    assert "/bin/none" in text
    assert refused(daemon) == ("", "no program is named")


def test_what_is_left_running_is_killed(daemon: Guestfsd) -> None:
    assert daemon.call(SH, ShArgs("sleep 1234567 & echo started")) == "started\n"
    listed = subprocess.run(["ps", "-eo", "args"], check=True, capture_output=True, text=True).stdout
    assert "sleep 1234567" not in listed


def test_endless_output_is_stopped(daemon: Guestfsd) -> None:
    errno_name, text = refused(daemon, "yes")
    assert errno_name == ""
    assert str(constants.MESSAGE_MAX_BYTES) in text


def test_nothing_runs_without_a_root(tmp_path: Path) -> None:
    with started(None) as guestfsd:
        with pytest.raises(ProcedureError, match="nothing is mounted"):
            guestfsd.call(SH, ShArgs("true"))
        guestfsd.finish()
