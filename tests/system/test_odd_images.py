"""Images and names that trip tools which take things for simpler than they are."""

import os
from pathlib import Path
from typing import Final

import pytest

from tests.guests.cache import run
from tests.guests.disk import mounted
from tests.system.sandbox import Sandbox

pytestmark = [pytest.mark.appliance, pytest.mark.fuse, pytest.mark.root]

_MIB: Final = 1 << 20


@pytest.fixture
def disk(sandbox: Sandbox) -> Path:
    """A whole-disk ext4 image with a file that has the name of the appliance's device for this very disk."""
    image = sandbox.directory / "disk.img"
    run("mke2fs", "-q", "-t", "ext4", "-F", image, "32M")
    with mounted(image, "-o", "loop") as directory:
        (directory / "dev").mkdir()
        (directory / "dev/sda").write_bytes(_pattern())
        (directory / "dev/vda").write_bytes(_pattern())
    return image


def _pattern() -> bytes:
    return bytes(range(256)) * (4 * _MIB // 256)


def test_file_named_like_a_device_is_read_as_the_file(sandbox: Sandbox, disk: Path) -> None:
    with sandbox.mounted(disk, ["/dev/sda"], "--format=raw") as mountpoint:
        for name in ("sda", "vda"):
            assert (mountpoint / "dev" / name).read_bytes() == _pattern()


def test_image_that_is_a_block_device(sandbox: Sandbox, disk: Path) -> None:
    device = Path(run("losetup", "--find", "--show", "--read-only", disk).strip())
    try:
        with sandbox.mounted(device, ["/dev/sda"], "--format=raw") as mountpoint:
            assert (mountpoint / "dev/vda").read_bytes() == _pattern()
    finally:
        run("losetup", "--detach", device)


def test_names_of_255_characters_that_take_765_bytes(sandbox: Sandbox) -> None:
    image = sandbox.directory / "windows.img"
    with image.open("wb") as file:
        file.truncate(32 * _MIB)
    run("mkntfs", "--quiet", "--fast", "--force", image)
    name = "\u6f22" * 255
    with mounted(image, "-t", "ntfs-3g") as directory:
        (directory / name).write_text("long")
        (directory / "short").write_text("beside it")
    with sandbox.mounted(image, ["/dev/sda"], "--format=raw") as mountpoint:
        assert {name, "short"} <= {entry.name for entry in os.scandir(mountpoint)}
        assert (mountpoint / "short").read_text() == "beside it"
        # Linux lets no program name more than 255 bytes (NAME_MAX of fs/fuse), but listing shows it.
        assert len(os.fsencode(name)) == 765
