"""Disks that were made to keep whoever looks for systems busy, or to mislead him: what can be mounted is, in time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
import trio

from appliance.state import State
from guestmount_py import inspection
from guestmount_py.handle import Guest
from rpc import client
from rpc.errors import GuestmountError
from tests.guests.cache import run
from tests.guests.disk import create_disk
from tests.guests.hives import fanning_out, looping, sharing_values, within_itself
from tests.guests.systems import DEBIAN, ELF, format_partition
from tests.inspection.conftest import mounted
from tests.system.sandbox import Sandbox

pytestmark = [pytest.mark.appliance, pytest.mark.fuse, pytest.mark.root]

DEADLINE_S: Final = 100.0
"""On a busy machine; alone it takes a tenth."""
CONFIG: Final = "Windows/System32/config"
BY_ID: Final = "/dev/disk/by-id/ata-MODEL_123-part"
FSTAB: Final = (
    f"""\
LABEL=data /data ext4
LABEL=data /data ext4
LABEL=absent /perhaps ext4 nofail
LABEL=absent2 /later ext4 noauto
{BY_ID}4 /guess ext4
{BY_ID}9 /nowhere ext4
LABEL=\\033[2Jtwo\\012lines /escape ext4
"""
    + "LABEL=data /data ext4\n" * 300
)


@contextmanager
def in_time() -> Iterator[None]:
    start_s = time.monotonic()
    yield
    assert time.monotonic() - start_s < DEADLINE_S


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a disk: two Windows with hives without end, a Debian with a strange fstab, its data, and more data."""
    image = tmp_path_factory.mktemp("hostile") / "hostile.img"
    create_disk(image, [32, 32, 8, 8])
    for number, (software, system) in enumerate(((fanning_out, looping), (sharing_values, within_itself)), start=1):
        format_partition(image, number, {f"{CONFIG}/SOFTWARE": software(), f"{CONFIG}/SYSTEM": system()})
    places = dict.fromkeys(("data/", "perhaps/", "later/", "guess/", "nowhere/", "escape/"), "")
    format_partition(image, 3, {**places, "etc/os-release": DEBIAN, "etc/fstab": FSTAB, "bin/sh": ELF})
    format_partition(image, 4, {"file": "data"}, "-L", "data")
    return image


def test_hives_without_end_hide_no_system(sandbox: Sandbox, hostile: Path) -> None:
    """The other disk is there because a name that tells nothing of its disk may mean any of two."""
    other = sandbox.directory / "other.img"
    run("mke2fs", "-q", "-t", "ext4", other, "8M")
    with in_time(), mounted(sandbox, [other, hostile], "--all") as warnings:
        systems = sandbox.mountpoint / "systems"
        assert sorted(path.name for path in systems.iterdir()) == ["sdb1", "sdb2", "sdb3"]
        for name in ("sdb1", "sdb2"):
            assert (systems / name / CONFIG / "SOFTWARE").stat().st_size > 1 << 20
        assert (systems / "sdb3/etc/os-release").read_text() == DEBIAN
        assert (systems / "sdb3/data/file").read_text() == "data"
    assert [line for line in warnings if "MODEL" in line] == [
        f"/systems/sdb3/{place} is left out: {BY_ID}{number} is on none of the disks"
        for place, number in (("guess", 4), ("nowhere", 9))
    ]


def test_entries_of_fstab_that_are_left_out_are_in_the_log(sandbox: Sandbox, hostile: Path) -> None:
    with in_time(), mounted(sandbox, [hostile], "-i", "--root=3") as warnings:
        assert (sandbox.mountpoint / "data/file").read_text() == "data"
    assert warnings == [
        f"/nowhere is left out: {BY_ID}9 is on none of the disks",
        r"/escape is left out: LABEL=\x1b[2Jtwo\nlines is on none of the disks",
        f"/dev/sda4 is a guess for {BY_ID}4: the name tells the model of a disk, and this is the only one",
        "/guess is left out: it is what /data shows",
    ]
    log = [line.partition(" INFO ")[2] for line in sandbox.log().splitlines()]
    assert [line for line in log if "optional" in line or "fstab" in line] == [
        *["LABEL=data is left out: fstab has LABEL=data on /data already"] * 194,
        "107 entries of fstab after the first 200 are left out, from /data on",
        "/perhaps is left out: LABEL=absent is on none of the disks, and is optional",
        "/later is left out: LABEL=absent2 is on none of the disks, and is optional",
    ]
    assert all(line.isprintable() for line in sandbox.log().splitlines())


async def launched_with_silence(guest: Guest) -> None:
    """Launch with a device that answers nothing: who asks what is on it waits in the kernel.

    What somebody read of it before it was silent must not be in memory any more.
    """
    await guest.launch()
    silence = "dmsetup suspend silent && echo 3 > /proc/sys/vm/drop_caches && dmsetup info silent"
    said = await guest.debug("sh", [f"dmsetup create silent --table '0 8192 zero' && {silence}"])
    assert "SUSPENDED" in said


async def test_daemon_that_does_not_come_back_is_one_line(hostile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "_FIND_S", 2.0)
    monkeypatch.setattr(client, "RESYNCHRONISE_S", 1.0)
    said: list[str] = []
    async with Guest() as guest:
        guest.add_drive(hostile, format="raw")
        await launched_with_silence(guest)
        with pytest.raises(GuestmountError, match=r"did not find out within 2 s which .*: mount with -m") as caught:
            await inspection.find_systems(guest, said.append)
        assert caught.value.exit_code == 1
        assert guest.state is State.CONFIG
        await launched_with_silence(guest)
        assert (await inspection.find_systems_if_possible(guest, said.append)).systems == []
        assert said == ["warning: " + str(caught.value)]
        await guest.mount_ro("/dev/sda3", "/")
        assert await guest.read_file("/etc/os-release") == DEBIAN.encode()


async def test_guest_that_is_dead_when_its_time_is_up_is_one_line(
    hostile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(guest: Guest) -> None:
        await guest.kill_subprocess()
        await trio.sleep_forever()

    monkeypatch.setattr(inspection, "_FIND_S", 2.0)
    monkeypatch.setattr(inspection, "_found", die)
    async with Guest() as guest:
        guest.add_drive(hostile, format="raw")
        await guest.launch()
        with pytest.raises(GuestmountError, match="did not find out within 2 s"):
            await inspection.find_systems(guest, lambda _line: None)
