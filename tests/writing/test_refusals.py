"""What cannot be written to is refused in one line that offers --ro; what is full says so and stays mounted."""

import errno
import hashlib
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from tests.guestmount_py.images import opened_for_writing
from tests.guests.cache import run
from tests.posix.syscalls import forget_files, refused
from tests.system.conftest import open_sandbox
from tests.system.sandbox import Sandbox
from tests.system.test_bad_input import WITHOUT_ROOTS_PRIVILEGE

pytestmark = [pytest.mark.appliance, pytest.mark.fuse, pytest.mark.root]

PIECE: Final = os.urandom(1 << 20)


@pytest.fixture
def sandbox(appliance_directory: Path) -> Iterator[Sandbox]:
    """Give a test a sandbox; the test fails if it leaves anything behind."""
    with open_sandbox(appliance_directory) as opened:
        yield opened


def ext4_image(directory: Path, size_mib: int, *options: str) -> Path:
    image = directory / "disk.img"
    run("mke2fs", "-q", "-t", "ext4", "-F", *options, image, f"{size_mib}M")
    return image


def refusal(sandbox: Sandbox, image: Path, *options: str, prefix: tuple[str, ...] = ()) -> str:
    """Mount with --rw, which must be refused; return the line that said why. The image must not have changed."""
    before = hashlib.sha256(image.read_bytes()).digest()
    words: tuple[str | Path, ...] = (
        "--rw",
        "--format=raw",
        *options,
        "-a",
        image,
        "-m",
        "/dev/sda",
        sandbox.mountpoint,
    )
    finished = sandbox.guestmount(*words, prefix=prefix)
    assert (finished.returncode, finished.stdout) == (1, ""), finished.stderr
    (line,) = finished.stderr.splitlines()
    assert line.startswith("guestmount-py: ")
    assert "--ro" in line
    assert not sandbox.mountpoint.is_mount()
    assert hashlib.sha256(image.read_bytes()).digest() == before
    return line


@contextmanager
def mounted_for_writing(sandbox: Sandbox, image: Path, *options: str, device: str = "/dev/sda") -> Iterator[Path]:
    words: tuple[str | Path, ...] = ("--rw", "--format=raw", *options, "-a", image, "-m", device, sandbox.mountpoint)
    started = sandbox.guestmount(*words)
    assert started.returncode == 0, started.stderr + sandbox.log()
    try:
        yield sandbox.mountpoint
    finally:
        ended = sandbox.guestunmount()
    assert (ended.returncode, ended.stderr) == (0, ""), sandbox.log()
    assert sandbox.left() == []


def still_mounts_read_only(sandbox: Sandbox, image: Path) -> None:
    with sandbox.mounted(image, ["/dev/sda"], "--format=raw") as root:
        assert list(root.iterdir())


def test_image_file_that_may_not_be_written_to(sandbox: Sandbox) -> None:
    image = ext4_image(sandbox.directory, 8)
    image.chmod(0o444)
    said = refusal(sandbox, image, prefix=WITHOUT_ROOTS_PRIVILEGE)
    assert str(image) in said
    assert "Permission denied" in said


def test_image_on_a_filesystem_that_is_read_only(sandbox: Sandbox) -> None:
    ext4_image(sandbox.directory, 8)
    shown = sandbox.directory / "shown"
    shown.mkdir()
    run("mount", "--bind", "-o", "ro", sandbox.directory, shown)
    try:
        assert "Read-only file system" in refusal(sandbox, shown / "disk.img")
    finally:
        run("umount", shown)


def test_image_that_another_qemu_has_open(sandbox: Sandbox) -> None:
    image = ext4_image(sandbox.directory, 8)
    with opened_for_writing(image, "raw"):
        said = refusal(sandbox, image)
    assert f"{image}: is in use by process " in said
    with mounted_for_writing(sandbox, image):
        pass


