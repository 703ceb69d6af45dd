"""The same disk, mounted for writing twice over: by the host's kernel, the reference, and by guestmount-py."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from tests.guests.cache import run
from tests.guests.disk import create_disk, loop_device
from tests.mount.conftest import mounted as served
from tests.posix.syscalls import APPEND_ONLY, IMMUTABLE, add_inode_flags
from tests.system.conftest import open_sandbox

FILESYSTEMS: Final = ("ext4", "xfs", "btrfs")
"""In partition order. Each is mounted below the first, on a directory of its name; there ext4 has a plain one."""
_SIZES_MIB: Final = (768, 512, 512)
FLAGGED: Final = {"immutable": IMMUTABLE, "append": APPEND_ONLY}
"""Flags that no call through FUSE can set: of a file of this name, and a directory of this name and ``-directory``."""
KERNELS: Final = "kernel"
DAEMONS: Final = "daemons"
STANDARD: Final = "standard"
OURS: Final = "rw"


def make_disk(image: Path) -> Path:
    """Make the disk anew, as btrfs refuses to mount two disks with the same identity."""
    create_disk(image, _SIZES_MIB)
    for number, filesystem in enumerate(FILESYSTEMS, start=1):
        with loop_device(image, number, read_only=False) as device:
            run(f"mkfs.{filesystem}", "-q", *(() if filesystem == "ext4" else ("-f",)), device)
    with mounted_by_kernel(image, mkdir=True) as root:
        for filesystem in FILESYSTEMS:
            for name, flags in FLAGGED.items():
                file, directory = root / filesystem / name, root / filesystem / f"{name}-directory"
                directory.mkdir()
                for path in (file, directory / "file"):
                    path.write_bytes(b"contents")
                for path in (file, directory):
                    add_inode_flags(path, flags)
    return image


@contextmanager
def mounted_by_kernel(image: Path, *, mkdir: bool = False) -> Iterator[Path]:
    """Mount all partitions of the disk for as long as the block runs; yields the root of the first."""
    root = image.with_name(f"{image.name}-mounted")
    root.mkdir()
    with ExitStack() as stack:
        stack.callback(root.rmdir)
        for number, filesystem in enumerate(FILESYSTEMS, start=1):
            device = stack.enter_context(loop_device(image, number, read_only=False))
            where = root / filesystem if number > 1 else root
            run("mount", "-t", filesystem, device, where)
            stack.callback(_unmount, where)
            if mkdir and number == 1:
                for name in FILESYSTEMS:
                    (root / name).mkdir()
        yield root


def _unmount(directory: Path) -> None:
    try:
        run("umount", directory)
    except RuntimeError:  # the test has left something open: nothing else may suffer from that
        run("umount", "--lazy", directory)
        raise


@contextmanager
def mounted_by_us(image: Path, appliance: Path, options: Sequence[str] = ()) -> Iterator[Path]:
    """Mount the disk by guestmount-py --rw; at the end it must unmount without complaint and leave nothing."""
    with open_sandbox(appliance) as sandbox:
        sandbox.directory.chmod(0o755)  # other users' processes have to get in
        words: list[str | Path] = [
            "--rw",
            "--format=raw",
            "-o",
            "allow_other",
            *options,
            "-a",
            image,
            "-m",
            "/dev/sda1",
        ]
        for number, filesystem in enumerate(FILESYSTEMS[1:], start=2):
            words += ["-m", f"/dev/sda{number}:/{filesystem}"]
        started = sandbox.guestmount(*words, sandbox.mountpoint)
        assert (started.returncode, started.stderr) == (0, ""), sandbox.log()
        try:
            yield sandbox.mountpoint
        finally:
            ended = sandbox.guestunmount()
        assert (ended.returncode, ended.stderr) == (0, ""), sandbox.log()


@contextmanager
def mounted_by_daemons(image: Path, *options: str) -> Iterator[Path]:
    """Mount the disk by the kernel, and each filesystem by FUSE through real daemons: everything of ours but qemu."""
    root = image.with_name("served")
    with mounted_by_kernel(image) as source, ExitStack() as stack:
        for filesystem in FILESYSTEMS:
            scratch, where = image.with_name(f"serving-{filesystem}"), root / filesystem
            scratch.mkdir()
            where.mkdir(parents=True)
            mounted = stack.enter_context(served(source / filesystem, scratch, "--rw", *options))
            run("mount", "--bind", mounted.path, where)
            stack.callback(_unmount, where)
        yield root


def check_filesystems(image: Path) -> None:
    """Let each filesystem's own checker look at what was written."""
    checkers = (("e2fsck", "-fn"), ("xfs_repair", "-n"), ("btrfs", "check", "--readonly"))
    for number, checker in enumerate(checkers, start=1):
        with loop_device(image, number, read_only=True) as device:
            run(*checker, device)
