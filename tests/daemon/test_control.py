"""Calls about the daemon itself and its kernel, in a real appliance; the umask and the groups: test_server.py."""

import time

import pytest

from daemon.progress import DELAY_S, INTERVAL_S
from rpc.arguments import NoArgs
from rpc.procedures import DEBUG, DMESG, DROP_CACHES, ECHO_DAEMON, MODPROBE, SLEEP, UTSNAME
from rpc.procedures.control import DebugArgs, DropCachesArgs, EchoDaemonArgs, ModprobeArgs, SleepArgs
from tests.daemon.guestfsd import Guestfsd
from tests.daemon.scratch import Scratch


def meminfo_kib(storage: Scratch, name: str) -> int:
    """Return a line of /proc/meminfo of the appliance."""
    lines = storage.call(DEBUG, DebugArgs("sh", ["cat", "/proc/meminfo"])).splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def test_words_come_back_with_blanks_between_them(daemon: Guestfsd) -> None:
    assert daemon.call(ECHO_DAEMON, EchoDaemonArgs(["one", "", "two words"])) == "one  two words"
    assert daemon.call(ECHO_DAEMON, EchoDaemonArgs([])) == ""


@pytest.mark.appliance
def test_messages_of_the_kernel(storage: Scratch) -> None:
    release = storage.call(UTSNAME, NoArgs()).uts_release
    assert f"Linux version {release} " in storage.call(DMESG, NoArgs())


@pytest.mark.appliance
def test_module_is_loaded(storage: Scratch) -> None:
    def loaded() -> str:
        return storage.call(DEBUG, DebugArgs("sh", ["cut -d' ' -f1 /proc/modules; true"]))

    unused = storage.call(
        DEBUG,
        DebugArgs("sh", ["modprobe -r linear multipath raid0 2>/dev/null; find /lib/modules -name 'raid0.ko*'"]),
    )
    assert unused, "the appliance has no such module"
    assert "raid0" not in loaded().split()
    storage.call(MODPROBE, ModprobeArgs("raid0"))
    assert "raid0" in loaded().split()
    name, text = storage.refused(MODPROBE, ModprobeArgs("no_such_module"))
    assert name == ""
    assert "no_such_module" in text


@pytest.mark.appliance
def test_caches_are_dropped(storage: Scratch) -> None:
    storage.call(DEBUG, DebugArgs("sh", ["cat /usr/lib/x86_64-linux-gnu/*.so* > /dev/null"]))
    before = meminfo_kib(storage, "Cached")
    storage.call(DROP_CACHES, DropCachesArgs(3))
    assert meminfo_kib(storage, "Cached") < before - 4096
    assert storage.refused(DROP_CACHES, DropCachesArgs(99))[0] == "EINVAL"


def test_debug_reports_progress(daemon: Guestfsd) -> None:
    start_s = time.monotonic()
    assert daemon.call(DEBUG, DebugArgs("progress", ["3"])) == "ok"
    elapsed_s = time.monotonic() - start_s
    positions = [progress.position for progress in daemon.progress]
    assert positions == sorted(positions)
    assert 2 <= len(positions) <= (elapsed_s - DELAY_S) / INTERVAL_S + 2
    assert {progress.total for progress in daemon.progress} == {30}
    assert positions[-1] == 30


def test_sleep_waits(daemon: Guestfsd) -> None:
    start_s = time.monotonic()
    daemon.call(SLEEP, SleepArgs(1))
    assert time.monotonic() - start_s >= 1
