"""A commit leaves the base as the overlay showed it, with bitmaps that tell exactly what changed, and no overlay."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from appliance.image_use import users_of
from guestmount_py.overlay import discard_overlay
from guestmount_py.overlay_commit import commit_overlay
from rpc.errors import DriveError
from tests.guests.cache import run
from tests.overlay.conftest import Place
from tests.overlay.disk import bitmaps, dirty, lose_bitmaps, opened, overlay_program

_KIB_4 = 4096


def _pages(start: int, length: int) -> set[int]:
    return set(range(start // _KIB_4, (start + length) // _KIB_4))


async def test_base_becomes_what_the_overlay_showed(place: Place) -> None:
    await place.create()
    place.write("write -P 2 100k 300k", "write -P 3 40M 5M", "write -z 512k 64k", "discard 700k 64k")
    expected = place.directory / "expected"
    run("qemu-img", "convert", "-O", "raw", place.overlay, expected)
    progress: list[tuple[int, int]] = []
    await commit_overlay(place.overlay, lambda done, whole: progress.append((done, whole)))
    run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", expected, place.base)
    run("qemu-img", "check", place.base)
    assert place.names() == ["base.qcow2", "expected"]
    assert progress[-1][0] == progress[-1][1] > 5 << 20


async def test_raw_base_is_merged_into(place: Place) -> None:
    raw = place.directory / "disk.raw"
    run("qemu-img", "convert", "-O", "raw", place.base, raw)
    other = Place(place.directory, raw, place.overlay)
    await other.create()
    other.write("write -P 7 3M 1M")
    await commit_overlay(other.overlay)
    assert raw.read_bytes()[3 << 20 : 4 << 20] == b"\7" * (1 << 20)
    assert place.names() == ["base.qcow2", "disk.raw"]


@pytest.mark.root
async def test_block_device_is_merged_into(place: Place) -> None:
    raw = place.directory / "disk.raw"
    run("qemu-img", "convert", "-O", "raw", place.base, raw)
    device = Path(run("losetup", "--find", "--show", raw).strip())
    try:
        other = Place(place.directory, device, place.overlay)
        await other.create("raw")
        other.write("write -P 7 3M 1M")
        await commit_overlay(other.overlay)
        await other.create("raw")  # its time of modification tells nothing, and is not asked for
    finally:
        run("losetup", "--detach", device)
    assert raw.read_bytes()[3 << 20 : 4 << 20] == b"\7" * (1 << 20)


async def test_only_the_nearest_image_of_a_chain_is_written_to(place: Place) -> None:
    middle = place.directory / "middle.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", place.base, "-F", "qcow2", middle)
    before = place.base.read_bytes()
    upper = Place(place.directory, middle, place.overlay)
    await upper.create("qcow2")
    upper.write("write -P 5 0 64k")
    await commit_overlay(upper.overlay)
    assert place.base.read_bytes() == before
    run("qemu-io", "-r", "-f", "qcow2", "-c", "read -P 5 0 64k", "-c", "read -P 1 64k 64k", middle)


async def test_bitmaps_are_merged_exactly(place: Place) -> None:
    """The overlay's clusters are of 64 KiB; what counts as written is not."""
    run("qemu-img", "bitmap", "--add", "-g", "4096", place.base, "daily")
    run("qemu-io", "-f", "qcow2", "-c", "write -P 4 2M 8k", place.base)
    run("qemu-img", "bitmap", "--add", "-g", "4096", place.base, "hourly")
    run("qemu-img", "bitmap", "--add", "--disable", "-g", "4096", place.base, "closed")
    await place.create()
    place.write("write -P 5 10M 4k", "write -P 5 30M 128k")
    written = _pages(10 << 20, 4096) | _pages(30 << 20, 128 << 10)
    await commit_overlay(place.overlay)
    assert bitmaps(place.base) == {"daily": ["auto"], "hourly": ["auto"], "closed": []}
    assert dirty(place.base, "hourly") == written
    assert dirty(place.base, "daily") == written | _pages(2 << 20, 8192)
    assert dirty(place.base, "closed") == set()


