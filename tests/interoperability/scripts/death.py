"""Launching, and the many ways for an appliance to end."""

import os
import signal
import time
from collections.abc import Iterator
from typing import Final

import pytest

from tests.interoperability.library import Library, LibraryError
from tests.interoperability.scripts import script
from tests.interoperability.stage import Stage, asked, refusal

_LONG_MIB: Final = 8192
_MID_COMMAND_S: Final = 1.0


@script("two handles launch at the same moment from the same appliance")
def launch_race(stage: Stage) -> Iterator[str]:
    with stage.launched(stage.disk(1)) as one, stage.library(stage.disk(1), stage.disk(1)) as two:
        one.shutdown()
        one.add_drive(os.fspath(stage.disk(1)), format="raw")
        one.start("launch")
        two.start("launch")
        one.finish()
        two.finish()
        yield f"one: {one.list_devices()}"
        yield f"two: {two.list_devices()}"
        assert one.get_pid() != two.get_pid()
        two.shutdown()


@script("the states: what is allowed before launch, when ready, after shutdown; a second launch")
def states(stage: Stage) -> Iterator[str]:
    disk = stage.disk(1)
    with stage.library() as library:
        yield asked(library, "is_config")
        yield asked(library, "launch")
        yield asked(library, "list_devices")
        yield asked(library, "shutdown")
        library.add_drive(os.fspath(disk), format="raw")
        library.launch()
        yield from (asked(library, name) for name in ("is_ready", "is_config", "list_devices"))
        yield asked(library, "launch")
        library.shutdown()
        yield from (asked(library, name) for name in ("is_ready", "is_config", "list_devices", "shutdown"))
        library.add_drive(os.fspath(disk), format="raw")
        library.launch()
        yield asked(library, "list_devices")
        library.shutdown()
        yield f"events: {library.driver_events()}"


@script("qemu is killed while a command runs: the command fails, the handle can be launched again")
def dies_in_mid_command(stage: Stage) -> Iterator[str]:
    with stage.launched(stage.disk(_LONG_MIB)) as library:
        qemu = library.get_pid()
        library.start("checksum_device", "sha512", "/dev/sda")
        time.sleep(_MID_COMMAND_S)  # it takes minutes; it is under way
        os.kill(qemu, signal.SIGKILL)
        with pytest.raises(LibraryError) as caught:
            library.finish()
        yield f"checksum_device: {refusal(caught.value)}"
        yield from _afterwards(stage, library)


@script("qemu is killed between two commands")
def dies_between_commands(stage: Stage) -> Iterator[str]:
    with stage.launched(stage.disk(1)) as library:
        os.kill(library.get_pid(), signal.SIGKILL)
        yield asked(library, "ping_daemon")
        yield from _afterwards(stage, library)


@script("kill_subprocess by the library")
def kill_subprocess(stage: Stage) -> Iterator[str]:
    with stage.launched(stage.disk(1)) as library:
        yield asked(library, "kill_subprocess")
        yield from _afterwards(stage, library)
        yield asked(library, "kill_subprocess")
        library.add_drive(os.fspath(stage.disk(1)), format="raw")
        library.launch()


def _afterwards(stage: Stage, library: Library) -> Iterator[str]:
    """Observe that a handle is as new: no drives, unlaunched, and launches again."""
    yield from (asked(library, name) for name in ("is_config", "list_devices"))
    yield f"events: {library.driver_events()}"
    library.add_drive(os.fspath(stage.disk(1)), format="raw")
    library.launch()
    yield from (asked(library, name) for name in ("is_ready", "list_devices", "ping_daemon"))


@script("what was written is there after shutdown without sync or umount, and after close without shutdown")
def autosync(stage: Stage) -> Iterator[str]:
    disk = stage.disk(16)
    with stage.launched(disk) as library:
        library.mkfs("ext4", "/dev/sda")
        library.mount("/dev/sda", "/")
        library.write("/one", b"before shutdown")
    with stage.library(disk) as library:
        library.launch()
        library.mount("/dev/sda", "/")
        yield asked(library, "read_file", "/one")
        library.write("/two", b"before close")
    with stage.launched(disk) as library:
        library.mount_ro("/dev/sda", "/")
        yield asked(library, "read_file", "/two")
        yield asked(library, "write", "/three", b"refused")
