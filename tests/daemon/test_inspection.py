"""Operating systems on the guest's disks: what their files say, and that it is found in a real appliance."""

from pathlib import Path

import pytest

from daemon.fstab import Entry, entries, mountable_of
from daemon.session import Session
from daemon.sysroot import Sysroot
from daemon.systems import UNKNOWN, System, system_of
from rpc.arguments import DeviceArgs, NoArgs, PathArgs
from rpc.codec import Device, GuestPath, Mountable
from rpc.procedures import (
    INSPECT_GET_ARCH,
    INSPECT_GET_DISTRO,
    INSPECT_GET_DRIVE_MAPPINGS,
    INSPECT_GET_FILESYSTEMS,
    INSPECT_GET_FORMAT,
    INSPECT_GET_HOSTNAME,
    INSPECT_GET_MAJOR_VERSION,
    INSPECT_GET_MINOR_VERSION,
    INSPECT_GET_MOUNTPOINTS,
    INSPECT_GET_PACKAGE_FORMAT,
    INSPECT_GET_PACKAGE_MANAGEMENT,
    INSPECT_GET_PRODUCT_NAME,
    INSPECT_GET_PRODUCT_VARIANT,
    INSPECT_GET_ROOTS,
    INSPECT_GET_TYPE,
    INSPECT_OS,
    INTERNAL_WRITE,
    MKDIR_P,
    MKFS,
    MOUNT,
    MOUNTS,
    UMOUNT_ALL,
    WIPEFS,
)
from rpc.procedures.contents import InternalWriteArgs
from rpc.procedures.filesystems import MkfsArgs
from rpc.procedures.inspection import RootArgs
from rpc.procedures.mounting import MountArgs
from tests.daemon.scratch import Scratch

RELEASE = 'NAME="Ubuntu"\nID=ubuntu\nVERSION_ID="22.04"\nPRETTY_NAME="Ubuntu 22.04.3 LTS"\n'
ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00\x3e\x00"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make the root of a small Ubuntu."""
    for name in ("etc", "bin", "usr/lib"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "etc/os-release").symlink_to("../usr/lib/os-release")
    (tmp_path / "usr/lib/os-release").write_text(RELEASE)
    (tmp_path / "etc/hostname").write_text("# its name\nhost.example\n")
    (tmp_path / "bin/sh").write_bytes(ELF)
    return tmp_path


def found(root: Path) -> System | None:
    return system_of(Session(Sysroot(bytes(root), is_plain_directory=True)))


def test_system_is_told_by_its_files(root: Path) -> None:
    expected = System("linux", "ubuntu", "Ubuntu 22.04.3 LTS", 22, 4, "deb", "apt", "host.example", "x86_64")
    assert found(root) == expected


@pytest.mark.parametrize(
    ("release", "distro", "major", "packages"),
    [
        ("ID=fedora\nVERSION_ID=38", "fedora", 38, ("rpm", "dnf")),
        ("ID=centos\nVERSION_ID='7'", "centos", 7, ("rpm", "yum")),
        ("ID=opensuse-leap\nVERSION_ID=15.5", "opensuse", 15, ("rpm", "zypper")),
        ("ID=arch", "archlinux", 0, ("pacman", "pacman")),
        ("ID=alpine\nVERSION_ID=" + "9" * 5000, "alpine", 0, ("apk", "apk")),
        ("# ID=no\nVERSION_ID=²", UNKNOWN, 0, (UNKNOWN, UNKNOWN)),
    ],
)
def test_names_are_libguestfss(root: Path, release: str, distro: str, major: int, packages: tuple[str, str]) -> None:
    (root / "usr/lib/os-release").write_text(release)
    system = found(root)
    assert system is not None
    assert (system.distro, system.major_version) == (distro, major)
    assert (system.package_format, system.package_management) == packages


def test_what_files_do_not_say_is_unknown(root: Path) -> None:
    (root / "usr/lib/os-release").unlink()
    assert found(root) is None
    (root / "etc/fstab").write_text("/dev/sda1 / ext4 defaults 0 1\n")
    (root / "etc/hostname").unlink()
    (root / "bin/sh").write_bytes(b"#!/bin/false")
    assert found(root) == System("linux", UNKNOWN, UNKNOWN, 0, 0, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)
    (root / "bin/sh").unlink()
    (root / "bin").rmdir()
    assert found(root) is None


def test_only_regular_files_of_the_guest_are_read(root: Path) -> None:
    (root / "etc/hostname").unlink()
    (root / "etc/hostname").symlink_to("/proc/sys/kernel/hostname")
    (root / "bin/sh").unlink()
    (root / "bin/sh").symlink_to("/dev/zero")
    system = found(root)
    assert system is not None
    assert (system.hostname, system.arch) == (UNKNOWN, UNKNOWN)


