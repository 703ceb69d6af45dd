"""Reads by the direct plane: whose bytes they are, when the guest reads instead, and what a lying daemon gets."""

import errno
import logging
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from guestmount_py.direct import DirectPlane
from guestmount_py.extents import AddressMap, file_map
from guestmount_py.image_file import ImageFile
from guestmount_py.inodes import ROOT
from guestmount_py.raw_reader import RawReader
from guestmount_py.statistics import Statistics
from rpc.errors import ConnectionLost
from rpc.extents import EXTENT
from rpc.procedures.extensions import DeviceMap, DeviceSegment
from tests.guestmount_py.kernel import list_plus, seek
from tests.guestmount_py.mapped_guest import DRIVE, FILESYSTEM_NUMBER, LAST, Extent, MappedGuest, read

SIZE_BYTES = 1 << 20
UNWRITTEN = 0x800
LOOK_S = 0.3
"""An image is looked at more often than this, however slow looking was."""


@pytest.fixture
def guest(tmp_path: Path) -> MappedGuest:
    """A drive of random bytes in an image that is longer: what lies behind the drive's end must never be seen."""
    image = tmp_path / "image"
    image.write_bytes(random.Random(1).randbytes(2 * SIZE_BYTES))
    return MappedGuest(image, SIZE_BYTES)


