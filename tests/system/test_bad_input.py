"""Whatever is wrong, guestmount-py says so in one line, ends with the documented status, and leaves nothing behind."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.guests.cache import run
from tests.system.sandbox import Sandbox

pytestmark = [pytest.mark.appliance, pytest.mark.fuse, pytest.mark.root]

FAILED: Final = 1
USAGE: Final = 2
DISK_MIB: Final = 8
# Root, but subject to file permissions like everybody else.
WITHOUT_ROOTS_PRIVILEGE: Final = (
    *("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"),
)
NOBODY: Final = 65534


@pytest.fixture
def disk(sandbox: Sandbox) -> Path:
    """A small whole-disk ext4 image."""
    image = sandbox.directory / "disk.img"
    run("mke2fs", "-q", "-t", "ext4", "-F", image, f"{DISK_MIB}M")
    return image


def refused(
    sandbox: Sandbox,
    image: Path,
    *options: str | Path,
    device: str = "/dev/sda",
    status: int = FAILED,
    prefix: Sequence[str] = (),
    environment: dict[str, str] | None = None,
) -> str:
    """Run guestmount-py, which must fail with one line; return what it said after its name."""
    arguments = (*options, "-a", image, "-m", device, "--ro", sandbox.mountpoint)
    finished = sandbox.guestmount(*arguments, prefix=prefix, environment=environment)
    return one_line(sandbox, finished, status)


def one_line(sandbox: Sandbox, finished: subprocess.CompletedProcess[str], status: int) -> str:
    assert finished.returncode == status, finished.stderr
    assert finished.stdout == ""
    (line,) = finished.stderr.splitlines()
    assert line.startswith("guestmount-py: ")
    assert sandbox.left() == []
    return line.removeprefix("guestmount-py: ")


def test_missing_image(sandbox: Sandbox) -> None:
    image = sandbox.directory / "missing.img"
    assert refused(sandbox, image) == f"{image}: no such image: check the name given to -a"


def test_empty_file(sandbox: Sandbox) -> None:
    image = sandbox.directory / "empty.img"
    image.touch()
    assert refused(sandbox, image) == f"{image}: is empty, not a disk image"


def test_text_file(sandbox: Sandbox) -> None:
    image = sandbox.directory / "notes.txt"
    image.write_text("This is not a disk.\n")
    assert f"{image}: not a disk image" in refused(sandbox, image)


def test_text_file_of_whole_sectors(sandbox: Sandbox) -> None:
    image = sandbox.directory / "notes.txt"
    image.write_text("This is not a disk either.\n" * 512)
    said = refused(sandbox, image, device="/dev/sda1")
    assert "/dev/sda1" in said
    assert "no filesystem was found" in said


def test_truncated_qcow2(sandbox: Sandbox, disk: Path) -> None:
    image = sandbox.directory / "disk.qcow2"
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", disk, image)
    os.truncate(image, image.stat().st_size // 2)
    said = refused(sandbox, image)
    assert said.startswith(f"{image}: ")
    assert "truncated" in said or "cut" in said or "ends" in said


def test_qcow2_with_a_backing_file_is_refused_until_its_format_is_named(sandbox: Sandbox, disk: Path) -> None:
    image = sandbox.directory / "overlay.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", disk, "-F", "raw", image)
    assert "pass --format=qcow2 if you trust it" in refused(sandbox, image)


def test_missing_backing_file(sandbox: Sandbox, disk: Path) -> None:
    image = sandbox.directory / "overlay.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", disk, "-F", "raw", image)
    disk.unlink()
    said = refused(sandbox, image, "--format=qcow2")
    assert said.startswith(f"{image}: ")
    assert str(disk) in said
    assert "No such file" in said


def test_partition_that_does_not_exist_names_those_that_do(sandbox: Sandbox, disk: Path) -> None:
    said = refused(sandbox, disk, device="/dev/sda7")
    assert said.startswith("cannot mount /dev/sda7: ")
    assert said.endswith("the filesystems are /dev/sda (ext4)")


def test_disk_that_does_not_exist(sandbox: Sandbox, disk: Path) -> None:
    assert refused(sandbox, disk, device="/dev/sdb1").startswith("cannot mount /dev/sdb1: ")


def test_filesystem_given_twice(sandbox: Sandbox, disk: Path) -> None:
    said = refused(sandbox, disk, "-m", "/dev/sda", device="/dev/sda:/lost+found", status=USAGE)
    assert said.startswith("-m /dev/sda")
    assert said.endswith("show the same filesystem: give each place only once")


def test_image_whose_name_is_not_utf8(sandbox: Sandbox, disk: Path) -> None:
    image = disk.rename(disk.with_name("disk\udcff.img"))
    assert "give the image a symlink" in refused(sandbox, image)


def test_unknown_filesystem(sandbox: Sandbox) -> None:
    image = sandbox.directory / "random.img"
    image.write_bytes(bytes(index * 37 % 255 + 1 for index in range(1 << 20)))
    said = refused(sandbox, image, "--format=raw")
    assert said.startswith("cannot mount /dev/sda: ")
    assert said.endswith("no filesystem was found on any disk")


def test_mountpoint_that_does_not_exist(sandbox: Sandbox, disk: Path) -> None:
    sandbox.mountpoint.rmdir()
    assert refused(sandbox, disk) == f"{sandbox.mountpoint}: no such directory: create it first"


def test_mountpoint_that_is_a_file(sandbox: Sandbox, disk: Path) -> None:
    sandbox.mountpoint.rmdir()
    sandbox.mountpoint.touch()
    assert refused(sandbox, disk) == f"{sandbox.mountpoint}: is not a directory"


def test_mountpoint_that_is_not_empty_warns_and_mounts(sandbox: Sandbox, disk: Path) -> None:
    (sandbox.mountpoint / "hidden").touch()
    started = sandbox.guestmount("-a", disk, "-m", "/dev/sda", "--ro", sandbox.mountpoint)
    try:
        assert started.returncode == 0
        assert started.stderr == (
            f"guestmount-py: warning: {sandbox.mountpoint} is not empty: "
            "its files are hidden while the guest is mounted on it\n"
        )
        assert [path.name for path in sandbox.mountpoint.iterdir()] == ["lost+found"]
    finally:
        ended = sandbox.guestunmount()
    assert ended.returncode == 0
    assert sandbox.left() == []


def test_image_without_read_permission(sandbox: Sandbox, disk: Path) -> None:
    os.chown(disk, NOBODY, NOBODY)
    disk.chmod(0o600)
    said = refused(sandbox, disk, prefix=WITHOUT_ROOTS_PRIVILEGE)
    assert said == f"{disk}: permission denied: you need read permission on the image"


def test_no_fuse_device(sandbox: Sandbox, disk: Path) -> None:
    # In a mount namespace of its own, where /dev/fuse is no device.
    hide = 'mount --bind "$0" /dev/fuse && exec "$@"'
    said = refused(sandbox, disk, prefix=("unshare", "--mount", "sh", "-c", hide, __file__))
    assert said.startswith("/dev/fuse: not there: ")


def test_no_qemu_installed(sandbox: Sandbox, disk: Path) -> None:
    said = refused(sandbox, disk, environment={"PATH": str(_programs_without(sandbox, "qemu-system-x86_64"))})
    assert said == "qemu-system-x86_64 is not installed: install the package qemu-system-x86"


def test_no_qemu_img_installed(sandbox: Sandbox, disk: Path) -> None:
    said = refused(sandbox, disk, environment={"PATH": str(_programs_without(sandbox, "qemu-img"))})
    assert said == "qemu-img is not installed: install the package qemu-utils"


def _programs_without(sandbox: Sandbox, missing: str) -> Path:
    """Make a directory for PATH that has the programs guestmount-py runs, but one."""
    directory = sandbox.directory / "bin"
    directory.mkdir()
    for name in {"qemu-system-x86_64", "qemu-img", "fusermount3", "setpriv", "apt-get", "dpkg-deb"} - {missing}:
        program = shutil.which(name)
        assert program is not None
        (directory / name).symlink_to(program)
    return directory


def test_unwritable_cache_directory(sandbox: Sandbox, disk: Path) -> None:
    cache = sandbox.directory / "cache"
    cache.mkdir(mode=0o555)
    said = refused(
        sandbox,
        disk,
        prefix=WITHOUT_ROOTS_PRIVILEGE,
        environment={"LIBGUESTFS_PATH": "", "LIBGUESTFS_CACHEDIR": str(cache)},
    )
    assert str(cache) in said
    assert "Permission denied" in said
    assert "set LIBGUESTFS_CACHEDIR to a directory" in said


@pytest.fixture
def small_filesystem(sandbox: Sandbox) -> Iterator[Path]:
    """A directory with room for the package lists, but not for what they describe."""
    directory = sandbox.directory / "small"
    directory.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=96m,mode=0700", "small", directory)
    try:
        yield directory
    finally:
        run("umount", directory)


def test_disk_full_during_the_build(sandbox: Sandbox, disk: Path, small_filesystem: Path) -> None:
    finished = sandbox.guestmount(
        *("-a", disk, "-m", "/dev/sda", "--ro", sandbox.mountpoint),
        environment={"LIBGUESTFS_PATH": "", "LIBGUESTFS_CACHEDIR": str(small_filesystem)},
    )
    assert finished.returncode == FAILED
    *progress, last = finished.stderr.splitlines()
    assert all(line.startswith("guestmount-py: ") for line in (*progress, last))
    assert str(small_filesystem) in last
    assert "No space left on device" in last or "enough free space" in last
    assert sandbox.left() == []
    # Downloads stay, for the next try; half-built things do not.
    assert not list(small_filesystem.glob("guestmount-py/building-*"))
    assert not list(small_filesystem.glob("guestmount-py/appliance-*"))


def test_unknown_image_format_is_named_with_those_known(sandbox: Sandbox, disk: Path) -> None:
    assert "unknown format zip" in refused(sandbox, disk, "--format=zip")


def test_unknown_option_is_a_usage_error(sandbox: Sandbox, disk: Path) -> None:
    assert "--no-such-option" in refused(sandbox, disk, "--no-such-option", status=USAGE)


def test_no_image_is_a_usage_error(sandbox: Sandbox) -> None:
    finished = sandbox.guestmount("-m", "/dev/sda1", sandbox.mountpoint)
    assert "no disk image" in one_line(sandbox, finished, USAGE)


def test_unmounting_what_is_not_mounted(sandbox: Sandbox) -> None:
    finished = sandbox.guestunmount()
    assert (finished.returncode, finished.stderr) == (3, f"guestunmount-py: {sandbox.mountpoint}: not mounted\n")
