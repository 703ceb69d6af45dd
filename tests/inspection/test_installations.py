"""``-i`` on what installers make of encrypted devices, volumes and arrays, and on a root whose fstab makes no sense."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.guests.cache import run
from tests.guests.installations import DEBIAN_UUID, FEDORA_UUID, array_disks, encrypted_disks, mad_disk
from tests.guests.stacks import KEY
from tests.inspection.conftest import mounted
from tests.system.sandbox import GUESTMOUNT, Sandbox

pytestmark = [pytest.mark.appliance, pytest.mark.fuse, pytest.mark.root]

FOR_ALL = f"all:key:{KEY}"


def test_volumes_on_an_encrypted_device(sandbox: Sandbox) -> None:
    with mounted(sandbox, encrypted_disks()[:1], "-i", "--key", f"/dev/sda2:key:{KEY}") as warnings:
        root = sandbox.mountpoint
        assert (root / "etc/crypttab").read_text() == f"sda2_crypt UUID={DEBIAN_UUID} none luks,discard\n"
        assert (root / "boot/vmlinuz").read_text() == "a kernel"
        assert (root / "home/me/file").read_text() == "at home"
    assert warnings == []


def test_subvolumes_on_an_encrypted_device_beside_one_that_stays_closed(sandbox: Sandbox) -> None:
    with mounted(sandbox, encrypted_disks(), "-i", "--key", f"{FEDORA_UUID}:key:{KEY}") as warnings:
        root = sandbox.mountpoint
        assert "Fedora" in (root / "etc/os-release").read_text()
        assert (root / "boot/vmlinuz").read_text() == "a kernel"
        assert (root / "home/me/file").read_text() == "at home"
    (closed,) = warnings
    assert closed.startswith("/dev/sda2 is encrypted and stays closed: there is no terminal to ask for it")


def test_subvolume_on_an_encrypted_device_is_listed_and_mounted_by_that_name(sandbox: Sandbox) -> None:
    image, key, device = encrypted_disks()[1], f"all:key:{KEY}", f"/dev/mapper/luks-{FEDORA_UUID}"
    command = [*GUESTMOUNT, "list", "--json", "--format=raw", "-a", str(image), "--key", key]
    listed = subprocess.run(command, env=sandbox.environment, capture_output=True, text=True, check=True)
    rows = {row["name"]: row for row in json.loads(listed.stdout)["filesystems"]}
    home = rows[f"btrfsvol:{device}/home"]
    assert (home["parents"], home["label"], home["uuid"]) == ([device], "fedora", rows[device]["uuid"])
    with mounted(sandbox, [image], "--key", key, "-m", home["name"]) as warnings:
        assert (sandbox.mountpoint / "me/file").read_text() == "at home"
    assert warnings == []


def test_everything_of_two_encrypted_systems_is_written_to(sandbox: Sandbox, tmp_path: Path) -> None:
    images = [tmp_path / image.name for image in encrypted_disks()]
    for image, source in zip(images, encrypted_disks(), strict=True):
        run("cp", "--sparse=always", source, image)
    with mounted(sandbox, images, "--all", "--rw", "--key", FOR_ALL) as warnings:
        debian = sandbox.mountpoint / "systems/debian--vg-root"
        fedora = sandbox.mountpoint / f"systems/luks--{FEDORA_UUID.replace('-', '--')}:root"
        assert sorted(path.name for path in (sandbox.mountpoint / "systems").iterdir()) == [debian.name, fedora.name]
        for system in (debian, fedora):
            assert (system / "boot/vmlinuz").read_text() == "a kernel"
            assert (system / "home/me/file").read_text() == "at home"
            (system / "home/new").write_text("written")
        (debian / "home/new").rename(debian / "home/moved")
        with pytest.raises(OSError, match="cross-device"):
            (debian / "home/moved").rename(debian / "moved")
        with pytest.raises(OSError, match="Read-only"):
            (sandbox.mountpoint / "new").touch()
    assert warnings == []
    with mounted(sandbox, images[:1], "-i", "--rw", "--key", FOR_ALL):
        (sandbox.mountpoint / "etc/new").write_text("written")
        assert (sandbox.mountpoint / "home/moved").read_text() == "written"


def test_wrong_key_is_one_line(sandbox: Sandbox) -> None:
    image = encrypted_disks()[0]
    refused = sandbox.guestmount("--format=raw", "-a", image, "-i", "--key=all:key:wrong", sandbox.mountpoint)
    assert refused.returncode == 1
    assert refused.stderr == (
        "guestmount-py: no operating system was found: /dev/sda2 is encrypted and stays closed: "
        "No key available with this passphrase; the filesystems are /dev/sda1 (ext2): mount one of them with -m\n"
    )
    assert sandbox.left() == []


def test_system_on_arrays(sandbox: Sandbox) -> None:
    with mounted(sandbox, array_disks(), "-i") as warnings:
        assert (sandbox.mountpoint / "etc/mdadm/mdadm.conf").is_file()
        assert (sandbox.mountpoint / "boot/vmlinuz").read_text() == "a kernel"
    assert warnings == ["/srv is left out: /dev/md/none is on none of the disks"]


def test_system_on_half_of_its_arrays(sandbox: Sandbox) -> None:
    with mounted(sandbox, array_disks()[1:], "-i") as warnings:
        assert (sandbox.mountpoint / "etc/mdadm/mdadm.conf").is_file()
        assert (sandbox.mountpoint / "boot/vmlinuz").read_text() == "a kernel"
    assert warnings == ["/srv is left out: /dev/md/none is on none of the disks"]


def test_what_makes_sense_of_an_fstab_is_mounted_and_the_rest_is_named(sandbox: Sandbox) -> None:
    with mounted(sandbox, [mad_disk()], "-i") as warnings:
        root = sandbox.mountpoint
        assert (root / "etc/fstab").is_file()
        assert (root / "data/again/x").read_text() == "data"
        for name in ("self", "bad", "empty", "none", "far", "dots", "shell", "odd place"):
            assert list((root / name).iterdir()) == []
    assert sorted(line.partition(": EXT4-fs ")[0] for line in warnings) == [
        "/bad is left out: UUID=nothing-like-it is on none of the disks",
        "/broken is left out: cannot mount /dev/sda3",
        "/data/again is left out: it is what /data shows",
        "/dev/sda3 was not looked at",
        "/dots is left out: /dev/../dev/sda2 is on none of the disks",
        "/empty is left out: UUID= is on none of the disks",
        "/far is left out: /dev/sda99999999999999999999 is on none of the disks",
        "/file is left out: cannot mount /dev/sda2: /file: Not a directory",
        "/loop is left out: cannot mount /dev/sda2: /loop: Too many levels of symbolic links",
        "/none is left out: /dev/mapper/no-where is on none of the disks",
        "/not/there is left out: cannot mount /dev/sda2: /not/there: No such file or directory",
        "/out is left out: cannot mount /dev/sda2: /out: No such file or directory",
        "/self is left out: it is what / shows",
        "/shell is left out: /dev/sda2;reboot is on none of the disks",
    ]
