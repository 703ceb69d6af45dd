"""Images whose bytes are not what the guest sees, or may cease to be: they are not read directly."""

import hashlib
import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.guestmount_py.images import opened_for_writing
from tests.guests.cache import run
from tests.guests.disk import mounted
from tests.guests.mapped import contents_of, empty_image, loop_devices
from tests.system.sandbox import Sandbox

pytestmark = [pytest.mark.appliance, pytest.mark.fuse, pytest.mark.root]

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