def test_image_that_another_mount_writes_to_and_one_that_reads_it(sandbox: Sandbox, appliance_directory: Path) -> None:
    image = ext4_image(sandbox.directory, 8)
    with open_sandbox(appliance_directory) as other, mounted_for_writing(other, image) as root:
        qemu = other.processes("qemu-system")[0]
        words = ("--rw", "--format=raw", "-a", image, "-m", "/dev/sda", sandbox.mountpoint)
        finished = sandbox.guestmount(*words)
        assert finished.returncode == 1
        pattern = r"is in use by process (.+): unmount it or shut that down first, or use --ro\n"
        (users,) = re.findall(pattern, finished.stderr)
        assert f"{qemu} (qemu-system-x86)" in users.split(", ")
        (root / "file").write_bytes(b"undisturbed")
        assert (root / "file").read_bytes() == b"undisturbed"


def test_guest_that_is_full_says_so_and_goes_on(sandbox: Sandbox) -> None:
    image = ext4_image(sandbox.directory, 16)
    with mounted_for_writing(sandbox, image) as root:
        (root / "kept").write_bytes(PIECE)
        with refused(errno.ENOSPC):
            fill(root / "big", 32)
        forget_files()
        assert (root / "kept").read_bytes() == PIECE
        with refused(errno.ENOSPC):
            for number in range(100_000):
                (root / f"small-{number}").write_bytes(PIECE[:4096])
        (root / "big").unlink()
        (root / "again").write_bytes(PIECE)
        assert (root / "again").read_bytes() == PIECE
        assert os.statvfs(root).f_bfree > 0
    run("e2fsck", "-fn", image)
    for name in ("kept", "again"):
        assert on_disk(image, name) == PIECE


def on_disk(image: Path, name: str) -> bytes:
    """Return what a file of a raw image holds, read by nobody's kernel."""
    out = image.with_name("dumped")
    run("debugfs", "-R", f"dump {name} {out}", image)
    return out.read_bytes()


def fill(file: Path, pieces: int) -> None:
    """Write so many MiB and sync them; what cannot be written must be told by a write, by fsync or by close."""
    descriptor = os.open(file, os.O_CREAT | os.O_WRONLY)
    try:
        for _ in range(pieces):
            assert os.write(descriptor, PIECE) > 0
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("format_", ["raw", "qcow2"])
def test_host_that_is_full_says_so_and_goes_on(sandbox: Sandbox, format_: str) -> None:
    small = sandbox.directory / "small"
    small.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=80M", "none", small)
    try:
        image = small / "disk.img"
        run("mke2fs", "-q", "-t", "ext4", "-F", sandbox.directory / "disk.img", "256M")
        run("qemu-img", "convert", "-f", "raw", "-O", format_, sandbox.directory / "disk.img", image)
        with mounted_for_writing(sandbox, image, f"--format={format_}") as root:
            (root / "kept").write_bytes(PIECE)
            with refused(errno.ENOSPC):
                fill(root / "big", 100)
            forget_files()
            assert (root / "kept").read_bytes() == PIECE
            assert (root / "big").exists()
        run("qemu-img", "convert", "-f", format_, "-O", "raw", image, sandbox.directory / "disk.img")
        run("e2fsck", "-fn", sandbox.directory / "disk.img")
        assert on_disk(sandbox.directory / "disk.img", "kept") == PIECE
    finally:
        run("umount", small)


@pytest.fixture
def small_host(sandbox: Sandbox) -> Iterator[Path]:
    """A filesystem of the host's with little room, beside which others may write."""
    small = sandbox.directory / "small"
    small.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=80M", "none", small)
    try:
        yield small
    finally:
        run("umount", small)


