"""Overlays are made whole, with the namesakes of the base's bitmaps, and attached only to the image they belong to."""

import os
import shutil
from pathlib import Path

import pytest

from appliance.config import Drive
from guestmount_py.overlay import overlay_drive, read_overlay
from rpc.errors import DriveError
from tests.guests.cache import run
from tests.overlay.conftest import Place
from tests.overlay.disk import bitmaps, image_info, lose_bitmaps, opened


async def test_new_overlay_is_an_empty_qcow2_over_the_base(place: Place) -> None:
    before = place.base.read_bytes()
    await place.create()
    info = image_info(place.overlay)
    assert info["format"] == "qcow2"
    assert info["full-backing-filename"] == str(place.base)
    assert info["backing-filename-format"] == "qcow2"
    run("qemu-img", "check", place.overlay)
    run("qemu-img", "compare", place.overlay, place.base)
    assert place.base.read_bytes() == before
    assert place.names() == ["base.qcow2", "overlay.qcow2"]


async def test_active_bitmaps_get_namesakes_and_no_others(place: Place) -> None:
    run("qemu-img", "bitmap", "--add", place.base, "lost")
    lose_bitmaps(place.base)
    run("qemu-img", "bitmap", "--add", "-g", "4096", place.base, "daily")
    run("qemu-img", "bitmap", "--add", "-g", "1M", place.base, "weekly")
    run("qemu-img", "bitmap", "--add", "--disable", place.base, "old")
    await place.create()
    assert bitmaps(place.overlay) == {"daily": ["auto"], "weekly": ["auto"]}
    made = {each.name: each.granularity_bytes for each in (await read_overlay(place.overlay)).bitmaps}
    assert made == {"daily": 4096, "weekly": 1 << 20}
    assert bitmaps(place.base)["lost"] == ["in-use", "auto"]


async def test_raw_base_needs_no_bitmaps(place: Place) -> None:
    raw = place.directory / "disk.img"
    run("qemu-img", "convert", "-O", "raw", place.base, raw)
    drive = await overlay_drive(Drive(path=raw, blocksize_bytes=4096), place.overlay, create=True)
    assert drive == Drive(path=place.overlay, format="qcow2", blocksize_bytes=4096)
    assert (await read_overlay(place.overlay)).base_format == "raw"


async def test_second_time_it_is_found_and_kept(place: Place) -> None:
    await place.create()
    place.write("write -P 2 0 64k")
    before = place.overlay.read_bytes()
    await place.create()
    assert place.overlay.read_bytes() == before


async def test_it_is_no_more_readable_than_its_base(place: Place) -> None:
    place.base.chmod(0o640)
    await place.create()
    assert place.overlay.stat().st_mode & 0o777 == 0o640


async def test_it_is_not_made_for_reading(place: Place) -> None:
    with pytest.raises(DriveError, match=r"overlay\.qcow2: No such file"):
        await overlay_drive(Drive(path=place.base), place.overlay, create=False)
    assert place.names() == ["base.qcow2"]


async def test_other_images_overlay_is_refused(place: Place) -> None:
    await place.create()
    other = place.directory / "other.qcow2"
    shutil.copy(place.base, other)
    with pytest.raises(DriveError, match=r"is an overlay of .*base\.qcow2, not of .*other\.qcow2"):
        await overlay_drive(Drive(path=other), place.overlay, create=True)
    with pytest.raises(DriveError, match="is an overlay of a qcow2 image, not raw"):
        await place.create("raw")


@pytest.mark.parametrize("content", [b"", b"a letter\n", None], ids=["empty", "text", "image"])
async def test_file_that_is_no_overlay_is_refused_and_kept(place: Place, content: bytes | None) -> None:
    place.overlay.write_bytes(place.base.read_bytes() if content is None else content)
    before = place.overlay.read_bytes()
    with pytest.raises(DriveError, match="is no overlay of a local image"):
        await place.create()
    assert place.overlay.read_bytes() == before


async def test_overlay_that_does_not_name_its_bases_format_is_refused(place: Place) -> None:
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", place.base, "-F", "qcow2", place.overlay)
    header = place.overlay.read_bytes()
    place.overlay.write_bytes(header.replace(b"\xe2\x79\x2a\xca", b"\x11\x11\x11\x11", 1))  # its backing format
    with pytest.raises(DriveError, match="is no overlay"):
        await place.create()


async def test_base_that_was_written_to_since_is_refused(place: Place) -> None:
    await place.create()
    run("qemu-io", "-f", "qcow2", "-c", "write -P 9 32M 4k", place.base)
    with pytest.raises(DriveError, match=r"was written to since.*setfattr -x") as caught:
        await place.create()
    run(*str(caught.value).partition("'")[2].rstrip("'").split())
    await place.create()


async def test_base_that_has_gone_is_named(place: Place) -> None:
    await place.create()
    place.base.rename(place.directory / "elsewhere")
    with pytest.raises(DriveError, match=r"base\.qcow2"):
        await place.create()


def _process(number: int) -> str:
    return rf"process {number} \(qemu-storage-da\)"  # as much of it as the kernel keeps


async def test_base_that_somebody_writes_to_is_refused_with_who(place: Place) -> None:
    with opened(place.base) as pid, pytest.raises(DriveError, match=rf"2: is in use by {_process(pid)}: unmount it or"):
        await place.create()
    assert place.names() == ["base.qcow2"]


async def test_base_that_somebody_writes_to_later_is_refused_with_who(place: Place) -> None:
    await place.create()
    with opened(place.base) as pid, pytest.raises(DriveError, match=rf"2: is in use by {_process(pid)}: unmount it or"):
        await place.create()


async def test_base_that_names_other_files_is_refused_unless_trusted(place: Place) -> None:
    middle = place.directory / "middle.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", place.base, "-F", "qcow2", middle)
    with pytest.raises(DriveError, match="names other files"):
        await overlay_drive(Drive(path=middle), place.overlay, create=True)
    await overlay_drive(Drive(path=middle, format="qcow2"), place.overlay, create=True)


async def test_directory_that_is_missing_is_one_clear_line(place: Place) -> None:
    with pytest.raises(DriveError, match=r"missing/overlay.qcow2: cannot be made: No such file or directory"):
        await overlay_drive(Drive(path=place.base), place.directory / "missing/overlay.qcow2", create=True)


async def test_name_that_qemu_cannot_take_is_refused(place: Place) -> None:
    name = place.directory / os.fsdecode(b"\xff.qcow2")
    with pytest.raises(DriveError, match="UTF-8"):
        await overlay_drive(Drive(path=place.base), name, create=True)


@pytest.mark.root
async def test_full_disk_leaves_nothing(place: Place, small_disk: Path) -> None:
    filler = small_disk / "filler"
    with filler.open("wb") as file:
        file.write(bytes((12 << 20) - (64 << 10)))
    with pytest.raises(DriveError, match="No space left"):
        await overlay_drive(Drive(path=place.base), small_disk / "overlay.qcow2", create=True)
    assert list(small_disk.iterdir()) == [filler]
