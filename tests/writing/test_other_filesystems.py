"""Writing to filesystems whose names have several spellings, or that have no owners, modes or inode numbers."""

import errno
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.guests.cache import run
from tests.posix.syscalls import refused
from tests.system.conftest import open_sandbox
from tests.system.sandbox import Sandbox

pytestmark = [pytest.mark.appliance, pytest.mark.fuse, pytest.mark.root]

MAKERS: Final = {
    "vfat": ("mkfs.vfat",),
    "exfat": ("mkfs.exfat",),
    "ntfs": ("mkntfs", "--quiet", "--fast", "--force"),
    "f2fs": ("mkfs.f2fs", "-q"),
}
FOLDING: Final = ("vfat", "exfat")
"""Those that take another case for the same name, and keep neither owners nor modes."""
FILES: Final = {f"Folder {number % 5}/File {number}.txt": os.urandom(number * 300) for number in range(40)}


@pytest.fixture(params=MAKERS)
def filesystem(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sandbox(appliance_directory: Path) -> Iterator[Sandbox]:
    with open_sandbox(appliance_directory) as opened:
        yield opened


@pytest.fixture
def root(sandbox: Sandbox, filesystem: str) -> Iterator[Path]:
    """Mount an empty filesystem for writing; at the end nothing may have been lost."""
    image = sandbox.directory / "disk.img"
    with image.open("wb") as file:
        file.truncate(128 << 20)
    run(*MAKERS[filesystem], image)
    words = ("--rw", "--format=raw", "-a", image, "-m", "/dev/sda", sandbox.mountpoint)
    started = sandbox.guestmount(*words)
    assert started.returncode == 0, started.stderr + sandbox.log()
    yield sandbox.mountpoint
    ended = sandbox.guestunmount()
    assert (ended.returncode, ended.stderr) == (0, ""), sandbox.log()
    with sandbox.mounted(image, ["/dev/sda"], "--format=raw") as again:
        assert (again / "restored/Folder 1/File 1.txt").read_bytes() == FILES["Folder 1/File 1.txt"]


def forget() -> None:
    """Have the host's kernel forget all names and pages that nobody uses."""
    Path("/proc/sys/vm/drop_caches").write_text("3\n")


def test_files_are_restored_changed_and_removed(root: Path, filesystem: str, tmp_path: Path) -> None:
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    copy = ("rsync", "-rt", "--modify-window=2", f"{tmp_path}/", f"{root}/restored/")
    run(*copy)
    forget()
    assert not run(*copy, "-nic")
    assert {name: (root / "restored" / name).read_bytes() for name in FILES} == FILES

    (root / "copy").mkdir()
    run("cp", "--recursive", "--no-target-directory", tmp_path, root / "copy")
    (root / "copy/Folder 0").rename(root / "copy/Moved")
    (root / "copy/Moved/File 5.txt").replace(root / "copy/Folder 1/File 1.txt")
    forget()
    assert (root / "copy/Folder 1/File 1.txt").read_bytes() == FILES["Folder 0/File 5.txt"]
    os.truncate(root / "copy/Folder 1/File 1.txt", 7)
    with (root / "copy/Folder 1/File 6.txt").open("ab") as file:
        file.write(b"more")
    forget()
    assert (root / "copy/Folder 1/File 1.txt").read_bytes() == FILES["Folder 0/File 5.txt"][:7]
    assert (root / "copy/Folder 1/File 6.txt").read_bytes() == FILES["Folder 1/File 6.txt"] + b"more"
    numbers = [path.stat().st_ino for path in root.rglob("*")]
    assert len(set(numbers)) == len(numbers)
    subprocess.run(["rm", "-r", root / "copy"], check=True)
    assert os.listdir(root / "restored/Folder 1").count("File 1.txt") == 1  # noqa: PTH208

    if filesystem in FOLDING:
        _play_with_case(root)
        with refused(errno.EPERM):
            os.chown(root / "restored", 1000, 1000)
        with refused(errno.EPERM):
            os.link(root / "restored/Folder 1/File 1.txt", root / "link")
        (root / "owned").write_bytes(b"")
        with refused(errno.EPERM):
            os.chown(root / "owned", 1000, 1000)


def _play_with_case(root: Path) -> None:
    """Go by two spellings of one name; each must see what was done by the other."""
    one, other = root / "Name.txt", root / "NAME.TXT"
    assert not other.exists()
    one.write_bytes(b"by one")
    assert other.read_bytes() == b"by one"
    other.write_bytes(b"by the other")
    assert one.read_bytes() == b"by the other"
    assert one.samefile(other)
    other.unlink()
    assert not one.exists()
    assert "Name.txt" not in {path.name for path in root.iterdir()}
    one.write_bytes(b"again")
    (root / "new").write_bytes(b"new")
    (root / "new").rename(other)
    assert one.read_bytes() == b"new"
    assert len([path for path in root.iterdir() if path.name.lower() == "name.txt"]) == 1


def test_other_spellings_on_one_filesystem_do_not_slow_the_others(sandbox: Sandbox, tmp_path: Path) -> None:
    """As in a guest that starts by UEFI: vfat below ext4."""
    images = [sandbox.directory / name for name in ("root.img", "efi.img")]
    (tmp_path / "efi").mkdir()
    run("mke2fs", "-q", "-t", "ext4", "-d", tmp_path, images[0], "64M")
    with images[1].open("wb") as file:
        file.truncate(64 << 20)
    run("mkfs.vfat", images[1])
    disks = [word for image in images for word in ("-a", image)]
    stats = sandbox.directory / "stats"
    mounts = ("-m", "/dev/sda", "-m", "/dev/sdb:/efi")
    started = sandbox.guestmount("--rw", "--format=raw", "--stats", stats, *disks, *mounts, sandbox.mountpoint)
    assert started.returncode == 0, started.stderr + sandbox.log()
    root = sandbox.mountpoint
    try:
        (root / "directory").mkdir()
        for number in range(50):
            (root / f"directory/Name {number}").write_bytes(b"%d" % number)
        assert not (root / "directory/NAME 7").exists()
        _play_with_case(root / "efi")
        (root / "efi/Name.txt").unlink()
    finally:
        ended = sandbox.guestunmount()
    assert (ended.returncode, ended.stderr) == (0, ""), sandbox.log()
    assert json.loads(stats.read_text())["calls"]["make_file"]["count"] < 20
    with sandbox.mounted(images[0], ["/dev/sda"], "--format=raw") as again:
        assert (again / "directory/Name 49").read_bytes() == b"49"
