"""Encrypted devices by the command line: every way to give a key, and that it shows nowhere."""

import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from tests.guests import large_key
from tests.guests.stacks import KEY, TREE, luks, stacked_disks
from tests.system.sandbox import COMMAND_TIMEOUT_S, GUESTMOUNT, SLOW, Sandbox
from tests.thoroughness import LONG

pytestmark = [pytest.mark.appliance, pytest.mark.fuse, pytest.mark.root]

LUKS2: Final = luks("luks2")
"""What is in /dev/sda of these tests; /dev/sdb holds the physical volume that /dev/inside/lv is on."""
WRONG: Final = "not the secret"


@pytest.fixture(scope="module")
def drives() -> list[str]:
    """Give the two encrypted disks as options."""
    images = {image.name: image for image in stacked_disks()}
    added = (images["luks2-0.img"], images["lvm-on-luks-0.img"])
    return ["--format=raw", *(word for image in added for word in ("-a", str(image)))]


def start(sandbox: Sandbox, words: Sequence[str | Path], keys: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run guestmount-py without a terminal, with keys on its standard input. That it takes long is left out."""
    done = subprocess.run(
        [*GUESTMOUNT, *words, sandbox.mountpoint],
        env=sandbox.environment,
        cwd=sandbox.directory,
        input=keys or "",
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        start_new_session=True,
    )
    done.stderr = SLOW.sub("", done.stderr)
    return done


def typed(sandbox: Sandbox, words: Sequence[str], keys: Sequence[str]) -> tuple[int, str]:
    """Run guestmount-py on a terminal and type a key whenever it asks; return its exit status and what was seen."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(sandbox.directory)
        os.execve(sys.executable, [*GUESTMOUNT, *words, str(sandbox.mountpoint)], sandbox.environment)
    seen, answers = "", iter(keys)
    with os.fdopen(terminal, "r+b", buffering=0) as line:
        try:
            while data := line.read(1024):
                seen += data.decode()
                if seen.endswith('"): '):
                    line.write(f"{next(answers)}\n".encode())
        except OSError:  # how a terminal ends
            pass
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen


def showing(sandbox: Sandbox) -> list[str]:
    """Return what shows a key: processes, and files that the programs made."""
    paths = [Path(f"/proc/{process}/{name}") for process in sandbox.processes() for name in ("cmdline", "environ")]
    for name in ("run", "tmp", "state", "stats.json"):
        place = sandbox.directory / name
        paths += [path for path in (place, *place.rglob("*")) if path.is_file()]
    found = []
    for path in paths:
        with suppress(OSError):  # the process has ended, or the file was for a moment
            found += [str(path)] if KEY.encode() in path.read_bytes() else []
    return found


def dumping(sandbox: Sandbox) -> list[int]:
    """Return the processes that a core dump may be made of, which the kernel does not make of one byte."""
    limit = re.compile(r"^Max core file size +[01] +[01] +bytes", re.MULTILINE)
    return [each for each in sandbox.processes() if not limit.search(Path(f"/proc/{each}/limits").read_text())]


@contextmanager
def watched(sandbox: Sandbox) -> Iterator[None]:
    """Insist that nothing shows a key at any time until the block ends."""
    seen: list[str] = []
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.01):
            seen.extend(showing(sandbox))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()
    assert seen == []


@contextmanager
def ended(sandbox: Sandbox) -> Iterator[Path]:
    """Unmount when the block ends; insist that nothing shows a key before or after it, and that nothing is left."""
    try:
        assert any((sandbox.mountpoint / TREE).iterdir())
        assert showing(sandbox) == []
        assert dumping(sandbox) == []
        yield sandbox.mountpoint
    finally:
        done = sandbox.guestunmount()
    assert (done.returncode, done.stderr) == (0, "")
    assert showing(sandbox) == []
    assert sandbox.left() == []


def test_key_on_the_command_line_shows_nowhere(sandbox: Sandbox, drives: list[str]) -> None:
    stats = ("--stats", sandbox.directory / "stats.json")
    done = start(sandbox, [*drives, "-v", "-x", *stats, "--key", f"/dev/sda:key:{KEY}", "-m", LUKS2])
    assert done.returncode == 0, done.stderr
    assert KEY not in done.stderr
    with ended(sandbox):
        assert "cryptsetup_open" in sandbox.log()


