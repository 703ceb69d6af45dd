"""Room on the host runs out before the guest's kernel finds out."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pyfuse3
import pytest
import trio

from guestmount_py.host_space import MARGIN_BYTES, HostSpace, can_grow
from tests.guests.cache import run

_MIB = 1 << 20
pytestmark = pytest.mark.root


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A filesystem with 8 MiB above the margin."""
    directory = tmp_path / "small"
    directory.mkdir()
    run("mount", "-t", "tmpfs", "-o", f"size={MARGIN_BYTES + 8 * _MIB}", "none", directory)
    yield directory
    run("umount", directory)


class _Guest:
    """Holds back what it is given until it is flushed."""

    def __init__(self, directory: Path) -> None:
        self.image = directory / "image"
        self.image.touch()
        os.truncate(self.image, 1 << 30)
        self.held = 0
        self.at = 0
        self.flushes = 0

    async def flush(self) -> None:
        self.flushes += 1
        await trio.lowlevel.checkpoint()
        with self.image.open("r+b") as file:
            file.seek(self.at)
            self.at += file.write(bytes(b"x" * self.held))
        self.held = 0


async def _has_taken(space: HostSpace) -> bool:
    try:
        await space.take(_MIB)
    except pyfuse3.FUSEError as exc:
        return exc.errno != errno.ENOSPC
    return True


async def test_writer_is_told_before_the_margin_is_touched(small: Path) -> None:
    guest = _Guest(small)
    space = HostSpace([guest.image], guest.flush)
    taken = 0
    while taken < 100 and await _has_taken(space):
        guest.held += _MIB
        taken += 1
    assert taken in (7, 8)
    await guest.flush()  # and all that was taken fits
    found = os.statvfs(small)
    assert found.f_bavail * found.f_frsize >= MARGIN_BYTES


async def test_what_takes_no_room_can_go_on(small: Path) -> None:
    """Writing the same place again: after a flush it is seen that nothing was taken."""
    guest = _Guest(small)
    space = HostSpace([guest.image], guest.flush)
    for _ in range(100):
        await space.take(_MIB)
    assert 0 < guest.flushes < 30


async def test_room_that_comes_back_is_taken(small: Path) -> None:
    guest = _Guest(small)
    space = HostSpace([guest.image], guest.flush)
    filler = small / "filler"
    filler.write_bytes(bytes(b"x" * 8 * _MIB))
    assert not await _has_taken(space)
    filler.unlink()
    await space.take(_MIB)


async def test_image_that_is_all_there_takes_no_room(small: Path) -> None:
    image = small / "whole"
    with image.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 36 * _MIB)
    assert not can_grow(image)
    await HostSpace([image], trio.lowlevel.checkpoint).take(_MIB)


def test_images_that_grow_are_known(tmp_path: Path) -> None:
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", tmp_path / "a", "4M")
    run("qemu-img", "create", "-q", "-f", "raw", tmp_path / "b", "4M")
    assert can_grow(tmp_path / "a")
    assert can_grow(tmp_path / "b")
    assert not can_grow(Path("/dev/null"))


async def test_several_at_once_are_counted_together(small: Path) -> None:
    guest = _Guest(small)
    space = HostSpace([guest.image], guest.flush)
    taken = 0

    async def write() -> None:
        nonlocal taken
        while taken < 100 and await _has_taken(space):
            guest.held += _MIB
            taken += 1

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(write)
    assert taken <= 8


@pytest.mark.parametrize("form", ["qcow2", "qed", "vmdk", "vdi", "vpc", "vhdx", "parallels"])
def test_image_that_grows_is_watched_though_it_has_no_holes(tmp_path: Path, form: str) -> None:
    created, image = tmp_path / "created", tmp_path / "image"
    run("qemu-img", "create", "-q", "-f", form, created, "64M")
    run("cp", "--sparse=never", created, image)
    assert image.stat().st_blocks * 512 >= image.stat().st_size
    assert can_grow(image)


def test_link_to_an_image_is_watched_where_the_image_is(small: Path, tmp_path: Path) -> None:
    guest = _Guest(small)
    link = tmp_path / "link"
    link.symlink_to(guest.image)
    space = HostSpace([link], guest.flush)
    with pytest.raises(pyfuse3.FUSEError) as caught:
        trio.run(space.take, 9 * _MIB)
    assert caught.value.errno == errno.ENOSPC
