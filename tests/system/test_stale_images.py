"""Images whose bytes are not what the guest sees, or may cease to be: they are not read directly."""

import hashlib
import json
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.guestmount_py.images import opened_for_writing
from tests.guests.cache import run
from tests.guests.disk import mounted
from tests.guests.mapped import contents_of, empty_image, loop_devices, remounted
from tests.system.sandbox import Sandbox
from tests.system.test_planes import statistics_after

pytestmark = [pytest.mark.appliance, pytest.mark.fuse, pytest.mark.root]

NAMES = ("a", "b", "c")
LOOK_S = 0.3
"""An image is looked at more often than this, however busy the machine is."""
OLD, NEW = (random.Random(seed).randbytes(200_001) for seed in (1, 2))


def planes_of(sandbox: Sandbox, image: Path, look: Callable[[Path], None]) -> set[str]:
    """Mount an image, look at it, and return the ways that its files' bytes came by."""
    stats = sandbox.directory / "stats.json"
    with sandbox.mounted(image, ["/dev/sda"], "--format=raw", "--stats", str(stats)) as mountpoint:
        look(mountpoint)
    return set(json.loads(stats.read_text())["planes"])


def copied_while_written(directory: Path) -> Path:
    """Return a copy of an ext4 disk, made when new contents were in the journal and the old ones in their places."""
    image, copy = empty_image(directory / "disk.img", 64), directory / "copy.img"
    with loop_devices([image]) as (device,):
        run("mkfs.ext4", "-q", "-b", "4096", device)
        with mounted(device) as root:
            for name in ("overwritten", "removed"):
                (root / name).write_bytes(OLD)
        with mounted(device, "-o", "data=journal") as root:
            with (root / "overwritten").open("r+b") as file:
                file.write(NEW)
            (root / "added").write_bytes(NEW)
            (root / "removed").unlink()
            descriptor = os.open(root, os.O_RDONLY)
            os.fsync(descriptor)  # the journal; of a file it would write the data to its place, too, as syncfs(2) does
            os.close(descriptor)
            run("cp", image, copy)
    assert "needs_recovery" in run("dumpe2fs", "-h", copy)
    data = copy.read_bytes()
    assert data.count(OLD[:4096]) == 2
    assert data.count(NEW[:4096]) >= 2
    return copy


def test_dirty_journal_is_replayed_and_no_stale_block_is_read(sandbox: Sandbox) -> None:
    image = copied_while_written(sandbox.directory)
    before = hashlib.sha256(image.read_bytes()).hexdigest()

    def look(mountpoint: Path) -> None:
        found = {place: data for place, data in contents_of(mountpoint).items() if data is not None}
        assert found == {"overwritten": NEW, "added": NEW}

    assert planes_of(sandbox, image, look) == {"export"}
    assert f"{image}: read through qemu: its overlay was written to" in sandbox.log()
    assert hashlib.sha256(image.read_bytes()).hexdigest() == before


def test_xfs_is_read_from_its_image_unless_its_log_has_to_be_replayed(sandbox: Sandbox) -> None:
    image, copy = empty_image(sandbox.directory / "disk.img", 320), sandbox.directory / "copy.img"
    with loop_devices([image]) as (device,):
        run("mkfs.xfs", "-q", device)
        with mounted(device) as root:
            (root / "file").write_bytes(OLD)
        with mounted(device) as root:
            with (root / "added").open("wb") as file:
                file.write(NEW)
                os.fsync(file.fileno())
            run("cp", image, copy)
        run("cp", image, image.with_suffix(".clean"))

    def look(mountpoint: Path) -> None:
        assert contents_of(mountpoint) == {"file": OLD, "added": NEW}

    assert planes_of(sandbox, image.with_suffix(".clean"), look) == {"raw"}
    assert planes_of(sandbox, copy, look) == {"export"}
    assert f"{copy}: read through qemu: its overlay was written to" in sandbox.log()


