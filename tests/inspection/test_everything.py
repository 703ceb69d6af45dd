"""``--all``: all systems and filesystems, each in a directory, with inode numbers that last."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from guestmount_py.everything import name_of
from tests.guests.families import families_disks
from tests.guests.subvolumes import LONG, clones, linked_disk, subvolumes_of_all_kinds
from tests.guests.systems import apart_disk, subvolumes_disk
from tests.inspection.conftest import mounted as mounted_everything
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
        ("btrfsvol:/dev/sdata/lv/a", "sdata-lv:a"),
        ("btrfsvol:/dev/sda1//", "sda1"),
    ],
)
def test_names_of_directories(mountable: str, name: str) -> None:
    assert name_of(mountable) == name


def test_long_names_of_directories_are_cut_and_stay_apart() -> None:
    names = [name_of(f"btrfsvol:/dev/sda1/{LONG[:-1]}{last}") for last in "xyz"]
    names += [name_of(f"btrfsvol:/dev/sda1/{'a' * count}") for count in (249, 250, 251)]
    assert [len(name.encode()) for name in names] == [255, 255, 255, 254, 255, 255]
    assert len(set(names)) == len(names)
    assert names[0].startswith("sda1:%25%25")


@pytest.mark.appliance
@pytest.mark.fuse
@pytest.mark.root
def test_everything_is_mounted_once(sandbox: Sandbox, tmp_path: Path) -> None:
    other = tmp_path / "other.img"
    other.write_bytes(families_disks()["debian"].read_bytes())
    # on what fstab names in vain or twice
    with mounted(sandbox, apart_disk(), subvolumes_disk(), other, warnings=3) as root:
        assert sorted(path.name for path in root.iterdir()) == ["filesystems", "systems"]
        assert sorted(path.name for path in (root / "systems").iterdir()) == ["sda5", "sdb1:root", "sdc"]
        links = {path.name: path for path in (root / "filesystems").iterdir()}
        assert sorted(links) == [*(f"sda{number}" for number in range(1, 6)), "sdb1", *SUBVOLUMES, "sdc"]
        assert links["sda4"].readlink() == Path("../systems/sda5/var")
        assert (links["sda4"] / "log/syslog").read_text() == "a line\n"
        assert (root / "systems/sda5/usr/lib/os-release").is_file()
        assert (root / "systems/sdb1:root/home/me/file").read_text() == "at home"
        assert links["sdb1:before"].readlink() == Path("sdb1/before")
        assert sorted(path.name for path in links["sdb1"].iterdir()) == ["before", "home", "root"]
        assert (links["sdb1:before"] / "etc/os-release").is_file()
        with pytest.raises(OSError, match="Read-only"):
            (root / "new").touch()
        numbers = numbers_below(root)
    assert len(set(numbers.values())) == len(numbers)
    with mounted(sandbox, apart_disk(), subvolumes_disk(), warnings=3) as root:
        again = numbers_below(root / "systems")
    assert {path: number for path, number in again.items() if "/" in path} == {
        path.removeprefix("systems/"): number
        for path, number in numbers.items()
        if path.startswith(("systems/sda5/", "systems/sdb1:root/"))
    }


@pytest.mark.appliance
@pytest.mark.fuse
@pytest.mark.root
def test_nothing_of_a_btrfs_is_hidden(sandbox: Sandbox) -> None:
    long_name = name_of(f"btrfsvol:/dev/sda2/{LONG}")
    with mounted(sandbox, subvolumes_of_all_kinds()) as root:
        files = texts(root)
        assert sorted(path.name for path in (root / "systems").iterdir()) == ["sda1:@", "sda2"]
        assert {path.name: path.readlink() for path in (root / "filesystems").iterdir() if path.is_symlink()} == {
            "sda1:@": Path("../systems/sda1:@"),
            "sda1:@home": Path("../systems/sda1:@/home"),
            "sda1:@old": Path("sda1/@old"),
            **{
                f"sda1:snapshots%2F{number}%2F@{name}": Path(f"sda1/snapshots/{number}/@{name}")
                for number in range(1, 4)
                for name in ("", "home")
            },
            "sda2:@": Path("sda2/@"),
            "sda2:@%2F.snapshots": Path("../systems/sda2/.snapshots"),
            "sda2:@%2F.snapshots%2F1%2Fsnapshot": Path("../systems/sda2"),
            "sda2:@%2Fhome": Path("../systems/sda2/home"),
            long_name: Path(f"sda2/{LONG}"),
            "sda3:chosen": Path("sda3/chosen"),
        }
    assert {name: files[name] for name in files if not name.endswith(("os-release", "fstab", "bin/sh"))} == {
        "systems/sda1:@/etc/hostname": "state2\n",
        "systems/sda1:@/home/me/file": "at home",
        "systems/sda2/home/me/file": "at home",
        "filesystems/sda1/@old/etc/hostname": "broken\n",
        "filesystems/sda1/beside": "the subvolumes",
        "filesystems/sda1/snapshots/note": "kept",
        **{f"filesystems/sda1/snapshots/{number}/@/etc/hostname": f"state{number}\n" for number in range(1, 4)},
        **{f"filesystems/sda1/snapshots/{number}/@home/me/file": "at home" for number in range(1, 4)},
        f"filesystems/sda2/{LONG}/file": "of a long name",
        "filesystems/sda3/chosen/file": "of the default",
        "filesystems/sda3/beside": "the default",
    }


@pytest.mark.appliance
@pytest.mark.fuse
@pytest.mark.root
def test_clones_are_shown_and_links_stay_in_their_system(sandbox: Sandbox) -> None:
    """In the second system is what a link of the first one would lead to if the directory of all were its root."""
    with mounted_everything(sandbox, [linked_disk(), *clones()], "--all") as warnings:
        files = texts(sandbox.mountpoint)
        systems = sandbox.mountpoint / "systems"
        assert (systems / "sda1/srv/home/me/file").read_text() == "at home"
        assert not (systems / "sda4/etc/file").exists()
    assert files["filesystems/sda3/file"] == "data"  # for its system shows it nowhere
    assert [files[f"filesystems/{name}/file"] for name in ("sdb", "sdc", "sdd")] == ["cloned"] * 3
    out, clone = warnings
    assert (
        out == "/systems/sda1/out is left out: cannot mount /dev/sda3: /systems/sda1/systems: No such file or directory"
    )
    assert clone == (
        "/filesystems/sde is left out: cannot mount /dev/sde: a btrfs with the same UUID is mounted: "
        "of clones only one can be shown at a time"
    )


def texts(directory: Path) -> dict[str, str]:
    """Return the text of every regular file, by its path."""
    paths = (Path(place, name) for place, _, names in os.walk(directory) for name in names)
    return {str(path.relative_to(directory)): path.read_bytes().decode("latin-1") for path in paths if path.is_file()}


SUBVOLUMES = ("sdb1:before", "sdb1:home", "sdb1:root")
