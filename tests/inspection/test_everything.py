"""``--all``: all systems and filesystems, each in a directory, with inode numbers that last."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from guestmount_py.everything import name_of
from tests.guests.families import families_disks
from tests.guests.systems import apart_disk, subvolumes_disk
from tests.system.sandbox import Sandbox


@contextmanager
def mounted(sandbox: Sandbox, *images: Path, warnings: int = 0) -> Iterator[Path]:
    words = [word for image in images for word in ("-a", image)]
    started = sandbox.guestmount("--format=raw", *words, "--all", sandbox.mountpoint)
    assert started.returncode == 0, started.stderr + sandbox.log()
    try:
        assert len(started.stderr.splitlines()) == warnings, started.stderr
        yield sandbox.mountpoint
    finally:
        ended = sandbox.guestunmount()
    assert (ended.returncode, ended.stderr) == (0, ""), sandbox.log()


def numbers_below(directory: Path) -> dict[str, int]:
    """Return the inode number of every file, by its path."""
    found = {}
    for place, names, files in os.walk(directory):
        for path in (Path(place, name) for name in names + files):
            found[str(path.relative_to(directory))] = path.lstat().st_ino
    return found


@pytest.mark.parametrize(
    ("mountable", "name"),
    [
        ("/dev/sda", "sda"),
        ("/dev/sda12", "sda12"),
        ("/dev/v-g/l-v", "v--g-l--v"),
        ("/dev/mapper/luks-0a", "luks--0a"),
        ("btrfsvol:/dev/sda1/@", "sda1:@"),
        ("btrfsvol:/dev/sda1/@/.snapshots/1", "sda1:@%2F.snapshots%2F1"),
        ("btrfsvol:/dev/vg/lv/a%b", "vg-lv:a%25b"),
    ],
)
def test_names_of_directories(mountable: str, name: str) -> None:
    assert name_of(mountable) == name


@pytest.mark.appliance
@pytest.mark.fuse
@pytest.mark.root
def test_everything_is_mounted_once(sandbox: Sandbox, tmp_path: Path) -> None:
    other = tmp_path / "other.img"
    other.write_bytes(families_disks()["debian"].read_bytes())
    # three lines on what fstab names in vain or twice, one on a btrfs that is nothing but subvolumes
    with mounted(sandbox, apart_disk(), subvolumes_disk(), other, warnings=4) as root:
        assert sorted(path.name for path in root.iterdir()) == ["filesystems", "systems"]
        assert sorted(path.name for path in (root / "systems").iterdir()) == ["sda5", "sdb1:root", "sdc"]
        links = {path.name: path for path in (root / "filesystems").iterdir()}
        assert sorted(links) == [*(f"sda{number}" for number in range(1, 6)), *SUBVOLUMES, "sdc"]
        assert links["sda4"].readlink() == Path("../systems/sda5/var")
        assert (links["sda4"] / "log/syslog").read_text() == "a line\n"
        assert (root / "systems/sda5/usr/lib/os-release").is_file()
        assert (root / "systems/sdb1:root/home/me/file").read_text() == "at home"
        assert not links["sdb1:before"].is_symlink()
        assert (links["sdb1:before"] / "etc/os-release").is_file()
        with pytest.raises(OSError, match="Read-only"):
            (root / "new").touch()
        numbers = numbers_below(root)
    assert len(set(numbers.values())) == len(numbers)
    with mounted(sandbox, apart_disk(), subvolumes_disk(), warnings=4) as root:
        again = numbers_below(root / "systems")
    assert {path: number for path, number in again.items() if "/" in path} == {
        path.removeprefix("systems/"): number
        for path, number in numbers.items()
        if path.startswith(("systems/sda5/", "systems/sdb1:root/"))
    }


SUBVOLUMES = ("sdb1:before", "sdb1:home", "sdb1:root")
