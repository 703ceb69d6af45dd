"""Every way to read a drive, beside the real qemu, compared with ``qemu-img convert``."""

import os
import random
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio

from appliance.config import ApplianceConfig, ApplianceFiles, Drive
from appliance.launch import launch
from appliance.running import Appliance
from guestmount_py.disk_reader import DiskReader
from guestmount_py.disk_readers import DirectDrive, choose_reader
from rpc import procedures
from rpc.errors import ConnectionLost, DriveError
from rpc.procedures.control import DebugArgs
from tests.guestmount_py.images import IMAGES, MIB, as_raw, opened_for_writing, qemu_img, qemu_io, raw_disk

pytestmark = pytest.mark.appliance


@asynccontextmanager
async def launched(files: ApplianceFiles, *drives: Drive) -> AsyncIterator[tuple[Appliance, trio.Nursery]]:
    config = ApplianceConfig(drives=drives)
    async with (
        launch(config, files, log=print, console=lambda _: None) as appliance,
        trio.open_nursery() as nursery,
    ):
        yield appliance, nursery
        nursery.cancel_scope.cancel()


async def chosen(appliance: Appliance, nursery: trio.Nursery, index: int = 0) -> tuple[DirectDrive, DiskReader]:
    drive = await choose_reader(appliance, index, nursery)
    assert drive.reader is not None, drive.reason
    return drive, drive.reader


async def check_bytes(reader: DiskReader, expected: bytes) -> None:
    """Compare all bytes, and those at odd places and across the ends of runs, many reads at a time."""
    chance = random.Random(5)
    ranges = [(offset, min(128 * 1024, len(expected) - offset)) for offset in range(0, len(expected), 128 * 1024)]
    for _ in range(300):
        offset = chance.randrange(len(expected))
        ranges.append((offset, min(chance.choice((1, 511, 4096, 65537, 700_000)), len(expected) - offset)))
    ranges += [(0, 0), (len(expected), 0), (len(expected) - 1, 1), (0, len(expected))]

    async def check(part: list[tuple[int, int]]) -> None:
        for offset, count in part:
            assert await reader.read(offset, count) == expected[offset : offset + count], (offset, count)

    async with trio.open_nursery() as nursery:
        for start in range(8):
            nursery.start_soon(check, ranges[start::8])