def test_key_from_a_file_is_tried_after_one_that_does_not_fit(sandbox: Sandbox, drives: list[str]) -> None:
    file = sandbox.directory / "key"
    file.write_text(f"{KEY}\n")
    keys = (f"--key=all:key:{WRONG}", f"--key={LUKS2.removeprefix('/dev/mapper/luks-')}:file:{file}")
    with watched(sandbox):
        done = start(sandbox, [*drives, *keys, "-v", "-x", "-m", LUKS2])
    assert done.returncode == 0, done.stderr
    with ended(sandbox):
        pass


def test_keys_from_standard_input_are_for_the_devices_in_their_order(sandbox: Sandbox, drives: list[str]) -> None:
    with watched(sandbox):
        done = start(sandbox, [*drives, "--keys-from-stdin", "-m", "/dev/inside/lv"], f"{WRONG}\n{KEY}\n")
    assert (done.returncode, done.stderr) == (0, "")
    with ended(sandbox):
        pass


def test_terminal_is_asked_again_and_shows_no_key(sandbox: Sandbox, drives: list[str]) -> None:
    status, seen = typed(sandbox, [*drives, "-m", LUKS2], [WRONG, KEY])
    assert status == 0, seen
    assert seen.count('Enter key or passphrase ("/dev/sda"): ') == 2
    assert "No key available with this passphrase: Enter" in seen
    assert WRONG not in seen
    assert KEY not in seen
    with ended(sandbox):
        pass


def test_keys_are_shown_if_that_is_wanted(sandbox: Sandbox, drives: list[str]) -> None:
    status, seen = typed(sandbox, [*drives, "--echo-keys", "-m", LUKS2], [WRONG] * 3)
    assert status == 1
    assert seen.count(WRONG) == 3
    assert sandbox.left() == []


@pytest.mark.parametrize(
    ("words", "keys", "reason"),
    [
        (["--key", f"all:key:{WRONG}", "-m", LUKS2], "", "/dev/sda is encrypted and stays closed: No key available"),
        (["-m", LUKS2], "", "/dev/sda is encrypted and stays closed: there is no terminal to ask for it"),
        (["--keys-from-stdin", "-m", LUKS2], "", "standard input has no further key"),
        (["--key", f"all:key:{KEY}", "-m", "/dev/sda"], "", f"cannot mount /dev/sda: it is encrypted: mount {LUKS2}"),
        (["--key", f"all:key:{KEY}", "-m", "/dev/none/lv"], "", "cannot mount /dev/none/lv: "),
    ],
)
def test_what_cannot_be_opened_is_one_line_without_keys(
    sandbox: Sandbox, drives: list[str], words: list[str], keys: str, reason: str
) -> None:
    done = start(sandbox, [*drives, *words], keys)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert reason in done.stderr
    assert KEY not in done.stderr + sandbox.log()
    assert WRONG not in done.stderr + sandbox.log()
    assert sandbox.left() == []


@pytest.mark.parametrize("words", [("-i",), ("-m", large_key.OPENED)][: 2 if LONG else 1])
def test_key_that_takes_much_memory_gets_it_when_it_is_typed(sandbox: Sandbox, words: Sequence[str]) -> None:
    """Nothing says before the disk is looked at that the appliance needs more memory: it is launched again."""
    image = large_key.large_key_disk()
    status, seen = typed(sandbox, ["--format=raw", "-a", str(image), *words], [large_key.KEY])
    assert status == 0, seen
    assert (sandbox.mountpoint / "etc/debian_version").read_text() == "12.5\n"
    done = sandbox.guestunmount()
    assert (done.returncode, done.stderr) == (0, "")
    assert sandbox.left() == []


def test_key_that_takes_much_memory_gets_it_from_list(sandbox: Sandbox) -> None:
    image = large_key.large_key_disk()
    words = ("list", "--format=raw", "-a", image, "--key", f"all:key:{large_key.KEY}")
    done = sandbox.guestmount(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[:3] for line in done.stdout.splitlines() if line.startswith(large_key.OPENED)] == [
        [large_key.OPENED, "mapping", "-"],
        [large_key.OPENED, "filesystem", "ext4"],
        [large_key.OPENED, "system", "-"],
    ]