@pytest.mark.parametrize("is_synchronised", [True, False])
@pytest.mark.parametrize("format_", ["raw", "qcow2"])
def test_host_that_another_program_fills_is_told_of_what_was_promised(
    sandbox: Sandbox, small_host: Path, format_: str, is_synchronised: bool
) -> None:
    """The guest was given the data, and finds no room when it writes them out."""
    image = small_host / "disk.img"
    run("mke2fs", "-q", "-t", "ext4", "-F", sandbox.directory / "disk.img", "256M")
    run("qemu-img", "convert", "-f", "raw", "-O", format_, sandbox.directory / "disk.img", image)
    words = ("--rw", f"--format={format_}", "-a", image, "-m", "/dev/sda", sandbox.mountpoint)
    assert sandbox.guestmount(*words).returncode == 0
    try:
        with (sandbox.mountpoint / "kept").open("wb") as kept:
            kept.write(PIECE)
            kept.flush()
            os.fsync(kept.fileno())
        descriptor = os.open(sandbox.mountpoint / "lost", os.O_CREAT | os.O_WRONLY)
        os.lseek(descriptor, 1, os.SEEK_SET)  # whole pages would be on the disk already
        for _ in range(8):
            os.write(descriptor, PIECE)
        assert os.fstat(descriptor).st_size == 1 + 8 * len(PIECE)  # so the guest has it
        with suppress(OSError), (small_host / "others").open("wb", buffering=0) as others:
            while others.write(PIECE):
                pass
        if is_synchronised:
            with refused(errno.ENOSPC, errno.EIO):
                os.fsync(descriptor)
        os.close(descriptor)
    finally:
        ended = sandbox.guestunmount()
    (line,) = ended.stderr.splitlines()
    assert ended.returncode == 1
    assert "not everything was written: " in line
    assert os.strerror(errno.ENOSPC) in line or os.strerror(errno.EIO) in line
    assert sandbox.left() == []
    (small_host / "others").unlink()
    with sandbox.mounted(image, ["/dev/sda"], f"--format={format_}") as root:
        assert (root / "kept").read_bytes() == PIECE


def test_ntfs_that_was_hibernated(sandbox: Sandbox) -> None:
    image = sandbox.directory / "disk.img"
    with image.open("wb") as file:
        file.truncate(32 << 20)
    run("mkntfs", "--quiet", "--fast", "--force", image)
    where = sandbox.directory / "filling"
    where.mkdir()
    run("ntfs-3g", image, where)
    (where / "hiberfil.sys").write_bytes(b"hibr" + bytes(8188))
    run("umount", where)
    assert "/dev/sda" in refusal(sandbox, image)
    with sandbox.mounted(image, ["/dev/sda"], "--format=raw", warning="hibernated") as root:
        assert list(root.iterdir())


def test_filesystem_feature_that_allows_only_reading(sandbox: Sandbox) -> None:
    image = ext4_image(sandbox.directory, 8)
    run("tune2fs", "-O", "read-only", image)
    assert "/dev/sda" in refusal(sandbox, image)
    still_mounts_read_only(sandbox, image)


def test_guests_filesystem_mounted_read_only_by_its_options(sandbox: Sandbox) -> None:
    image = ext4_image(sandbox.directory, 8)
    with mounted_for_writing(sandbox, image, device="/dev/sda:/:ro") as root:
        with refused(errno.EROFS):
            (root / "file").write_bytes(b"")
        with refused(errno.EROFS):
            (root / "lost+found").rmdir()


def test_unmounting_after_qemu_died_says_that_not_everything_was_written(sandbox: Sandbox) -> None:
    image = ext4_image(sandbox.directory, 16)
    words = ("--rw", "--format=raw", "-a", image, "-m", "/dev/sda", sandbox.mountpoint)
    assert sandbox.guestmount(*words).returncode == 0
    (sandbox.mountpoint / "file").write_bytes(PIECE)
    (qemu,) = sandbox.processes("qemu-system")
    subprocess.run(["kill", "-9", str(qemu)], check=True)
    with refused(errno.EIO):
        fill(sandbox.mountpoint / "more", 1)
    ended = sandbox.guestunmount()
    assert ended.returncode != 0
    assert len(ended.stderr.splitlines()) == 1
    assert sandbox.left() == []
