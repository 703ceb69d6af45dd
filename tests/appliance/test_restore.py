"""Machines restored from templates by the real qemu."""

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from appliance import cache, restore
from appliance import launch as launch_module
from appliance import template as template_module
from appliance.config import ApplianceFiles
from appliance.state import State, StateMachine
from appliance.template import finish_template, maker_of, nameless_file, opened_template
from rpc import procedures
from rpc.arguments import DeviceArgs, NoArgs
from rpc.codec import Device, DeviceOrPath
from rpc.errors import DriveError, LaunchError, LaunchTimeout
from rpc.procedures.transfers import DownloadOffsetArgs
from tests.appliance.machines import BOOTS, MIB, always_tcg, disk, launched, qemu_after, shell, templates

pytestmark = pytest.mark.appliance


async def test_restored_machine_answers_on_every_channel_and_powers_off(appliance_files: ApplianceFiles) -> None:
    said, machine = list[str](), StateMachine()
    async with launched(appliance_files, said=said, machine=machine) as appliance:
        assert appliance.restored
        for channel in appliance.channels:
            await channel.call(procedures.PING_DAEMON, NoArgs())
    assert await appliance.wait() == 0
    assert machine.history == [State.CONFIG, State.LAUNCHING, State.READY, State.CONFIG]
    assert said == []


async def test_transfer_that_stands_still_on_one_channel_keeps_no_other_waiting(
    appliance_files: ApplianceFiles, tmp_path: Path
) -> None:
    size_bytes = 64 * MIB
    args = DownloadOffsetArgs(DeviceOrPath(b"/dev/sda"), 0, size_bytes)
    async with launched(appliance_files, disk(tmp_path, "disk", 64)) as appliance:
        assert appliance.restored
        first, second, *_ = appliance.channels
        received_bytes = 0
        async with second.download(procedures.DOWNLOAD_OFFSET, args) as pieces:
            async for piece in pieces:
                received_bytes += len(piece)
                if received_bytes == len(piece):
                    for _ in range(10):
                        await first.call(procedures.PING_DAEMON, NoArgs())
        assert received_bytes == size_bytes


async def test_two_restores_have_different_random_state_and_the_right_time(appliance_files: ApplianceFiles) -> None:
    seen = []
    for _ in range(2):
        async with launched(appliance_files) as appliance:
            uuids = await shell(appliance, "for i in 1 2 3 4; do cat /proc/sys/kernel/random/uuid; done")
            before_s = time.time()
            now_s = float(await shell(appliance, "date +%s.%N"))
            assert before_s - 2 < now_s < time.time() + 2
            seen += uuids.split()
    assert len(set(seen)) == 8


async def test_drives_of_both_block_sizes_are_in_order(appliance_files: ApplianceFiles, tmp_path: Path) -> None:
    sizes = [(8, None), (3, 512), (5, 4096), (2, 4096)]
    drives = [replace(disk(tmp_path, f"{mib}", mib), blocksize_bytes=size) for mib, size in sizes]
    async with launched(appliance_files, *drives) as appliance:
        assert appliance.restored
        channel = appliance.channels[0]
        devices = await channel.call(procedures.LIST_DEVICES, NoArgs())
        assert devices == ["/dev/sda", "/dev/sdb", "/dev/sdc", "/dev/sdd"]
        arguments = [DeviceArgs(Device(device)) for device in devices]
        assert [await channel.call(procedures.BLOCKDEV_GETSIZE64, each) for each in arguments] == [
            size_mib * MIB for size_mib, _ in sizes
        ]
        assert [await channel.call(procedures.BLOCKDEV_GETSS, each) for each in arguments] == [512, 512, 4096, 4096]