async def test_bitmaps_go_on_recording_afterwards(place: Place) -> None:
    run("qemu-img", "bitmap", "--add", "-g", "4096", place.base, "daily")
    await place.create()
    await commit_overlay(place.overlay)
    run("qemu-io", "-f", "qcow2", "-c", "write -P 4 2M 8k", place.base)
    assert dirty(place.base, "daily") == _pages(2 << 20, 8192)


async def test_bitmap_that_only_the_overlay_has_goes_to_the_base(place: Place) -> None:
    await place.create()
    run("qemu-img", "bitmap", "--add", "-g", "4096", place.overlay, "new")
    place.write("write -P 5 10M 4k")
    await commit_overlay(place.overlay)
    assert bitmaps(place.base) == {"new": ["auto"]}
    assert dirty(place.base, "new") == _pages(10 << 20, 4096)


@pytest.mark.parametrize("how", ["killed", "removed", "disabled"])
async def test_base_bitmap_misses_nothing_though_the_overlays_is_lost(place: Place, how: str) -> None:
    """All that is copied then counts as written: more than needed, never less."""
    run("qemu-img", "bitmap", "--add", "-g", "4096", place.base, "daily")
    await place.create()
    place.write("write -P 5 10M 4k")
    if how == "killed":
        lose_bitmaps(place.overlay)
    elif how == "removed":
        run("qemu-img", "bitmap", "--remove", place.overlay, "daily")
    else:
        run("qemu-img", "bitmap", "--disable", place.overlay, "daily")
    await commit_overlay(place.overlay)
    assert bitmaps(place.base) == {"daily": ["auto"]}
    assert dirty(place.base, "daily") == _pages(10 << 20, 64 << 10)


async def test_lost_bitmap_of_the_base_stays_lost(place: Place) -> None:
    """A namesake in the overlay knows only of what was written there."""
    run("qemu-img", "bitmap", "--add", place.base, "lost")
    lose_bitmaps(place.base)
    await place.create()
    run("qemu-img", "bitmap", "--add", place.overlay, "lost")
    place.write("write -P 5 10M 4k")
    await commit_overlay(place.overlay)
    assert bitmaps(place.base) == {"lost": ["in-use", "auto"]}


@pytest.mark.root
async def test_full_disk_costs_nothing_and_the_commit_can_be_ended(place: Place, small_disk: Path) -> None:
    base = small_disk / "base.qcow2"
    run("qemu-img", "bitmap", "--add", "-g", "4096", place.base, "daily")
    base.write_bytes(place.base.read_bytes())
    upper = Place(place.directory, base, place.overlay)
    await upper.create()
    upper.write("write -P 6 8M 30M")
    expected = place.directory / "expected"
    run("qemu-img", "convert", "-O", "raw", place.overlay, expected)
    with pytest.raises(DriveError, match=r"No space left on device.*run the commit again") as caught:
        await commit_overlay(upper.overlay)
    assert "\n" not in str(caught.value)
    run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", expected, upper.overlay)
    done = overlay_program("discard", upper.overlay)
    assert done.returncode == 1
    assert "a commit of it was interrupted" in done.stderr
    upper.write("write -P 7 20M 64k")  # it is as good as before
    run("qemu-img", "convert", "-O", "raw", upper.overlay, expected)
    run("mount", "-o", "remount,size=80M", small_disk)
    await commit_overlay(upper.overlay)
    run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", expected, base)
    run("qemu-img", "check", base)
    assert dirty(base, "daily") == _pages(8 << 20, 30 << 20)
    assert not upper.overlay.exists()


async def test_overlay_in_use_is_refused_with_who(place: Place) -> None:
    await place.create()
    with (
        opened(place.overlay) as pid,
        pytest.raises(DriveError, match=rf"overlay\.qcow2: is in use by process {pid}"),
    ):
        await commit_overlay(place.overlay)
    assert place.names() == ["base.qcow2", "overlay.qcow2"]


async def test_base_that_somebody_only_reads_is_refused_with_who(place: Place) -> None:
    await place.create()
    with opened(place.base, writable=False) as pid, pytest.raises(DriveError, match=rf"base\.qcow2: .* process {pid}"):
        await commit_overlay(place.overlay)
    assert place.names() == ["base.qcow2", "overlay.qcow2"]


