"""The library with a real appliance, and the examples of docs/library.md."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from appliance.state import State
from guestmount_py import Guest, SyncGuest
from guestmount_py.events import ConsoleOutput, LogMessage, StateChanged, SubprocessQuit
from rpc.errors import ConnectionLost, LaunchTimeout, ProcedureError
from tests.guests.cache import run
from tests.guests.disk import create_disk, partition
from tests.system.sandbox import REPOSITORY

pytestmark = [pytest.mark.appliance, pytest.mark.usefixtures("appliance_files")]

MIB: Final = 1 << 20
SECONDS: Final = 5.0
EXAMPLES: Final = re.findall(
    r"^```python\n(.*?)^```", (REPOSITORY / "docs/library.md").read_text(), re.DOTALL | re.MULTILINE
)
SAID: Final = [
    "[('/dev/sda1', 'unknown'), ('/dev/sda2', 'ext4')]\nguest\n",
    "guest\n",
    "True\n['line', 'line', 'line']\n",
    "LAUNCHING\nREADY\nmount_ro None\ndownload download: {error}\nENOENT\nCONFIG\n",
]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a disk whose second partition is a root with a large file, a full fifth of its 100 MiB."""
    directory = tmp_path_factory.mktemp("library")
    tree = directory / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/hostname").write_bytes(b"guest\n")
    (tree / "large").write_bytes(os.urandom(MIB) * 20)
    raw = directory / "disk.raw"
    create_disk(raw, [1, 100])
    where = partition(raw, 2)
    run("mke2fs", "-q", "-t", "ext4", "-d", tree, "-E", f"offset={where.start_bytes}", raw, "100M")
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, directory / "disk.qcow2")
    raw.unlink()
    return directory / "disk.qcow2"


