"""The processes of the appliance: one for each port, all of them gone when the first port is closed.

Pseudo terminals stand in for the ports. They are opened by path as ports are, and they take no splice(2).
"""

import os
import re
import select
import signal
import subprocess
import sys
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from daemon import ports
from daemon.__main__ import _end_with
from rpc import constants
from rpc.arguments import NoArgs
from rpc.constants import SAVE_WORD
from rpc.events import Launch
from rpc.procedures import AVAILABLE_ALL_GROUPS, PING_DAEMON
from tests.daemon.guestfsd import ROOT, WAIT_S, Guestfsd


class Terminal:
    """Our end of a pseudo terminal, used like a socket."""

    def __init__(self) -> None:
        self._ours, theirs = os.openpty()
        tty.setraw(theirs)
        self.path = os.ttyname(theirs)
        self._theirs = theirs

    def hand_over(self) -> None:
        """Close the other end, which the daemon has open."""
        os.close(self._theirs)

    def sendall(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._ours, data) :]

    def recv(self, max_bytes: int) -> bytes:
        return os.read(self._ours, max_bytes)

    def close(self) -> None:
        os.close(self._ours)


@contextmanager
def appliance(count: int) -> Iterator[tuple["subprocess.Popen[bytes]", list[Guestfsd]]]:
    """Start the daemon of an appliance with so many ports."""
    terminals = [Terminal() for _ in range(count)]
    first, *extra = [terminal.path for terminal in terminals]
    find_ports = f"lambda: {(first, extra)!r}"
    program = f"import sys, daemon.__main__ as d; d.find_ports = {find_ports}; sys.exit(d.main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "--appliance"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            channels = [Guestfsd(process, terminal) for terminal in terminals]  # type: ignore[arg-type]
            for channel in channels:
                assert isinstance(channel.next_event(), Launch)
            for terminal in terminals:
                terminal.hand_over()
            yield process, channels
        finally:
            process.kill()
            for terminal in terminals:
                with suppress(OSError):
                    terminal.close()


def children(process: "subprocess.Popen[bytes]") -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def test_every_port_is_served_and_all_processes_end_with_the_first() -> None:
    with appliance(3) as (process, channels):
        for channel in channels:
            assert channel.call(PING_DAEMON, NoArgs()) is None
            assert "lvm2" in channel.call(AVAILABLE_ALL_GROUPS, NoArgs())
        workers = children(process)
        assert len(workers) == 2
        channels[0].channel.close()
        assert process.wait(WAIT_S) == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def test_worker_whose_channel_is_closed_ends_alone() -> None:
    with appliance(2) as (process, channels):
        (worker,) = children(process)
        descriptor = os.pidfd_open(worker)
        channels[1].channel.close()
        ended = select.poll()
        ended.register(descriptor, select.POLLIN)
        assert ended.poll(WAIT_S * 1000)
        assert channels[0].call(PING_DAEMON, NoArgs()) is None
        channels[0].channel.close()
        assert process.wait(WAIT_S) == 0
        os.close(descriptor)


def test_killed_worker_ends_the_appliance() -> None:
    with appliance(2) as (process, _):
        (worker,) = children(process)
        os.kill(worker, signal.SIGKILL)
        assert process.wait(WAIT_S) == 1
        assert process.stderr is not None
        assert f"worker {worker} died" in process.stderr.read().decode()


@pytest.mark.parametrize(("words", "said"), [(["quiet", SAVE_WORD], b"prepared\n"), (["quiet"], b"")])
def test_machine_that_is_to_be_saved_is_prepared_before_a_port_is_open(words: list[str], said: bytes) -> None:
    program = (
        "import daemon.__main__ as d; d.find_ports = lambda: ('/no-such-port', []); "
        f"d._kernel_words = lambda: {words!r}; d._prepare_to_be_saved = lambda: print('prepared'); "
        "d.main(['--appliance'])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=WAIT_S, check=False)
    assert done.stdout == said
    assert b"FileNotFoundError: [Errno 2] No such file or directory: '/no-such-port'" in done.stderr


def test_ports_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {
        "vport1p1": "org.guestmount-py.channel.2",
        "vport1p2": "org.libguestfs.channel.0",
        "vport1p3": "org.guestmount-py.channel.10",
        "vport2p1": "org.qemu.guest_agent.0",
    }
    monkeypatch.setattr(ports, "_SYS_PORTS", str(tmp_path))
    for entry, name in names.items():
        (tmp_path / entry).mkdir()
        (tmp_path / entry / "name").write_text(f"{name}\n")
    first, extra = ports.find_ports()
    assert first == "/dev/vport1p2"
    assert set(extra) == {"/dev/vport1p1", "/dev/vport1p3"}
    (tmp_path / "vport1p2/name").write_text("other\n")
    with pytest.raises(FileNotFoundError, match=re.escape(constants.CHANNEL_NAME)):
        ports.find_ports()


def test_worker_that_a_later_signal_has_seen_to_is_passed_over() -> None:
    """A SIGCHLD that comes while another is handled reaps what the first was about to."""
    worker = os.fork()
    if not worker:
        os._exit(0)
    os.waitpid(worker, 0)
    workers = [worker]
    _end_with(workers)
    assert workers == [worker]
