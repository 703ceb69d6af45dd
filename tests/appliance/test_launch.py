import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio

from appliance.config import TEMPLATE_VARIABLE, ApplianceConfig, ApplianceFiles, Drive, config_from_environment
from appliance.launch import launch
from appliance.running import root_uuid
from appliance.state import State, StateMachine
from rpc import procedures
from rpc.arguments import DeviceArgs, NoArgs
from rpc.codec import Device
from rpc.errors import ConnectionLost, DriveError, ImageError, LaunchError, LaunchTimeout
from tests.system.sandbox import REPOSITORY, gone_within

pytestmark = pytest.mark.appliance

FAILED = [State.CONFIG, State.LAUNCHING, State.CONFIG]
COMPLETE = [State.CONFIG, State.LAUNCHING, State.READY, State.CONFIG]
MIB = 1 << 20


def _ignore(_data: object) -> None:
    """Take log lines or console output and do nothing."""


def _disk(directory: Path, name: str, size_mib: int) -> Drive:
    path = directory / name
    with path.open("wb") as file:
        file.truncate(size_mib * MIB)
    return Drive(path=path)


@pytest.fixture(params=[True, False], ids=["as usual", "booted"])
def config(booting: ApplianceConfig, request: pytest.FixtureRequest) -> ApplianceConfig:
    """The same, restored from a template unless the environment of this run forbids it, or not."""
    return replace(booting, template=request.param and config_from_environment((), verbose=False).template)


@pytest.fixture
def booting(tmp_path: Path) -> Iterator[ApplianceConfig]:
    """A configuration with one empty disk; at the end no process, descriptor or file may be left of it."""
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    before = _descriptors()
    yield ApplianceConfig(drives=(_disk(tmp_path, "disk.img", 8),), temporary=scratch, template=False)
    assert _processes_naming(tmp_path) == []
    assert list(scratch.iterdir()) == []
    assert _descriptors() == before


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _processes_naming(path: Path) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes()
        except OSError:
            continue
        if os.fsencode(path) in command and b"qemu" in command:
            found.append(command.decode(errors="replace"))
    return found


async def test_launched_appliance_answers_on_every_channel_and_powers_off(
    config: ApplianceConfig, appliance_files: ApplianceFiles
) -> None:
    machine, console = StateMachine(), bytearray()
    async with launch(config, appliance_files, log=_ignore, console=console.extend, machine=machine) as appliance:
        assert machine.state is State.READY
        assert appliance.restored is config.template
        assert len(appliance.channels) == config.channel_count
        for channel in appliance.channels:
            await channel.call(procedures.PING_DAEMON, NoArgs())
    assert await appliance.wait() == 0
    assert appliance.gone.is_set()
    assert machine.history == COMPLETE
    assert b"guestfsd ended with status 0" in console


@pytest.mark.parametrize("switch", [None, "0", "1"])
async def test_environment_switches_templates(
    booting: ApplianceConfig, appliance_files: ApplianceFiles, monkeypatch: pytest.MonkeyPatch, switch: str | None
) -> None:
    """None: as this run of the tests has it, so that a run with templates off is seen to be one."""
    if switch is not None:
        monkeypatch.setenv(TEMPLATE_VARIABLE, switch)
    config = replace(config_from_environment(booting.drives, verbose=False), temporary=booting.temporary)
    async with launch(config, appliance_files, log=_ignore, console=_ignore) as appliance:
        assert appliance.restored is (os.environ.get(TEMPLATE_VARIABLE) != "0")


