"""Operating systems by their files alone."""

from pathlib import Path

import pytest

from daemon.guest_view import GuestView
from daemon.session import Session
from daemon.sysroot import Sysroot
from daemon.systems import system_of
from daemon.unknown_system import UNKNOWN
from rpc.procedures.inspection import System
from tests.guests.families import FAMILIES, write_family
from tests.guests.systems import ELF, write_tree

UNTOLD = (UNKNOWN, UNKNOWN)
EXPECTED = {
    "debian": ("debian", 12, 5, "deb", "apt"),
    "debian-4": ("debian", 4, 0, "deb", "apt"),
    "ubuntu": ("ubuntu", 22, 4, "deb", "apt"),
    "ubuntu-10": ("ubuntu", 10, 4, "deb", "apt"),
    "mint": ("linuxmint", 17, 1, "deb", "apt"),
    "kali": ("kalilinux", 2023, 3, "deb", "apt"),
    "fedora": ("fedora", 38, 0, "rpm", "dnf"),
    "fedora-14": ("fedora", 14, 0, "rpm", "yum"),
    "rhel": ("rhel", 9, 2, "rpm", "dnf"),
    "rhel-6": ("rhel", 6, 8, "rpm", "yum"),
    "rhel-4": ("rhel", 4, 8, "rpm", "up2date"),
    "centos-5": ("centos", 5, 11, "rpm", "yum"),
    "centos-7": ("centos", 7, 9, "rpm", "yum"),
    "rocky": ("rocky", 9, 2, "rpm", "dnf"),
    "alma": ("almalinux", 9, 2, "rpm", "dnf"),
    "scientific": ("scientificlinux", 6, 5, "rpm", "yum"),
    "oracle": ("oraclelinux", 8, 8, "rpm", "dnf"),
    "opensuse": ("opensuse", 15, 5, "rpm", "zypper"),
    "tumbleweed": ("opensuse", 20231101, 0, "rpm", "zypper"),
    "sles": ("sles", 15, 5, "rpm", "zypper"),
    "sles-11": ("sles", 11, 4, "rpm", "zypper"),
    "opensuse-11": ("opensuse", 11, 4, "rpm", "zypper"),
    "arch": ("archlinux", 0, 0, "pacman", "pacman"),
    "arch-old": ("archlinux", 0, 0, "pacman", "pacman"),
    "alpine": ("alpinelinux", 3, 18, "apk", "apk"),
    "gentoo": ("gentoo", 2, 14, "ebuild", "portage"),
    "gentoo-old": ("gentoo", 2, 0, "ebuild", "portage"),
    "nixos": ("nixos", 23, 5, *UNTOLD),
    "void": ("voidlinux", 0, 0, "xbps", "xbps"),
    "mageia": ("mageia", 9, 0, "rpm", "urpmi"),
    "slackware": ("slackware", 13, 37, *UNTOLD),
    "buildroot": ("buildroot", 2023, 8, *UNTOLD),
    "cirros": ("cirros", 0, 3, *UNTOLD),
    "altlinux": ("altlinux", 10, 1, "rpm", "apt"),
    "no-release": (UNKNOWN, 0, 0, *UNTOLD),
}
"""Distribution, version, packages and their manager."""


def found(root: Path) -> System | None:
    looked = system_of(GuestView(Session(Sysroot(bytes(root), is_plain_directory=True))))
    return looked.system if looked is not None else None


def existing(root: Path) -> System:
    system = found(root)
    assert system is not None
    return system


@pytest.mark.parametrize("name", FAMILIES)
def test_families_of_linux_are_told_by_their_files(tmp_path: Path, name: str) -> None:
    write_family(name, tmp_path)
    system = existing(tmp_path)
    told = system.distro, system.major_version, system.minor_version, system.package_format, system.package_management
    assert told == EXPECTED[name]
    assert (system.kind, system.format, system.arch) == ("linux", "installed", "x86_64")


@pytest.mark.parametrize(
    ("files", "hostname"),
    [
        ({"etc/hostname": "# its name\nhost.example\n"}, "host.example"),
        ({"etc/HOSTNAME": "older.example\n"}, "older.example"),
        ({"etc/sysconfig/network": "NETWORKING=yes\nHOSTNAME='red.example'\n"}, "red.example"),
        ({"etc/conf.d/hostname": 'hostname="larry"\n'}, "larry"),
        ({"etc/hostname": "a\0b\n"}, "ab"),
        ({}, UNKNOWN),
    ],
)
def test_hosts_name(tmp_path: Path, files: dict[str, str], hostname: str) -> None:
    write_tree(tmp_path, {"etc/fstab": "", "bin/": "", **files})
    assert existing(tmp_path).hostname == hostname


def test_os_release_without_sense(tmp_path: Path) -> None:
    write_tree(tmp_path, {"etc/os-release": "# ID=no\nVERSION_ID=²\n", "bin/": ""})
    assert existing(tmp_path).distro == UNKNOWN
    write_tree(tmp_path, {"etc/os-release": "ID=alpine\nVERSION_ID=" + "9" * 5000})
    assert (existing(tmp_path).distro, existing(tmp_path).major_version) == ("alpinelinux", 0)