def padded(data: bytes) -> bytes:
    """Return a disk's bytes in whole sectors, as the guest sees them."""
    return data.ljust(-(-len(data) // 512) * 512, b"\0")


async def test_every_format_is_read_as_qemu_reads_it(appliance_files: ApplianceFiles, tmp_path: Path) -> None:
    drives, expected = [], []
    for name, (make, kind, _) in IMAGES.items():
        directory = tmp_path / name
        directory.mkdir()
        path = make(directory)
        drives.append(Drive(path=path, format=kind))
        expected.append(padded(as_raw(path, kind)))
    async with launched(appliance_files, *drives) as (appliance, nursery):
        planes = {}
        for index, name in enumerate(IMAGES):
            drive, reader = await chosen(appliance, nursery, index)
            planes[name] = reader.plane
            assert reader.size_bytes == len(expected[index])
            await check_bytes(reader, expected[index])
            for offset, count in ((-1, 1), (0, reader.size_bytes + 1), (reader.size_bytes, 1), (1 << 62, 1)):
                with pytest.raises(DriveError, match="not within a drive"):
                    await reader.read(offset, count)
            assert await drive.is_current()
            drive.close()
            with pytest.raises((DriveError, ConnectionLost)):
                await reader.read(0, reader.size_bytes)
    assert planes == {name: plane for name, (_, _, plane) in IMAGES.items()}


async def test_guessed_format_is_read_too(appliance_files: ApplianceFiles, tmp_path: Path) -> None:
    disk = raw_disk(tmp_path / "a.img")
    qemu_img("convert", "-O", "qcow2", disk, tmp_path / "a.qcow2")
    async with launched(appliance_files, Drive(path=tmp_path / "a.qcow2")) as (appliance, nursery):
        drive, reader = await chosen(appliance, nursery)
        assert drive.reason == f"{tmp_path}/a.qcow2: read directly: a qcow2 image of 1 layers in 8 runs"
        await check_bytes(reader, disk.read_bytes())
        drive.close()


@pytest.mark.root
@pytest.mark.parametrize("kind", ["raw", "qcow2"])
async def test_block_device_is_read_directly(appliance_files: ApplianceFiles, tmp_path: Path, kind: str) -> None:
    disk = raw_disk(tmp_path / "a.img")
    image = tmp_path / "b.img"
    qemu_img("convert", "-O", kind, disk, image)
    with loop_device(image) as device:
        async with launched(appliance_files, Drive(path=device, format=kind)) as (appliance, nursery):
            drive, reader = await chosen(appliance, nursery)
            assert reader.plane == kind
            await check_bytes(reader, disk.read_bytes())
            drive.close()


@contextmanager
def loop_device(image: Path) -> Iterator[Path]:
    argv: list[str | Path] = ["losetup", "--find", "--show", "--read-only", image]
    device = Path(subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip())
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
async def test_drive_that_the_guest_wrote_to_is_read_through_qemu(
    appliance_files: ApplianceFiles, tmp_path: Path, kind: str
) -> None:
    disk = raw_disk(tmp_path / "a.img")
    qemu_img("convert", "-O", kind, disk, tmp_path / "b.img")
    async with launched(appliance_files, Drive(path=tmp_path / "b.img", format=kind)) as (appliance, nursery):
        before, direct = await chosen(appliance, nursery)
        assert direct.plane == kind
        command = "yes written | dd of=/dev/sda bs=512 count=300 seek=100 oflag=direct iflag=fullblock"
        await appliance.channels[0].call(procedures.DEBUG, DebugArgs("sh", [command]))
        assert not await before.is_current()
        after, reader = await chosen(appliance, nursery)
        assert reader.plane == "export"
        assert "overlay was written to" in after.reason
        expected = bytearray(disk.read_bytes())
        expected[51200 : 51200 + 512 * 300] = (b"written\n" * 19200)[: 512 * 300]
        await check_bytes(reader, bytes(expected))
        assert await after.is_current()
        before.close()
        after.close()


@pytest.mark.parametrize("kind", ["raw", "qcow2", "vmdk"])
async def test_image_that_another_qemu_writes_is_left_to_the_guest(
    appliance_files: ApplianceFiles, tmp_path: Path, kind: str
) -> None:
    image = tmp_path / "b.img"
    qemu_img("convert", "-O", kind, raw_disk(tmp_path / "a.img"), image)
    async with launched(appliance_files, Drive(path=image, format=kind)) as (appliance, nursery):
        before, _ = await chosen(appliance, nursery)
        with opened_for_writing(image, kind):
            assert not await before.is_current()
            refused = await choose_reader(appliance, 0, nursery)
            assert refused.reader is None
            assert "another process has" in refused.reason
        assert await before.is_current()
        before.close()


async def test_backing_file_that_another_qemu_writes_is_left_to_the_guest(
    appliance_files: ApplianceFiles, tmp_path: Path
) -> None:
    base, top = raw_disk(tmp_path / "a.img"), tmp_path / "top.qcow2"
    qemu_img("create", "-f", "qcow2", "-b", base, "-F", "raw", top)
    async with launched(appliance_files, Drive(path=top, format="qcow2")) as (appliance, nursery):
        with opened_for_writing(base, "raw"):
            refused = await choose_reader(appliance, 0, nursery)
            assert refused.reader is None
            assert f"another process has {base} open for writing" in refused.reason


def written_parts(directory: Path) -> dict[str, tuple[Drive, Path]]:
    """Return images of several kinds, each with the one of its files that a test is to write to."""
    parts = {"raw": "plain.img", "qcow2-chain": "chain, base.raw", "qcow2-external": "external.data"}
    patterns = parts | {"qcow2": "*.qcow2", "vmdk": "*.vmdk", "vmdk-flat": "*-flat.vmdk", "qcow2-over-vmdk": "*.vmdk"}
    found = {}
    for name, pattern in patterns.items():
        make, kind, _ = IMAGES[name]
        own = directory / name
        own.mkdir()
        image = make(own)
        (part,) = own.glob(pattern)
        found[name] = Drive(path=image, format=kind), part
    return found


def write_last_byte(path: Path) -> None:
    """Write as programs do that take no lock; the byte stays what it was."""
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(last)


async def test_image_that_was_written_to_since_the_launch_is_left_to_the_guest(
    appliance_files: ApplianceFiles, tmp_path: Path
) -> None:
    """The guest has read some of it before, when it mounted, and believes that it is still so."""
    parts = written_parts(tmp_path)
    async with launched(appliance_files, *(drive for drive, _ in parts.values())) as (appliance, nursery):
        for index, (name, (_, part)) in enumerate(parts.items()):
            write_last_byte(part)
            refused = await choose_reader(appliance, index, nursery)
            assert refused.reader is None, name
            assert f"only the guest reads it: {part} was written to" in refused.reason, name


async def test_every_file_of_an_image_is_watched(appliance_files: ApplianceFiles, tmp_path: Path) -> None:
    parts = written_parts(tmp_path)
    async with launched(appliance_files, *(drive for drive, _ in parts.values())) as (appliance, nursery):
        for index, (name, (_, part)) in enumerate(parts.items()):
            drive, _ = await chosen(appliance, nursery, index)
            assert drive.change() is None
            write_last_byte(part)
            assert drive.change() == f"{part} was written to", name
            drive.close()


async def test_image_that_was_truncated_since_the_launch_cannot_be_read(
    appliance_files: ApplianceFiles, tmp_path: Path
) -> None:
    """The guest would see zeros."""
    image = raw_disk(tmp_path / "a.img")
    async with launched(appliance_files, Drive(path=image)) as (appliance, nursery):
        os.truncate(image, MIB)
        drive, reader = await chosen(appliance, nursery)
        with pytest.raises(DriveError, match=f"it was truncated from {6 * MIB} bytes to {MIB}"):
            await reader.read(0, 512)
        assert "nothing of it can be read" in drive.reason
        assert drive.change() is None
        drive.close()


async def test_image_with_a_part_that_cannot_be_watched_is_left_to_the_guest(
    appliance_files: ApplianceFiles, tmp_path: Path
) -> None:
    top = tmp_path / "top.qcow2"
    qemu_img("create", "-f", "qcow2", top, "4M")
    qemu_img("rebase", "-u", "-b", "null-co://", "-F", "raw", top)
    async with launched(appliance_files, Drive(path=top, format="qcow2")) as (appliance, nursery):
        refused = await choose_reader(appliance, 0, nursery)
        assert refused.reader is None
        assert "one of its files cannot be watched" in refused.reason


async def test_reader_elsewhere_does_not_matter(appliance_files: ApplianceFiles, tmp_path: Path) -> None:
    image = raw_disk(tmp_path / "a.img")
    async with (
        launched(appliance_files, Drive(path=image)) as (first, one),
        launched(appliance_files, Drive(path=image)) as (second, two),
    ):
        for appliance, nursery in ((first, one), (second, two)):
            drive, reader = await chosen(appliance, nursery)
            assert reader.plane == "raw"
            drive.close()


async def test_image_that_was_replaced_is_left_to_the_guest(appliance_files: ApplianceFiles, tmp_path: Path) -> None:
    image = raw_disk(tmp_path / "a.img")
    async with launched(appliance_files, Drive(path=image)) as (appliance, nursery):
        shutil.copy(image, tmp_path / "new")
        (tmp_path / "new").rename(image)
        refused = await choose_reader(appliance, 0, nursery)
        assert refused.reader is None
        assert "qemu has opened another file" in refused.reason


@pytest.mark.parametrize("kind", ["raw", "qcow2", "vdi"])
async def test_truncated_image_is_an_error_and_never_short(
    appliance_files: ApplianceFiles, tmp_path: Path, kind: str
) -> None:
    image = tmp_path / "b.img"
    (tmp_path / "a.img").write_bytes(os.urandom(6 * MIB))
    qemu_img("convert", "-O", kind, tmp_path / "a.img", image)
    async with launched(appliance_files, Drive(path=image, format=kind)) as (appliance, nursery):
        drive, reader = await chosen(appliance, nursery)
        os.truncate(image, 2 * MIB)
        expected = (tmp_path / "a.img").read_bytes()
        assert await reader.read(MIB, 4096) == expected[MIB : MIB + 4096]
        if kind == "vdi":  # as the guest sees it: qemu takes what is behind the end for zeros
            assert await reader.read(5 * MIB, 4096) == bytes(4096)
        else:
            for offset, count in ((5 * MIB, 4096), (MIB, 4 * MIB)):
                with pytest.raises(DriveError, match="truncated"):
                    await reader.read(offset, count)
        drive.close()


async def test_reads_fail_when_qemu_has_gone(appliance_files: ApplianceFiles, tmp_path: Path) -> None:
    image = tmp_path / "b.vdi"
    qemu_img("convert", "-O", "vdi", raw_disk(tmp_path / "a.img"), image)
    async with launched(appliance_files, Drive(path=image)) as (appliance, nursery):
        drive, reader = await chosen(appliance, nursery)

        async def read_on() -> None:
            while True:
                await reader.read(0, 4 * MIB)

        async def read_to_the_end() -> None:
            with pytest.raises(ConnectionLost):
                await read_on()

        async with trio.open_nursery() as reading:
            for _ in range(4):
                reading.start_soon(read_to_the_end)
            await reader.read(0, 4096)
            appliance.kill()
        with pytest.raises(ConnectionLost):
            await reader.read(0, 1)
        refused = await choose_reader(appliance, 0, nursery)
        assert refused.reader is None
        drive.close()


async def test_cancelled_reads_leave_the_export_in_order(appliance_files: ApplianceFiles, tmp_path: Path) -> None:
    image = tmp_path / "b.vdi"
    disk = raw_disk(tmp_path / "a.img")
    qemu_img("convert", "-O", "vdi", disk, image)
    async with launched(appliance_files, Drive(path=image)) as (appliance, nursery):
        drive, reader = await chosen(appliance, nursery)
        for number in range(50):
            with trio.move_on_after(number / 20_000):
                await reader.read(0, 3 * MIB)
        await check_bytes(reader, disk.read_bytes())
        drive.close()


async def test_drive_chosen_while_it_was_being_written_is_left_to_the_guest(
    appliance_files: ApplianceFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guest writes after the choice was made and before it is given."""
    image = raw_disk(tmp_path / "a.img")
    async with launched(appliance_files, Drive(path=image)) as (appliance, nursery):
        is_current = DirectDrive.is_current

        async def late(drive: DirectDrive) -> bool:
            command = "dd if=/dev/zero of=/dev/sda bs=512 count=1 oflag=direct"
            await appliance.channels[0].call(procedures.DEBUG, DebugArgs("sh", [command]))
            return await is_current(drive)

        monkeypatch.setattr(DirectDrive, "is_current", late)
        refused = await choose_reader(appliance, 0, nursery)
        assert refused.reader is None
        assert "written to just now" in refused.reason
        monkeypatch.undo()
        drive, reader = await chosen(appliance, nursery)
        assert reader.plane == "export"
        drive.close()


def test_tools_make_what_the_tests_are_about(tmp_path: Path) -> None:
    image = tmp_path / "a.qcow2"
    qemu_img("create", "-f", "qcow2", image, "1M")
    qemu_io(image, "qcow2", "write -P 9 0 4k")
    assert as_raw(image, "qcow2") == b"\x09" * 4096 + bytes(MIB - 4096)