@pytest.fixture
def drive(image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the disk for one test; at the end no qemu, descriptor or temporary file may be left."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("LIBGUESTFS_TMPDIR", str(scratch))
    link = tmp_path / "disk.qcow2"
    link.symlink_to(image)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    yield link
    assert _processes_naming(link) == []
    assert list(scratch.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def _processes_naming(path: Path) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(path) in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize(("example", "said"), list(zip(EXAMPLES, SAID, strict=True)), ids=range(len(SAID)))
def test_example_of_the_document_runs(example: str, said: str, drive: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-W", "error", "-c", example]
    done = subprocess.run(
        command, cwd=drive.parent, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    pattern = re.escape(said).replace(re.escape("{error}"), ".*")
    assert re.fullmatch(pattern, done.stdout), done.stdout
    if "etc.tar.gz" in example:
        assert subprocess.run(["gzip", "--test", drive.parent / "etc.tar.gz"], check=False).returncode == 0


async def _endless(act: Callable[[], object]) -> AsyncIterator[bytes]:
    for _ in range(20):
        yield bytes(100_000)
        await trio.lowlevel.checkpoint()
    act()
    while True:
        yield bytes(100_000)
        await trio.lowlevel.checkpoint()


async def test_transfers_are_broken_off_and_the_handle_goes_on(drive: Path) -> None:
    async with Guest() as g:
        g.add_drive(drive)
        await g.launch()
        await g.mount("/dev/sda2", "/")
        content = await g.read_file("/large")
        for _ in range(g.config.channel_count):
            with trio.CancelScope() as scope:
                async with g.download("/large") as pieces:
                    await anext(pieces)
                    scope.cancel()
                    await anext(pieces)
            assert scope.cancelled_caught
            with trio.CancelScope() as scope:
                await g.upload(_endless(scope.cancel), "/partial")
            assert scope.cancelled_caught
        with pytest.raises(ProcedureError, match="cancelled by the user"):
            await g.upload(_endless(g.user_cancel), "/partial")
        with trio.fail_after(120), pytest.raises(ProcedureError, match="No space left"):
            await g.upload(_endless(lambda: None), "/too-long")
        await g.rm("/too-long")
        await g.rm("/partial")
        async with trio.open_nursery() as nursery:
            for number in range(g.config.channel_count):
                nursery.start_soon(g.upload, [content[:MIB]], f"/copy{number}")
        for number in range(g.config.channel_count):
            assert await g.read_file(f"/copy{number}") == content[:MIB]
        assert content == await g.read_file("/large")


async def test_death_and_killing_fail_all_who_wait_and_a_new_launch_works(drive: Path) -> None:
    async with Guest() as g:
        g.add_drive(drive)
        states: list[State] = []
        quits: list[SubprocessQuit] = []
        g.subscribe(StateChanged, lambda event: states.append(event.state))
        g.subscribe(SubprocessQuit, quits.append)
        for end in ("death", "kill_subprocess"):
            await g.launch()
            await g.mount_ro("/dev/sda2", "/")
            await _end_while_many_wait(g, by_death=end == "death")
            assert g.state is State.CONFIG
            assert _processes_naming(drive) == []
        await g.launch()
        assert await g.list_partitions() == ["/dev/sda1", "/dev/sda2"]
    assert states == [State.LAUNCHING, State.READY, State.CONFIG] * 3
    assert [event.status for event in quits] == [-signal.SIGKILL] * 2


async def _end_while_many_wait(g: Guest, *, by_death: bool) -> None:
    """Have more callers than channels wait for a stopped qemu, and end it."""
    qemu = g.pid
    os.kill(qemu, signal.SIGSTOP)

    async def stat() -> None:
        with pytest.raises(ConnectionLost, match="lstatns: the appliance went away: qemu ended with status -9"):
            await g.lstat("/")

    async def download() -> None:
        with pytest.raises(ConnectionLost, match="download: the appliance went away"):
            await g.download("/large").read()

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(stat)
            nursery.start_soon(download)
        await wait_all_tasks_blocked()
        began = time.monotonic()
        if by_death:
            os.kill(qemu, signal.SIGKILL)
        else:
            await g.kill_subprocess()
    assert time.monotonic() - began < SECONDS


def _collector(console: bytearray) -> Callable[[ConsoleOutput], None]:
    return lambda event: console.extend(event.data)


async def test_two_handles_tell_their_own_events_and_do_not_meet(drive: Path, tmp_path: Path) -> None:
    consoles, said = [bytearray(), bytearray()], list[LogMessage]()
    other_drive = tmp_path / "empty.img"
    with other_drive.open("wb") as file:
        file.truncate(MIB)

    async with Guest() as one, Guest() as other:
        for g, console, path in ((one, consoles[0], drive), (other, consoles[1], other_drive)):
            g.subscribe(ConsoleOutput, _collector(console))
            g.subscribe(LogMessage, said.append)
            g.add_drive(path)
        one.configure(verbose=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.launch)
            nursery.start_soon(other.launch)
        assert await one.list_partitions() == ["/dev/sda1", "/dev/sda2"]
        assert await other.list_partitions() == []
        assert one.pid != other.pid
        await one.kill_subprocess()
        assert await other.blockdev_getsize64("/dev/sda") == MIB
        await other.shutdown()
    assert all("for the first time" in event.text for event in said)  # one may wait for the other's template
    assert b"guestfsd ended with status 0" in consoles[1]
    assert b"guestfsd ended" not in consoles[0]
    assert b"QEMU HARDDISK" in consoles[0]


def test_launch_timeout_leaves_nothing_and_a_longer_one_works(drive: Path) -> None:
    with SyncGuest() as g:
        g.add_drive(drive)
        g.configure(launch_timeout_s=0.5, template=False)
        with pytest.raises(LaunchTimeout, match=r"said nothing within 0\.5 s"):
            g.launch()
        assert _processes_naming(drive) == []
        g.configure(launch_timeout_s=300)
        g.launch()
        g.mount_ro("/dev/sda2", "/")
        assert g.cat("/etc/hostname") == "guest\n"