async def test_drives_appear_in_order_and_without_the_root(
    config: ApplianceConfig, appliance_files: ApplianceFiles, tmp_path: Path
) -> None:
    sizes_mib = [8, 3, 5, 2]
    disks = [_disk(tmp_path, f"{number}.img", size) for number, size in enumerate(sizes_mib[1:])]
    config = replace(config, drives=(*config.drives, *disks))
    async with launch(config, appliance_files, log=_ignore, console=_ignore) as appliance:
        channel = appliance.channels[0]
        devices = await channel.call(procedures.LIST_DEVICES, NoArgs())
        sizes = [await channel.call(procedures.BLOCKDEV_GETSIZE64, DeviceArgs(Device(device))) for device in devices]
    assert devices == ["/dev/sda", "/dev/sdb", "/dev/sdc", "/dev/sdd"]
    assert sizes == [size * MIB for size in sizes_mib]


async def test_image_that_is_open_for_writing_elsewhere_can_be_attached(
    booting: ApplianceConfig, appliance_files: ApplianceFiles
) -> None:
    command = ["qemu-io", "-f", "raw", booting.drives[0].path]
    async with trio.open_nursery() as nursery:
        writer = await nursery.start(partial(trio.run_process, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        await writer.stdin.send_all(b"write 0 512\n")
        await writer.stdout.receive_some()  # it has opened and locked the image now
        async with launch(booting, appliance_files, log=_ignore, console=_ignore):
            pass
        await writer.stdin.send_all(b"quit\n")


async def test_error_of_the_body_passes_as_it_is(booting: ApplianceConfig, appliance_files: ApplianceFiles) -> None:
    machine = StateMachine()
    with pytest.raises(FileNotFoundError, match="the body's own"):
        async with launch(booting, appliance_files, log=_ignore, console=_ignore, machine=machine):
            raise FileNotFoundError("the body's own")
    assert machine.history == COMPLETE


async def test_killed_qemu_is_noticed(config: ApplianceConfig, appliance_files: ApplianceFiles) -> None:
    machine = StateMachine()
    async with launch(config, appliance_files, log=_ignore, console=_ignore, machine=machine) as appliance:
        os.kill(appliance.pid, signal.SIGKILL)
        with trio.fail_after(60):
            await appliance.gone.wait()
        assert await appliance.wait() == -signal.SIGKILL
        assert machine.state is State.CONFIG
        with pytest.raises(ConnectionLost):
            await appliance.channels[0].call(procedures.PING_DAEMON, NoArgs())
    assert machine.history == COMPLETE


async def test_cancelled_launch_leaves_nothing(booting: ApplianceConfig, appliance_files: ApplianceFiles) -> None:
    machine = StateMachine()
    started = trio.Event()
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            async with launch(booting, appliance_files, log=_ignore, console=lambda _: started.set(), machine=machine):
                pytest.fail("launched in spite of being cancelled")

        nursery.start_soon(run)
        await started.wait()
        nursery.cancel_scope.cancel()
    assert machine.history == FAILED


async def test_silent_appliance_is_a_timeout(booting: ApplianceConfig, appliance_files: ApplianceFiles) -> None:
    machine = StateMachine()
    with pytest.raises(LaunchTimeout, match=r"said nothing within 0\.5 s"):
        async with launch(
            replace(booting, launch_timeout_s=0.5), appliance_files, log=_ignore, console=_ignore, machine=machine
        ):
            pytest.fail("launched within half a second")
    assert machine.history == FAILED


async def test_bad_kernel_is_a_launch_error_with_qemus_words(
    booting: ApplianceConfig, appliance_files: ApplianceFiles, tmp_path: Path
) -> None:
    (tmp_path / "kernel").write_bytes(b"\x7fELF" + bytes(60))
    files = replace(appliance_files, kernel=tmp_path / "kernel")
    machine = StateMachine()
    with pytest.raises(LaunchError, match=r"qemu ended with status 1: .*kernel"):
        async with launch(replace(booting, accelerator="tcg"), files, log=_ignore, console=_ignore, machine=machine):
            pytest.fail("launched without a kernel")
    assert machine.history == FAILED


async def test_root_without_an_init_is_a_launch_error_with_the_kernels_words(
    booting: ApplianceConfig, appliance_files: ApplianceFiles, tmp_path: Path
) -> None:
    await trio.run_process(["/sbin/mke2fs", "-q", "-t", "ext2", tmp_path / "root", "4M"])
    files = replace(appliance_files, root=tmp_path / "root")
    with pytest.raises(LaunchError, match=r"qemu ended with status 0: .*Kernel panic"):
        async with launch(booting, files, log=_ignore, console=_ignore):
            pytest.fail("launched without a daemon")


async def test_damaged_root_is_an_image_error(
    booting: ApplianceConfig, appliance_files: ApplianceFiles, tmp_path: Path
) -> None:
    (tmp_path / "root").write_bytes(bytes(MIB))
    machine = StateMachine()
    with pytest.raises(ImageError, match="the appliance is damaged"):
        async with launch(
            booting, replace(appliance_files, root=tmp_path / "root"), log=_ignore, console=_ignore, machine=machine
        ):
            pytest.fail("launched without a root")
    assert machine.history == FAILED


async def test_missing_qemu_names_the_package(config: ApplianceConfig, appliance_files: ApplianceFiles) -> None:
    with pytest.raises(LaunchError, match="no-such-qemu is not installed: install the package qemu-system-x86"):
        async with launch(replace(config, qemu="no-such-qemu"), appliance_files, log=_ignore, console=_ignore):
            pytest.fail("launched without qemu")


async def test_qemu_that_is_no_program_is_a_launch_error(
    booting: ApplianceConfig, appliance_files: ApplianceFiles, tmp_path: Path
) -> None:
    (tmp_path / "emulator").write_text("neither a script nor an executable")
    (tmp_path / "emulator").chmod(0o755)
    booting = replace(booting, qemu=str(tmp_path / "emulator"), accelerator="tcg")
    with pytest.raises(LaunchError, match="emulator"):
        async with launch(booting, appliance_files, log=_ignore, console=_ignore):
            pytest.fail("launched without qemu")


async def test_bad_drive_is_found_before_qemu_starts(
    config: ApplianceConfig, appliance_files: ApplianceFiles, tmp_path: Path
) -> None:
    machine = StateMachine()
    with pytest.raises(DriveError, match="no such image"):
        async with launch(
            replace(config, drives=(Drive(path=tmp_path / "absent.img"),)),
            appliance_files,
            log=_ignore,
            console=_ignore,
            machine=machine,
        ):
            pytest.fail("launched without a drive")
    assert machine.history == FAILED


@pytest.mark.usefixtures("booting")
@pytest.mark.parametrize("template", ["0", "1"])
def test_qemu_ends_when_its_owner_is_killed(appliance_files: ApplianceFiles, tmp_path: Path, template: str) -> None:
    files: list[str | Path] = [appliance_files.kernel, appliance_files.initrd, appliance_files.root]
    with tempfile.TemporaryDirectory(dir=tmp_path) as scratch:
        command = [sys.executable, "-m", "tests.appliance.owner", *files, tmp_path / "disk.img"]
        environment = {**os.environ, "TMPDIR": scratch, TEMPLATE_VARIABLE: template}
        with subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True) as owner:
            assert owner.stdout is not None
            qemu = int(owner.stdout.readline())
            owner.kill()
        assert gone_within([qemu], 60)
        assert list(Path(scratch).iterdir()) == []


def test_root_uuid_is_read_from_the_superblock(tmp_path: Path) -> None:
    uuid = "fe0433e5-9bfe-4590-bb9e-0fb68745a259"
    subprocess.run(["/sbin/mke2fs", "-q", "-t", "ext4", "-U", uuid, tmp_path / "root", "4M"], check=True)
    assert root_uuid(tmp_path / "root") == uuid


@pytest.mark.parametrize("size", [0, 0x438, 0x470, MIB])
def test_root_without_a_superblock_is_an_image_error(tmp_path: Path, size: int) -> None:
    (tmp_path / "root").write_bytes(bytes(size))
    with pytest.raises(ImageError):
        root_uuid(tmp_path / "root")