@pytest.mark.parametrize("count", [27, 255])
async def test_many_drives_are_all_there_in_order(appliance_files: ApplianceFiles, tmp_path: Path, count: int) -> None:
    drives = [disk(tmp_path, f"{number}", 1 + number % 7) for number in range(count)]
    said = list[str]()
    async with launched(appliance_files, *drives, said=said) as appliance:
        assert said == []
        assert appliance.restored
        channel = appliance.channels[0]
        devices = await channel.call(procedures.LIST_DEVICES, NoArgs())
        assert (devices[0], devices[26], len(devices)) == ("/dev/sda", "/dev/sdaa", count)
        for number in {0, 1, 25, 26, count // 2, count - 1}:
            size = await channel.call(procedures.BLOCKDEV_GETSIZE64, DeviceArgs(Device(devices[number])))
            assert size == (1 + number % 7) * MIB


async def test_drive_that_qemu_refuses_is_a_drive_error_and_the_template_stays(
    appliance_files: ApplianceFiles, template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = template.stat().st_ino
    monkeypatch.setattr(restore, "drive_node", lambda _drive, _index: {"driver": "qcow2", "node-name": "drive0"})
    with pytest.raises(DriveError, match=r"qemu cannot attach it: blockdev-add: .*file"):
        async with launched(appliance_files, disk(tmp_path, "a", 1)):
            pytest.fail("launched without the drive")
    assert templates(template.parent) == [template]
    assert template.stat().st_ino == before


# A template that does not do


async def _boots_instead(files: ApplianceFiles, template: Path) -> str:
    """Insist that the machine boots, that all is as always but for one line, and return the reason in it."""
    said, machine = list[str](), StateMachine()
    async with launched(files, said=said, machine=machine) as appliance:
        assert not appliance.restored
        await appliance.channels[0].call(procedures.PING_DAEMON, NoArgs())
    assert machine.history == [State.CONFIG, State.LAUNCHING, State.READY, State.CONFIG]
    assert not template.exists()
    [line] = said
    assert line.startswith(BOOTS)
    return line.removeprefix(BOOTS)


async def test_template_is_used_from_any_cache(appliance_files: ApplianceFiles, template: Path) -> None:
    async with launched(appliance_files) as appliance:
        assert appliance.restored
    assert template.exists()


async def test_truncated_template_falls_back(appliance_files: ApplianceFiles, template: Path) -> None:
    os.truncate(template, 300 * MIB)
    assert await _boots_instead(appliance_files, template) == "it was cut short"
    async with launched(appliance_files) as appliance:
        assert appliance.restored


async def test_memory_that_never_answers_falls_back(
    appliance_files: ApplianceFiles, template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mtime_ns = template.stat().st_mtime_ns
    with template.open("r+b") as file:
        end = 0
        while end < 512 * MIB:
            begin = os.lseek(file.fileno(), end, os.SEEK_DATA)
            end = min(os.lseek(file.fileno(), begin, os.SEEK_HOLE), 512 * MIB)
            os.pwrite(file.fileno(), b"\xeb\xfe" * ((end - begin) // 2), begin)  # jmp to itself
    os.utime(template, ns=(mtime_ns, mtime_ns))
    monkeypatch.setattr(launch_module, "_RESTORE_S", 2.0)
    assert await _boots_instead(appliance_files, template)


async def test_state_that_qemu_does_not_know_falls_back_with_qemus_words(
    appliance_files: ApplianceFiles, template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = template.name.removeprefix("template-")
    with opened_template(template, key) as good, nameless_file(template.parent, 512 * MIB) as file:
        file.write(b"not a migration stream")
        finish_template(file, template, key, 512 * MIB, good.maker)
    assert "migration" in await _boots_instead(appliance_files, template)
    said = list[str]()
    async with launched(appliance_files, said=said) as appliance:
        assert not appliance.restored
    assert said == ["the appliance boots: restoring it failed within the last hour"]
    assert templates(template.parent) == []


async def test_template_of_another_qemu_falls_back(appliance_files: ApplianceFiles, template: Path) -> None:
    key = template.name.removeprefix("template-")
    with opened_template(template, key) as good, nameless_file(template.parent, 512 * MIB) as file:
        file.write(good.state.read()[: -template_module._END.size])
        finish_template(file, template, key, 512 * MIB, maker_of("another version"))
    assert await _boots_instead(appliance_files, template) == "another version of qemu made it"


async def test_qemu_that_hangs_while_it_restores_falls_back(
    appliance_files: ApplianceFiles, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    qemu = qemu_after(tmp_path, 'case "$*" in *-incoming*) exec sleep 1000;; esac')
    monkeypatch.setattr(launch_module, "_RESTORE_S", 1.0)
    said = list[str]()
    async with launched(appliance_files, said=said, qemu=qemu) as appliance:
        assert not appliance.restored
    assert [line.partition(BOOTS)[2].partition(":")[0] for line in said] == ["qemu did not restore it in time"]
    assert templates(own_cache) == []
    assert [path.name.partition("-")[0] for path in sorted(own_cache.iterdir())] == ["failed", "lock"]


async def test_launch_that_fails_altogether_blames_no_template(appliance_files: ApplianceFiles, template: Path) -> None:
    with pytest.raises(LaunchTimeout):
        async with launched(appliance_files, launch_timeout_s=0.01):
            pytest.fail("launched at once")
    assert [path.name for path in template.parent.iterdir()] == [template.name]


async def test_time_that_the_user_gives_bounds_making_too(appliance_files: ApplianceFiles, own_cache: Path) -> None:
    with trio.fail_after(60), pytest.raises(LaunchTimeout):
        async with launched(appliance_files, launch_timeout_s=1.0):
            pytest.fail("launched in a second, without a template")
    assert [path.name for path in own_cache.iterdir()] == ["lock-template"]


async def test_daemon_that_refuses_to_resume_falls_back(
    appliance_files: ApplianceFiles, template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore, "_ENTROPY_BYTES", 8)
    reason = await _boots_instead(appliance_files, template)
    assert "8 bytes of entropy are too few" in reason


async def test_kernel_that_does_not_boot_is_a_launch_error_as_ever(
    appliance_files: ApplianceFiles, own_cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "kernel").write_bytes(b"\x7fELF" + bytes(60))
    said = list[str]()
    with pytest.raises(LaunchError, match=r"qemu ended with status 1: .*kernel"):
        async with launched(replace(appliance_files, kernel=tmp_path / "kernel"), said=said):
            pytest.fail("launched without a kernel")
    assert [line.partition(":")[0] for line in said] == [BOOTS.partition(":")[0]]
    assert templates(own_cache) == []


async def test_cancelled_restore_leaves_nothing(appliance_files: ApplianceFiles, template: Path) -> None:
    machine = StateMachine()
    with trio.move_on_after(0.1) as scope:
        async with launched(appliance_files, machine=machine):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert machine.state is State.CONFIG
    assert template.exists()


# A cache that does not do


def _file(place: Path) -> None:
    place.write_text("no directory")


def _others(place: Path) -> None:
    place.mkdir()
    os.chown(place, 1234, 1234)


def _read_only(place: Path) -> None:
    place.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,mode=0700", "none", place], check=True)


def _small(place: Path) -> None:
    place.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m,mode=0700", "none", place], check=True)


@pytest.mark.root
@pytest.mark.parametrize("spoil", [_file, _others, _read_only, _small])
async def test_cache_that_cannot_be_used_means_booting(
    appliance_files: ApplianceFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], None]
) -> None:
    monkeypatch.setenv("LIBGUESTFS_CACHEDIR", str(tmp_path / "cache"))
    monkeypatch.setattr(launch_module, "choose_accelerator", always_tcg)
    place = cache.cache_directory()
    place.parent.mkdir()
    spoil(place)
    said = list[str]()
    try:
        async with launched(appliance_files, said=said) as appliance:
            assert not appliance.restored
        assert said[-1].startswith(BOOTS)
        left = [] if place.is_file() else [path.name for path in place.iterdir()]
        assert not [name for name in left if name.startswith("template-")]
        assert spoil is _small or not left
    finally:
        if place.is_mount():
            await trio.run_process(["umount", place])
