"""What the real qemu tells of its drives, and what it exports."""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from appliance.config import ApplianceConfig, ApplianceFiles, Drive
from appliance.launch import launch
from appliance.running import Appliance
from rpc import procedures
from rpc.codec import Mountable
from rpc.errors import ConnectionLost
from rpc.procedures.control import DebugArgs
from rpc.procedures.mounting import MountArgs

pytestmark = pytest.mark.appliance
MIB = 1 << 20


@pytest.fixture(params=[True, False], ids=["restored", "booted"])
def is_restored(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@asynccontextmanager
async def launched(files: ApplianceFiles, directory: Path, *, template: bool = True) -> AsyncIterator[Appliance]:
    """An appliance with two drives of 4 MiB."""
    drives = []
    for name in "ab":
        (directory / name).write_bytes(os.urandom(4 * MIB))
        drives.append(Drive(path=directory / name))
    config = ApplianceConfig(drives=tuple(drives), template=template)
    async with launch(config, files, log=print, console=lambda _: None) as appliance:
        yield appliance


async def shell(appliance: Appliance, command: str) -> None:
    """Run a command in the guest, in which ``$a`` and ``$b`` are the drives: the kernel names disks in any order."""
    names = "; ".join(f"{name}=/dev/$(ls /sys/bus/scsi/devices/*:0:{index}:0/block)" for index, name in enumerate("ab"))
    await appliance.channels[0].call(procedures.DEBUG, DebugArgs("sh", [f"{names}; {command}"]))


async def test_write_in_the_guest_is_seen_for_its_drive_alone(
    appliance_files: ApplianceFiles, tmp_path: Path, is_restored: bool
) -> None:
    async with launched(appliance_files, tmp_path, template=is_restored) as appliance:
        assert appliance.restored is is_restored
        assert [Path(str(drive.path)).name for drive in appliance.blocks.drives] == ["a", "b"]
        assert [await appliance.blocks.written(index) for index in range(2)] == [False, False]
        await shell(appliance, "dd if=/dev/zero of=$b bs=512 count=1 oflag=direct")
        assert [await appliance.blocks.written(index) for index in range(2)] == [False, True]
    assert await appliance.wait() == 0


async def test_discard_in_the_guest_is_seen(appliance_files: ApplianceFiles, tmp_path: Path) -> None:
    async with launched(appliance_files, tmp_path) as appliance:
        assert not await appliance.blocks.written(0)
        await shell(appliance, "blkdiscard --force $a")
        assert await appliance.blocks.written(0)


async def test_reading_in_the_guest_is_no_write(appliance_files: ApplianceFiles, tmp_path: Path) -> None:
    async with launched(appliance_files, tmp_path) as appliance:
        await shell(appliance, "cat $a >/dev/null; sync")
        assert not await appliance.blocks.written(0)


def ext4_image(directory: Path, *, is_dirty: bool) -> Path:
    """An ext4 image that was unmounted, or a copy made while it was mounted and written to."""
    disk, root = directory / "disk", directory / "root"
    with disk.open("wb") as file:
        file.truncate(32 * MIB)
    root.mkdir()
    subprocess.run(["mkfs.ext4", "-q", disk], check=True)
    subprocess.run(["mount", "-o", "loop", disk, root], check=True)
    try:
        (root / "file").write_bytes(b"in the journal")
        os.sync()
        if is_dirty:
            shutil.copy(disk, directory / "copy")
    finally:
        subprocess.run(["umount", root], check=True)
    return directory / "copy" if is_dirty else disk


@pytest.mark.root
@pytest.mark.parametrize("is_dirty", [False, True])
async def test_replay_of_a_journal_is_a_write_and_a_clean_mount_is_none(
    appliance_files: ApplianceFiles, tmp_path: Path, is_dirty: bool
) -> None:
    image = ext4_image(tmp_path, is_dirty=is_dirty)
    config = ApplianceConfig(drives=(Drive(path=image),))
    async with launch(config, appliance_files, log=print, console=lambda _: None) as appliance:
        await appliance.channels[0].call(procedures.MOUNT_RO, MountArgs(Mountable("/dev/sda"), "/"))
        assert await appliance.blocks.written(0) is is_dirty


async def test_many_tasks_ask_and_connect_at_a_time(
    appliance_files: ApplianceFiles, tmp_path: Path, is_restored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / ("t" * 120)  # longer than a socket's name may be
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    greetings = []

    async def connect(appliance: Appliance, index: int) -> None:
        async with await appliance.blocks.connect(index) as stream:
            assert await appliance.blocks.written(index) is False
            greetings.append(await stream.receive_some(16))

    async with launched(appliance_files, tmp_path, template=is_restored) as appliance:
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(connect, appliance, number % 2)
        assert greetings == [b"NBDMAGICIHAVEOPT"] * 8
        assert list(temporary.iterdir()) == []
        connected = await appliance.blocks.connect(0)
    assert await appliance.wait() == 0  # it powers off under a connection
    await connected.aclose()


async def test_questions_to_a_qemu_that_was_killed_say_that_it_has_gone(
    appliance_files: ApplianceFiles, tmp_path: Path
) -> None:
    async with launched(appliance_files, tmp_path) as appliance:
        await (await appliance.blocks.connect(0)).aclose()
        appliance.kill()
        await appliance.gone.wait()
        for ask in (appliance.blocks.written, appliance.blocks.connect):
            with pytest.raises(ConnectionLost):
                await ask(0)