def test_image_that_another_qemu_may_write_is_read_by_the_guest(sandbox: Sandbox) -> None:
    image = empty_image(sandbox.directory / "disk.img", 64)
    with loop_devices([image]) as (device,):
        run("mkfs.ext4", "-q", device)
        with mounted(device) as root:
            (root / "file").write_bytes(OLD)

    def look(mountpoint: Path) -> None:
        assert (mountpoint / "file").read_bytes() == OLD

    with opened_for_writing(image, "raw"):
        assert planes_of(sandbox, image, look) <= {"stream", "pread"}
    assert f"another process has {image} open for writing" in sandbox.log()
    assert planes_of(sandbox, image, look) == {"raw"}


@pytest.fixture
def disk(sandbox: Sandbox) -> Path:
    """An image with three files, each of which is ``OLD``."""
    image = empty_image(sandbox.directory / "disk.img", 64)

    def fill(root: Path) -> None:
        for name in NAMES:
            (root / name).write_bytes(OLD)

    with remounted([image], ("mkfs.ext4", "-q"), fill):
        return image


@contextmanager
def counted(sandbox: Sandbox, image: Path) -> Iterator[tuple[Path, Callable[[], set[str]]]]:
    """Mount an image; yield the mount point, and what tells by which ways bytes came since it was last asked."""
    stats, pid = sandbox.directory / "stats.json", sandbox.directory / "pid"
    before: dict[str, dict[str, int]] = {}

    def planes() -> set[str]:
        nonlocal before
        now = statistics_after(sandbox, stats)["planes"]
        stats.unlink()
        new = {name for name, each in now.items() if each != before.get(name)}
        before = now
        return new

    options = ("--format=raw", "--stats", str(stats), "--pid-file", str(pid))
    with sandbox.mounted(image, ["/dev/sda"], *options) as mountpoint:
        yield mountpoint, planes


def test_image_that_another_qemu_comes_to_write_is_the_guests_from_then_on(sandbox: Sandbox, disk: Path) -> None:
    with counted(sandbox, disk) as (mountpoint, planes):
        assert (mountpoint / "a").read_bytes() == OLD
        assert planes() == {"raw"}
        with opened_for_writing(disk, "raw", read_only=True):
            assert (mountpoint / "b").read_bytes() == OLD
            assert planes() == {"raw"}
        with opened_for_writing(disk, "raw"):
            time.sleep(LOOK_S)
            assert (mountpoint / "c").read_bytes() == OLD
            assert planes() <= {"stream", "pread"}
        run("sh", "-c", f"echo 1 > /proc/sys/vm/drop_caches; cat {mountpoint}/a > {sandbox.directory}/copy")
        assert (sandbox.directory / "copy").read_bytes() == OLD
        assert "raw" not in planes()
    assert (
        f"from now on only the guest reads it, which may not see all changes: another process has {disk}"
        in sandbox.log()
    )


def test_image_that_any_program_wrote_to_is_the_guests_from_then_on(sandbox: Sandbox, disk: Path) -> None:
    with counted(sandbox, disk) as (mountpoint, planes):
        assert (mountpoint / "a").read_bytes() == OLD
        assert planes() == {"raw"}
        with disk.open("r+b") as image:
            image.seek(-1, os.SEEK_END)
            image.write(b"\0")
        time.sleep(LOOK_S)
        assert (mountpoint / "b").read_bytes() == OLD
        assert planes() <= {"stream", "pread"}
    assert f"which may not see all changes: {disk} was written to" in sandbox.log()


def test_file_of_an_image_that_was_truncated_is_eio(sandbox: Sandbox, disk: Path) -> None:
    """The guest would have zeros in it: so qemu shows what is behind an image's end."""
    with sandbox.mounted(disk, ["/dev/sda"], "--format=raw") as mountpoint:
        assert (mountpoint / "a").read_bytes() == OLD
        size_bytes = disk.stat().st_size
        os.truncate(disk, 4096)
        time.sleep(LOOK_S)
        for _ in range(2):
            with pytest.raises(OSError, match="Input/output error"):
                (mountpoint / "b").read_bytes()
        os.truncate(disk, size_bytes)
        with pytest.raises(OSError, match="Input/output error"):
            (mountpoint / "c").read_bytes()
        assert (mountpoint / "a").read_bytes() == OLD  # from the kernel's memory
    assert f"it was truncated from {size_bytes} bytes to 4096" in sandbox.log()