async def assert_eio(guest: MappedGuest, name: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A read fails with one line in the log, which speaks of no bug, and no byte came any way."""
    async with guest.mounted() as operations:
        with pytest.raises(OSError, match="for the kernel") as caught:
            await read(operations, name)
    assert caught.value.errno == errno.EIO
    (message,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert "bug" not in message
    assert guest.planes() == {}
    assert guest.count("pread") == guest.count("read_files") == 0


async def test_bytes_are_those_of_the_image_and_zeros_where_nothing_was_written(guest: MappedGuest) -> None:
    data = guest.image.read_bytes()
    guest.add(b"plain", 5000, (0, 8192, 8192, LAST))
    guest.add(b"parts", 30_000, (4096, 65_536, 4096, 0), (8192, 0, 8192, UNWRITTEN), (20_480, 4096, 4096, LAST))
    guest.add(b"hole", 70_000)
    expected = bytes(4096) + data[65_536:69_632] + bytes(12_288) + data[4096:8192] + bytes(5424)
    async with guest.mounted() as operations:
        assert await read(operations, b"plain") == data[8192:13_192]
        assert await read(operations, b"parts") == expected
        assert await read(operations, b"parts", 4000, 5000) == expected[4000:9000]
        assert await read(operations, b"parts", 29_999) == b"\0"
        assert await read(operations, b"parts", 30_000) == b""
        assert await read(operations, b"hole") == bytes(70_000)
    assert guest.planes() == {"raw": 5000 + 8192 + 4096, "zeros": 21_808 + 904 + 1 + 70_000}
    assert guest.count("map_files") == guest.count("device_map") == 1


async def test_file_that_cannot_be_mapped_is_read_by_the_guest_and_not_asked_for_again(guest: MappedGuest) -> None:
    guest.refuse(b"inline", 5)
    guest.add(b"compressed", 6, (0, 0, 4096, LAST | 0x8))
    async with guest.mounted() as operations:
        for _ in range(2):
            assert await read(operations, b"inline") == b"GGGGG"
            assert await read(operations, b"compressed") == b"GGGGGG"
    assert guest.planes() == {"pread": 22}
    assert guest.count("map_files") == 1


async def test_filesystem_that_cannot_be_mapped_is_read_by_the_guest_and_the_log_says_why(
    guest: MappedGuest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "guestmount_py")
    guest.told = DeviceMap(FILESYSTEM_NUMBER, "ext4", "dm-0 is a crypt target", 4096, [])
    guest.add(b"file", 5, (0, 0, 4096, LAST))
    async with guest.mounted() as operations:
        assert await read(operations, b"file") == b"GGGGG"
    assert guest.planes() == {"pread": 5}
    assert [record.getMessage() for record in caplog.records] == [
        "files at b'/' are read by the guest: dm-0 is a crypt target"
    ]


async def test_drive_that_only_the_guest_may_read_is_read_by_it(guest: MappedGuest) -> None:
    guest.has_reader = False
    guest.add(b"file", 5, (0, 0, 4096, LAST))
    guest.add(b"hole", 5)
    async with guest.mounted() as operations:
        assert await read(operations, b"file") == b"GGGGG"
        assert await read(operations, b"hole") == b"GGGGG"
    assert guest.planes() == {"pread": 10}


def write(path: Path, offset: int) -> None:
    """Write to an image as any program may, and wait until that must be seen."""
    with path.open("r+b") as image:
        image.seek(offset)
        image.write(b"x")
    time.sleep(LOOK_S)


async def test_drive_that_somebody_wrote_to_is_read_by_the_guest_and_its_zeros_too(guest: MappedGuest) -> None:
    """Where the old map has a hole there may be data by now."""
    guest.watched = True
    guest.add(b"file", 5, (0, 0, 4096, LAST))
    guest.add(b"parts", 8192, (4096, 0, 4096, LAST))
    guest.add(b"hole", 5)
    async with guest.mounted() as operations:
        assert await read(operations, b"hole") == bytes(5)
        assert await read(operations, b"parts", 0, 4096) == bytes(4096)
        nodes = {each.name: each.node for each in await list_plus(operations, ROOT)}
        assert await seek(operations, nodes[b"parts"], 0, os.SEEK_DATA) == 4096
        write(guest.image, SIZE_BYTES)
        assert await read(operations, b"hole") == b"GGGGG"
        assert await read(operations, b"parts", 0, 4096) == b"G" * 4096
        assert await read(operations, b"file") == b"GGGGG"
        assert await seek(operations, nodes[b"parts"], 0, os.SEEK_DATA) == 0
    assert guest.planes() == {"zeros": 4101, "pread": 4106}


async def test_process_that_had_to_wait_while_it_looked_soon_looks_again(
    guest: MappedGuest, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = ImageFile.change

    def slow(file: ImageFile) -> str | None:
        time.sleep(0.05)
        return look(file)

    monkeypatch.setattr(ImageFile, "change", slow)
    guest.watched = True
    guest.add(b"file", 5, (0, 0, 4096, LAST))
    async with guest.mounted() as operations:
        assert await read(operations, b"file") == guest.image.read_bytes()[:5]
        write(guest.image, 0)
        assert await read(operations, b"file") == b"GGGGG"


async def test_zeros_on_a_drive_that_was_truncated_are_eio(guest: MappedGuest) -> None:
    """Whoever cut it off may have put data where the old map has a hole, and the guest cannot tell either."""
    guest.watched = True
    guest.add(b"hole", 5)
    async with guest.mounted() as operations:
        assert await read(operations, b"hole") == bytes(5)
        (node,) = (each.node for each in await list_plus(operations, ROOT) if each.name == b"hole")
        os.truncate(guest.image, 4096)
        await trio.sleep(LOOK_S)
        for question in (read(operations, b"hole"), seek(operations, node, 0, os.SEEK_DATA)):
            with pytest.raises(OSError, match="for the kernel") as caught:
                await question
            assert caught.value.errno == errno.EIO
    assert guest.planes() == {"zeros": 5}


async def test_map_is_valid_while_all_drives_of_its_filesystem_are_read(tmp_path: Path) -> None:
    """A file of zeros counts on each of them, though it lies on none."""
    sizes = {"drive0": 4096, "drive1": 4096, "drive2": 4096}
    segments = [DeviceSegment(0, 4096, "drive0", 0), DeviceSegment(4096, 4096, "drive1", 0)]
    addresses = AddressMap(DeviceMap(1, "ext4", "", 4096, segments), sizes)
    (tmp_path / "image").write_bytes(bytes(4096))
    reader = RawReader(ImageFile(tmp_path / "image"), 4096)
    for extents in ((), ((0, 0, 4096, LAST),)):
        found = file_map(b"".join(EXTENT.pack(*each) for each in extents), 10, addresses)
        assert found is not None
        assert found.needed == {"drive0", "drive1"}
        for missing, valid in ((None, True), ("drive0", False), ("drive1", False), ("drive2", True)):
            readers = {serial: None if serial == missing else reader for serial in sizes}
            gone = trio.Event()
            plane = DirectPlane(readers, sizes, Statistics(), gone)
            assert plane.is_valid(found) is valid
            assert (plane.read_now(found, 0, 10) is not None) is valid
            assert await plane.read(found, 0, 10) == (bytes(10) if valid else None)
            gone.set()
            with pytest.raises(ConnectionLost):
                plane.is_valid(found)
    reader.close()


async def test_bytes_that_were_waited_for_do_not_count_if_somebody_wrote_meanwhile(
    guest: MappedGuest, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest.watched = True
    guest.add(b"file", 5, (0, 0, 4096, LAST))
    preadv = os.preadv

    def late(fd: int, buffers: Sequence[memoryview], offset: int, flags: int = 0) -> int:
        if flags & os.RWF_NOWAIT:
            raise BlockingIOError
        write(guest.image, 0)
        return preadv(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", late)
    async with guest.mounted() as operations:
        assert await read(operations, b"file") == b"GGGGG"
    assert guest.planes() == {"pread": 5}


@pytest.mark.parametrize(
    "extents",
    [
        [(0, SIZE_BYTES, 4096, LAST)],
        [(0, SIZE_BYTES - 4096, 8192, LAST)],
        [(0, (1 << 64) - 4096, 8192, LAST)],
        [(0, 1 << 40, 4096, LAST)],
        [(0, 0, 1 << 63, LAST)],
        [(0, 0, 0, LAST)],
        [(0, 0, 4096, 0), (0, 4096, 4096, LAST)],
        [(4096, 0, 4096, 0), (0, 4096, 4096, LAST)],
    ],
    ids=["behind", "across", "around", "far", "long", "empty", "twice", "backwards"],
)
async def test_lie_about_an_extent_is_eio(
    guest: MappedGuest, extents: Sequence[Extent], caplog: pytest.LogCaptureFixture
) -> None:
    guest.add(b"file", 8192, *extents)
    await assert_eio(guest, b"file", caplog)


@pytest.mark.parametrize(
    "segments",
    [
        [DeviceSegment(0, SIZE_BYTES + 1, DRIVE, 0)],
        [DeviceSegment(0, SIZE_BYTES, DRIVE, 512)],
        [DeviceSegment(0, 4096, DRIVE, 1 << 63)],
        [DeviceSegment(0, 4096, "drive1", 0)],
        [DeviceSegment(0, 8192, DRIVE, 0), DeviceSegment(4096, 4096, DRIVE, 0)],
        [],
    ],
    ids=["long", "shifted", "far", "another drive", "overlapping", "none"],
)
async def test_lie_about_the_device_is_eio(
    guest: MappedGuest, segments: list[DeviceSegment], caplog: pytest.LogCaptureFixture
) -> None:
    guest.told = DeviceMap(FILESYSTEM_NUMBER, "ext4", "", 4096, segments)
    guest.add(b"file", 4096, (0, 0, 4096, LAST))
    await assert_eio(guest, b"file", caplog)


async def test_extents_of_another_filesystem_than_the_device_map_are_eio(
    guest: MappedGuest, caplog: pytest.LogCaptureFixture
) -> None:
    guest.told = DeviceMap(FILESYSTEM_NUMBER + 1, "ext4", "", 4096, [DeviceSegment(0, SIZE_BYTES, DRIVE, 0)])
    guest.add(b"file", 4096, (0, 0, 4096, LAST))
    await assert_eio(guest, b"file", caplog)


async def test_image_that_was_truncated_is_eio(guest: MappedGuest, caplog: pytest.LogCaptureFixture) -> None:
    guest.add(b"file", 4096, (0, 8192, 4096, LAST))
    async with guest.mounted() as operations:
        with guest.image.open("r+b") as image:
            image.truncate(10_000)
        with pytest.raises(OSError, match="for the kernel") as caught:
            await read(operations, b"file")
    assert caught.value.errno == errno.EIO
    (message,) = [record.getMessage() for record in caplog.records]
    assert "it was truncated from" in message


async def test_lie_about_a_neighbour_leaves_honest_files_readable(
    guest: MappedGuest, caplog: pytest.LogCaptureFixture
) -> None:
    guest.add(b"honest", 100, (0, 0, 4096, LAST))
    guest.add(b"liar", 100, (0, SIZE_BYTES, 4096, LAST))
    async with guest.mounted() as operations:
        assert await read(operations, b"honest") == guest.image.read_bytes()[:100]
        with pytest.raises(OSError, match="for the kernel") as caught:
            await read(operations, b"liar")
    assert caught.value.errno == errno.EIO
    assert len(caplog.records) == 2
    assert guest.planes() == {"raw": 100}


async def test_appliance_that_died_is_eio_though_the_image_is_still_there(guest: MappedGuest) -> None:
    guest.add(b"file", 100, (0, 0, 4096, LAST))
    async with guest.mounted() as operations:
        await read(operations, b"file")
        guest.gone.set()
        with pytest.raises(OSError, match="for the kernel") as caught:
            await read(operations, b"file")
    assert caught.value.errno == errno.EIO


async def test_holes_are_where_the_map_has_none(guest: MappedGuest) -> None:
    guest.add(b"parts", 30_000, (4096, 65_536, 4096, 0), (8192, 0, 8192, UNWRITTEN), (20_480, 4096, 4096, LAST))
    guest.add(b"hole", 70_000)
    guest.add(b"full", 4096, (0, 0, 4096, LAST))
    guest.refuse(b"inline", 50)
    expected: dict[bytes, list[tuple[int, int] | None]] = {
        b"parts": [(4096, 8192), (20_480, 24_576), None],
        b"hole": [None],
        b"full": [(0, 4096), None],
        b"inline": [(0, 50), None],
    }
    async with guest.mounted() as operations:
        nodes = {each.name: each.node for each in await list_plus(operations, ROOT)}
        for name, ranges in expected.items():
            offset = 0
            for each in ranges:
                if each is None:
                    with pytest.raises(OSError, match="for the kernel") as caught:
                        await seek(operations, nodes[name], offset, os.SEEK_DATA)
                    assert caught.value.errno == errno.ENXIO
                    continue
                assert await seek(operations, nodes[name], offset, os.SEEK_DATA) == each[0], name
                offset = await seek(operations, nodes[name], each[0], os.SEEK_HOLE)
                assert offset == each[1], name