async def test_base_that_was_resized_is_refused(place: Place) -> None:
    await place.create()
    run("qemu-img", "resize", place.base, "65M")
    os.removexattr(place.overlay, "user.guestmount-py.base")
    with pytest.raises(DriveError, match="has another size"):
        await commit_overlay(place.overlay)


async def test_base_that_was_written_to_is_refused(place: Place) -> None:
    await place.create()
    run("qemu-io", "-f", "qcow2", "-c", "write -P 9 32M 4k", place.base)
    before = place.base.read_bytes()
    with pytest.raises(DriveError, match="was written to since"):
        await commit_overlay(place.overlay)
    assert place.base.read_bytes() == before


_SLOWLY = """
import sys
from guestmount_py import overlay_cli
from guestmount_py.storage_daemon import StorageDaemon

execute = StorageDaemon.execute

async def slowly(self, command, **arguments):
    more = {"speed": 1 << 20} if command == "block-commit" else {}
    return await execute(self, command, **arguments, **more)

StorageDaemon.execute = slowly
sys.exit(overlay_cli.main(sys.argv[1:]))
"""
"""A commit that copies 1 MiB a second, so that it is in the middle of it when it is stopped."""


def interrupted_commit(place: Place, number: int) -> tuple[int, str]:
    """Interrupt a commit when its journal is made; return its status and what it said."""
    program = [sys.executable, "-c", _SLOWLY, "commit", str(place.overlay)]
    command = ["env", "--default-signal=HUP,INT", *program]  # whatever these tests were started by
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not place.overlay.with_name("overlay.qcow2.commit").exists():
            assert process.poll() is None
        process.send_signal(number)
        _, said = process.communicate()
    return process.returncode, said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_interrupted_commit_says_what_to_do_and_can_be_ended(place: Place, number: int) -> None:
    run("qemu-img", "bitmap", "--add", "-g", "4096", place.base, "daily")
    await place.create()
    place.write("write -P 8 4M 60M")
    returncode, said = interrupted_commit(place, number)
    assert returncode == 130
    assert said.count("\n") == 1
    assert "interrupted: run the commit again" in said
    await commit_overlay(place.overlay)
    run("qemu-img", "check", place.base)
    run("qemu-io", "-r", "-f", "qcow2", "-c", "read -P 8 4M 60M", place.base)
    assert dirty(place.base, "daily") == _pages(4 << 20, 60 << 20)
    assert place.names() == ["base.qcow2"]


def kill_commit(place: Place) -> None:
    """Kill a commit when it has begun to write to the base."""
    program = [sys.executable, "-c", _SLOWLY, "commit", str(place.overlay)]
    with subprocess.Popen(program, stderr=subprocess.DEVNULL) as process:
        while "user.guestmount-py.commit" not in os.listxattr(place.overlay):
            assert process.poll() is None
        process.kill()
    while users_of(place.base):  # qemu's ends a moment later
        time.sleep(0.01)


async def test_overlay_that_is_renamed_while_a_commit_is_interrupted_is_kept_until_that_is_ended(place: Place) -> None:
    """The base holds a part, so that the overlay is the only whole copy, whatever it is called."""
    await place.create()
    place.write("write -P 8 4M 60M")
    kill_commit(place)
    former, journal = place.overlay, place.overlay.with_name("overlay.qcow2.commit")
    overlay = former.rename(place.overlay.with_name("renamed.qcow2"))
    for work in (discard_overlay, commit_overlay):
        with pytest.raises(DriveError, match=f"interrupted when it was called {former}.*rename overlay.qcow2.commit"):
            await work(overlay)
    with pytest.raises(DriveError, match="had this name when a commit of it was interrupted"):
        await place.create()
    journal.rename(overlay.with_name("renamed.qcow2.commit"))
    with pytest.raises(DriveError, match="end it with 'guestmount-py overlay commit"):
        await discard_overlay(overlay)
    await commit_overlay(overlay)
    run("qemu-io", "-r", "-f", "qcow2", "-c", "read -P 8 4M 60M", place.base)
    assert place.names() == ["base.qcow2"]
