"""The host writes an image out while data come, though nobody has asked for it."""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import trio
import trio.testing

from guestmount_py.write_out import EACH_BYTES, WriteOut, opened_write_out
from tests.guests.cache import run
from tests.system.conftest import open_sandbox
from tests.writing.machines import make_image

pytestmark = pytest.mark.root

WAIT_S: Final = 20.0
"""Shorter than Linux lets data lie by itself (vm.dirty_expire_centisecs)."""
_EXTENT: Final = re.compile(r"^ +\d+: +\d+\.\. +\d+: +\d+\.\. +\d+: +(\d+):.*", re.MULTILINE)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Path]:
    """A filesystem that gives data their place when it writes them out."""
    disk, directory = tmp_path / "host.img", tmp_path / "host"
    directory.mkdir()
    run("mke2fs", "-q", "-t", "ext4", disk, "384M")
    run("mount", "-o", "loop", disk, directory)
    yield directory
    run("umount", directory)


def placed_mib(path: Path) -> int:
    """Return how much of a file has a place on its disk, in MiB."""
    extents = _EXTENT.finditer(run("filefrag", "-v", "-b1048576", path))
    return sum(int(extent[1]) for extent in extents if "delalloc" not in extent[0])


def wait_until_placed(path: Path, size_mib: int) -> None:
    end_s = time.monotonic() + WAIT_S
    while placed_mib(path) < size_mib:
        assert time.monotonic() < end_s, f"{placed_mib(path)} MiB of {size_mib} are written out"
        time.sleep(0.05)


async def test_image_is_written_out(host: Path) -> None:
    image, pipe = host / "image", host / "pipe"
    image.write_bytes(os.urandom(32 << 20))
    os.mkfifo(pipe)
    async with opened_write_out([host / "missing", pipe, host, image]) as write_out:
        write_out.note(EACH_BYTES)
        await trio.to_thread.run_sync(wait_until_placed, image, 32)


async def begun_after(*counts: int) -> int:
    """Return how often something is written out when so many bytes are noted, one after the other."""
    begun = 0

    def begin() -> None:
        nonlocal begun
        begun += 1

    async with opened_write_out([]) as write_out:
        write_out._begin = begin  # type: ignore[method-assign]
        for count in counts:
            write_out.note(count)
            await trio.sleep(0.1)
    return begun


async def test_little_is_not_written_out() -> None:
    assert await begun_after(EACH_BYTES - 1) == 0
    assert await begun_after(EACH_BYTES - 1, 1, EACH_BYTES - 1) == 1
    assert await begun_after(EACH_BYTES, EACH_BYTES) == 2


async def test_disk_that_cannot_be_written_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    write_out = WriteOut({Path("disk.img"): -1})
    write_out._begin()
    assert caplog.messages == ["disk.img: what was written to it cannot be written out: Bad file descriptor"]


async def test_lack_of_threads_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_args: object, **_keywords: object) -> None:
        raise RuntimeError("can't start new thread")

    async with opened_write_out([]) as write_out:
        with monkeypatch.context() as patched:
            patched.setattr(trio.to_thread, "run_sync", refuse)
            write_out.note(EACH_BYTES)
            await trio.testing.wait_all_tasks_blocked()
        write_out.note(EACH_BYTES)
        await trio.testing.wait_all_tasks_blocked()


@pytest.mark.appliance
@pytest.mark.fuse
def test_mount_has_its_image_written_out(appliance_directory: Path, host: Path) -> None:
    with open_sandbox(appliance_directory) as sandbox:
        image = make_image(host / "disk.img", "ext4", "raw")
        run("sync", "--file-system", host)
        before_mib = placed_mib(image)
        # The guest's kernel has no reason to write anything out by itself.
        words = ("--rw", "--format=raw", "-a", image, "-m", "/dev/sda:/:commit=300", sandbox.mountpoint)
        assert sandbox.guestmount(*words).returncode == 0, sandbox.log()
        try:
            (sandbox.mountpoint / "file").write_bytes(os.urandom(48 << 20))
            wait_until_placed(image, before_mib + (EACH_BYTES >> 20))
        finally:
            assert sandbox.guestunmount().returncode == 0
        assert sandbox.left() == []