def test_fstab_is_taken_apart() -> None:
    text = "# no\n/dev/sda1 / ext4 ro,noatime 0 1\n\nLABEL=x /with\\040space xfs\n/dev/sda2 none swap sw 0 0\n/x\n"
    text += "/dev/sd\\000 /a ext4\n/dev/sd\0 /b ext4\n"
    assert list(entries(text)) == [
        Entry("/dev/sda1", "/", "ext4", ["ro", "noatime"]),
        Entry("LABEL=x", "/with space", "xfs", [""]),
    ]


@pytest.mark.parametrize(
    ("device", "options", "expected"),
    [
        ("/dev/sdb1", "", "/dev/sdb1"),
        ("/dev/vdb1", "", "/dev/sdb1"),
        ("/dev/xvdb1", "", "/dev/sdb1"),
        ("/dev/sdc1", "", None),
        ("/dev/mapper/v--g-l--v", "", "/dev/v-g/l-v"),
        ("/dev/v-g/l-v", "", "/dev/v-g/l-v"),
        ("/dev/mapper/luks-x", "", "/dev/mapper/luks-x"),
        ("/dev/sr0", "", None),
        ("server:/export", "", None),
        ("UUID=no-such-uuid", "", None),
        ("/dev/disk/by-label/no-such-label", "", None),
        ("/dev/sdb1", "rw,subvol=/home", "btrfsvol:/dev/sdb1/home"),
    ],
)
def test_devices_of_fstab_are_those_of_the_disks(device: str, options: str, expected: str | None) -> None:
    known = ["/dev/sdb1", "/dev/v-g/l-v", "/dev/mapper/luks-x"]
    assert mountable_of(Entry(device, "/x", "btrfs", options.split(",")), known) == expected


@pytest.mark.appliance
def test_systems_are_found_on_the_disks(storage: Scratch) -> None:
    sda, sdb = Device("/dev/sda"), Device("/dev/sdb")
    storage.call(MKFS, MkfsArgs("ext4", sda, label="home"))
    storage.call(MKFS, MkfsArgs("xfs", sdb))
    storage.call(MOUNT, MountArgs(Mountable("/dev/sdb"), "/"))
    for name in (b"/etc", b"/usr/bin"):
        storage.call(MKDIR_P, PathArgs(GuestPath(name)))
    fstab = b"UUID=gone / xfs defaults 0 0\nLABEL=home /home ext4 defaults 0 0\n/dev/sr0 /media auto noauto 0 0\n"
    files = {b"/etc/os-release": RELEASE.encode(), b"/etc/fstab": fstab, b"/usr/bin/sh": ELF, b"/etc/hostname": b"me"}
    for path, content in files.items():
        storage.call(INTERNAL_WRITE, InternalWriteArgs(GuestPath(path), content))
    storage.call(UMOUNT_ALL, NoArgs())

    args = RootArgs(Mountable("/dev/sdb"))
    assert "not a root" in storage.refused(INSPECT_GET_TYPE, args)[1]
    assert storage.call(INSPECT_OS, NoArgs()) == ["/dev/sdb"]
    assert storage.call(MOUNTS, NoArgs()) == []
    assert storage.call(INSPECT_GET_ROOTS, NoArgs(), channel=1) == ["/dev/sdb"]
    assert storage.call(INSPECT_GET_MOUNTPOINTS, args) == [("/", "/dev/sdb"), ("/home", "/dev/sda")]
    assert storage.call(INSPECT_GET_FORMAT, args, channel=1) == "installed"
    assert storage.call(INSPECT_GET_DRIVE_MAPPINGS, args) == []
    for procedure in (INSPECT_GET_FORMAT, INSPECT_GET_DRIVE_MAPPINGS):
        assert "not a root" in storage.refused(procedure, RootArgs(Mountable("/dev/sda")))[1]
    assert storage.call(INSPECT_GET_FILESYSTEMS, args, channel=2) == ["/dev/sdb", "/dev/sda"]
    rows = (INSPECT_GET_TYPE, INSPECT_GET_DISTRO, INSPECT_GET_PRODUCT_NAME, INSPECT_GET_PRODUCT_VARIANT)
    assert [storage.call(row, args) for row in rows] == ["linux", "ubuntu", "Ubuntu 22.04.3 LTS", "unknown"]
    assert [storage.call(row, args) for row in (INSPECT_GET_MAJOR_VERSION, INSPECT_GET_MINOR_VERSION)] == [22, 4]
    others = (INSPECT_GET_PACKAGE_FORMAT, INSPECT_GET_PACKAGE_MANAGEMENT, INSPECT_GET_HOSTNAME, INSPECT_GET_ARCH)
    assert [storage.call(row, args) for row in others] == ["deb", "apt", "me", "x86_64"]
    assert "not a root" in storage.refused(INSPECT_GET_TYPE, RootArgs(Mountable("/dev/sda")))[1]
    for device in (sda, sdb):
        storage.call(WIPEFS, DeviceArgs(device))
    assert storage.call(INSPECT_OS, NoArgs()) == []