def test_programs_may_be_on_another_filesystem(tmp_path: Path) -> None:
    write_tree(tmp_path, {"etc/fstab": ""})
    (tmp_path / "bin").symlink_to("usr/bin")
    assert existing(tmp_path).kind == "linux"
    (tmp_path / "bin").unlink()
    assert found(tmp_path) is None
    (tmp_path / "bin").symlink_to("elsewhere")
    assert found(tmp_path) is None


def test_only_regular_files_of_the_guest_are_read(tmp_path: Path) -> None:
    write_tree(tmp_path, {"etc/fstab": "", "bin/": ""})
    (tmp_path / "etc/hostname").symlink_to("/proc/sys/kernel/hostname")
    (tmp_path / "bin/sh").symlink_to("/dev/zero")
    assert (existing(tmp_path).hostname, existing(tmp_path).arch) == (UNKNOWN, UNKNOWN)


def test_a_deployment_of_ostree(tmp_path: Path) -> None:
    deployment = "ostree/deploy/fedora/deploy/0123.0"
    files: dict[str, str | bytes] = {
        "boot/": "",
        f"{deployment}/usr/bin/bash": ELF,
        f"{deployment}/usr/lib/os-release": "ID=fedora\n",
    }
    write_tree(tmp_path, {**files, f"{deployment}/etc/hostname": "core\n"})
    (tmp_path / deployment / "bin").symlink_to("usr/bin")
    system = existing(tmp_path)
    assert (system.distro, system.hostname, system.arch) == ("fedora", "core", "x86_64")


@pytest.mark.parametrize(
    ("files", "kind", "name", "version", "hostname"),
    [
        (
            {"bin/freebsd-version": 'USERLAND_VERSION="13.2-RELEASE"\n', "etc/rc.conf": 'hostname="beastie"\n'},
            ("freebsd", "freebsd"),
            "FreeBSD 13.2-RELEASE",
            (13, 2),
            "beastie",
        ),
        (
            {"netbsd": "", "etc/release": "NetBSD 9.3\n", "bin/sh": ELF, "etc/rc.conf": "hostname=orange\n"},
            ("netbsd", "netbsd"),
            "NetBSD 9.3",
            (9, 3),
            "orange",
        ),
        (
            {"bsd": "", "etc/motd": "OpenBSD 7.3 (GENERIC) #1125\n", "bin/sh": ELF, "etc/myname": "puffy\n"},
            ("openbsd", "openbsd"),
            "OpenBSD 7.3 (GENERIC) #1125",
            (7, 3),
            "puffy",
        ),
    ],
)
def test_the_bsds(
    tmp_path: Path, files: dict[str, str], kind: tuple[str, str], name: str, version: tuple[int, int], hostname: str
) -> None:
    write_tree(tmp_path, {"etc/": "", **files})
    system = existing(tmp_path)
    assert ((system.kind, system.distro), system.product_name) == (kind, name)
    assert ((system.major_version, system.minor_version), system.hostname) == (version, hostname)


@pytest.mark.parametrize(
    ("files", "distro", "version", "arch", "told"),
    [
        (
            {".disk/info": 'Debian GNU/Linux 12.5.0 "Bookworm" - Official amd64 NETINST with firmware\n'},
            "debian",
            (12, 5),
            "x86_64",
            (False, True),
        ),
        (
            {".disk/info": 'Ubuntu 22.04.3 LTS "Jammy Jellyfish" - Release amd64 (20230807.2)', "casper/": ""},
            "ubuntu",
            (22, 4),
            "x86_64",
            (True, False),
        ),
        (
            {".treeinfo": "[general]\nfamily = Fedora\nversion = 38\narch = x86_64\n"},
            "fedora",
            (38, 0),
            "x86_64",
            (False, False),
        ),
        ({"isolinux/isolinux.cfg": ""}, UNKNOWN, (0, 0), UNKNOWN, (False, False)),
        ({"Sources/BOOT.WIM": "", "bootmgr": ""}, "windows", (0, 0), UNKNOWN, (False, False)),
    ],
)
def test_media_to_install_from(
    tmp_path: Path, files: dict[str, str], distro: str, version: tuple[int, int], arch: str, told: tuple[bool, bool]
) -> None:
    write_tree(tmp_path, files)
    system = existing(tmp_path)
    assert (system.format, system.distro, system.arch) == ("installer", distro, arch)
    assert (system.major_version, system.minor_version) == version
    assert (system.is_live, system.is_netinst) == told


@pytest.mark.parametrize("files", [{}, {"home/": ""}, {"bin/sh": ELF, "lib/": ""}, {"vmlinuz": "", "grub/": ""}])
def test_other_filesystems_are_no_systems(tmp_path: Path, files: dict[str, str]) -> None:
    write_tree(tmp_path, files)
    assert found(tmp_path) is None
