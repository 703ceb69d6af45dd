"""What ``-i`` mounts, of systems in pieces, in subvolumes, on NTFS, of several ones and of none."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.guests.cache import run
from tests.guests.families import families_disks
from tests.guests.subvolumes import subvolumes_of_all_kinds
from tests.guests.systems import apart_disk, subvolumes_disk, windows_disk
from tests.inspection.conftest import mounted
from tests.system.sandbox import Sandbox

pytestmark = [pytest.mark.appliance, pytest.mark.fuse, pytest.mark.root]


@contextmanager
def inspected(sandbox: Sandbox, image: Path, *options: str | Path) -> Iterator[list[str]]:
    """Mount with ``-i`` for as long as the block runs; yields the warnings."""
    with mounted(sandbox, [image], "-i", *options) as warnings:
        yield warnings


def test_pieces_are_put_together(sandbox: Sandbox) -> None:
    with inspected(sandbox, apart_disk()) as warnings:
        root = sandbox.mountpoint
        assert (root / "etc/hostname").read_text() == "apart\n"
        assert (root / "boot/vmlinuz").read_text() == "a kernel"
        assert (root / "boot/efi/EFI").is_dir()
        assert (root / "usr/lib/os-release").read_text() == (root / "lib/os-release").read_text()
        assert (root / "var/log/syslog").read_text() == "a line\n"
        for name in ("gone", "boot2", "perhaps", "nowhere", "media/cdrom0"):
            assert list((root / name).iterdir()) == []
    assert warnings == [
        "/gone is left out: UUID=00000000-1111-2222-3333-444444444444 is on none of the disks",
        "/boot2 is left out: it is what /boot shows",
        "/nowhere is left out: it is what /var shows",
    ]


def test_pieces_are_written_to(sandbox: Sandbox, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(apart_disk().read_bytes())
    with inspected(sandbox, image, "--rw"):
        (sandbox.mountpoint / "etc/new").write_text("on the root")
        (sandbox.mountpoint / "var/log/new").write_text("on another one")
    with inspected(sandbox, image):
        assert (sandbox.mountpoint / "etc/new").read_text() == "on the root"
        assert (sandbox.mountpoint / "var/log/new").read_text() == "on another one"


def test_subvolumes_are_put_together(sandbox: Sandbox) -> None:
    with inspected(sandbox, subvolumes_disk()) as warnings:
        assert (sandbox.mountpoint / "etc/fstab").is_file()
        assert (sandbox.mountpoint / "home/me/file").read_text() == "at home"
    assert warnings == []


def test_root_is_not_there_again_below_its_snapshots(sandbox: Sandbox) -> None:
    """It was an Input/output error, and the end of a backup."""
    with inspected(sandbox, subvolumes_of_all_kinds(), "--root=/dev/sda2") as warnings:
        snapshots = sandbox.mountpoint / ".snapshots"
        assert list((snapshots / "1/snapshot").iterdir()) == []
        assert (snapshots / "2/snapshot/etc/os-release").is_file()
        assert (sandbox.mountpoint / "home/me/file").read_text() == "at home"
    assert warnings == []


def test_windows_is_mounted(sandbox: Sandbox) -> None:
    with inspected(sandbox, windows_disk()) as warnings:
        assert (sandbox.mountpoint / "Users/me/file").read_text() == "x"
    assert warnings == []


def test_one_of_several_is_chosen(sandbox: Sandbox) -> None:
    disks = families_disks()
    two = ("--format=raw", "-a", disks["debian"], "-a", disks["alpine"], "-i")
    refused = sandbox.guestmount(*two, sandbox.mountpoint)
    listed = "1: /dev/sda (Debian GNU/Linux 12); 2: /dev/sdb (Alpine Linux 3.18.4)"
    assert refused.returncode == 1
    choose = "choose one by --root first, its number or its device"
    assert refused.stderr == f"guestmount-py: there are 2 operating systems: {listed}: {choose}\n"
    refused = sandbox.guestmount(*two, "--root=/dev/sdc", sandbox.mountpoint)
    assert refused.stderr == f"guestmount-py: --root /dev/sdc: there is no such operating system: there are {listed}\n"
    assert refused.returncode == 1
    for wanted, name in (("first", "debian_version"), ("/dev/sdb", "alpine-release")):
        with inspected(sandbox, disks["debian"], "-a", disks["alpine"], "--root", wanted):
            assert (sandbox.mountpoint / "etc" / name).is_file()


def test_no_system(sandbox: Sandbox, tmp_path: Path) -> None:
    image = tmp_path / "empty.img"
    with image.open("wb") as file:
        file.truncate(1 << 20)
    refused = sandbox.guestmount("--format=raw", "-a", image, "-i", sandbox.mountpoint)
    assert refused.returncode == 1
    assert refused.stderr == "guestmount-py: no operating system was found: no filesystem is on any disk\n"
    run("mke2fs", "-q", image)
    refused = sandbox.guestmount("--format=raw", "-a", image, "-i", sandbox.mountpoint)
    assert refused.stderr == (
        "guestmount-py: no operating system was found: the filesystems are /dev/sda (ext2): mount one of them with -m\n"
    )


def test_more_is_mounted_besides(sandbox: Sandbox) -> None:
    disks = families_disks()
    with inspected(sandbox, disks["no-release"], "-a", subvolumes_disk(), "--root=1", "-m", "/dev/sdb1:/bin"):
        assert (sandbox.mountpoint / "etc/hostname").is_file()
        assert (sandbox.mountpoint / "bin/home/me/file").is_file()
