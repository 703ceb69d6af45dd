"""What the roots of Linux's families hold that tells them apart, as their installers leave it."""

from pathlib import Path
from typing import Final

from tests.guests.cache import cached, run
from tests.guests.systems import ELF, write_tree

_COMMON: Final[dict[str, str | bytes]] = {"bin/sh": ELF, "etc/fstab": "/dev/sda1 / ext4 defaults 0 1\n"}


def _release(identifier: str, version: str, name: str, more: str = "") -> str:
    return f'NAME="{name}"\nID={identifier}\nVERSION_ID="{version}"\nPRETTY_NAME="{name} {version}"\n{more}'


FAMILIES: Final[dict[str, dict[str, str | bytes]]] = {
    "debian": {"etc/os-release": _release("debian", "12", "Debian GNU/Linux"), "etc/debian_version": "12.5\n"},
    "debian-4": {"etc/debian_version": "4.0\n", "etc/hostname": "etch\n"},
    "ubuntu": {
        "etc/os-release": _release("ubuntu", "22.04", "Ubuntu", "ID_LIKE=debian\n"),
        "etc/lsb-release": 'DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=22.04\nDISTRIB_DESCRIPTION="Ubuntu 22.04.3 LTS"\n',
        "etc/debian_version": "bookworm/sid\n",
    },
    "ubuntu-10": {
        "etc/lsb-release": 'DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=10.04\nDISTRIB_DESCRIPTION="Ubuntu 10.04.4 LTS"\n',
        "etc/debian_version": "squeeze/sid\n",
    },
    "mint": {
        "etc/lsb-release": 'DISTRIB_ID=LinuxMint\nDISTRIB_RELEASE=17.1\nDISTRIB_DESCRIPTION="Linux Mint 17.1"\n',
        "etc/debian_version": "jessie/sid\n",
    },
    "kali": {"etc/os-release": _release("kali", "2023.3", "Kali GNU/Linux"), "etc/debian_version": "kali-rolling\n"},
    "fedora": {
        "etc/os-release": _release("fedora", "38", "Fedora Linux"),
        "etc/fedora-release": "Fedora release 38 (Thirty Eight)\n",
        "etc/redhat-release": "Fedora release 38 (Thirty Eight)\n",
    },
    "fedora-14": {
        "etc/redhat-release": "Fedora release 14 (Laughlin)\n",
        "etc/sysconfig/network": "NETWORKING=yes\nHOSTNAME=f14.example\n",
    },
    "rhel": {
        "etc/os-release": _release("rhel", "9.2", "Red Hat Enterprise Linux"),
        "etc/redhat-release": "Red Hat Enterprise Linux release 9.2 (Plow)\n",
    },
    "rhel-6": {"etc/redhat-release": "Red Hat Enterprise Linux Server release 6.8 (Santiago)\n"},
    "rhel-4": {"etc/redhat-release": "Red Hat Enterprise Linux AS release 4 (Nahant Update 8)\n"},
    "centos-5": {"etc/redhat-release": "CentOS release 5.11 (Final)\n"},
    "centos-7": {
        "etc/os-release": _release("centos", "7", "CentOS Linux"),
        "etc/centos-release": "CentOS Linux release 7.9.2009 (Core)\n",
        "etc/redhat-release": "CentOS Linux release 7.9.2009 (Core)\n",
    },
    "rocky": {
        "etc/os-release": _release("rocky", "9.2", "Rocky Linux"),
        "etc/rocky-release": "Rocky Linux release 9.2 (Blue Onyx)\n",
        "etc/redhat-release": "Rocky Linux release 9.2 (Blue Onyx)\n",
    },
    "alma": {
        "etc/os-release": _release("almalinux", "9.2", "AlmaLinux"),
        "etc/redhat-release": "AlmaLinux release 9.2 (Turquoise Kodkod)\n",
    },
    "scientific": {"etc/redhat-release": "Scientific Linux release 6.5 (Carbon)\n"},
    "oracle": {
        "etc/os-release": _release("ol", "8.8", "Oracle Linux Server"),
        "etc/oracle-release": "Oracle Linux Server release 8.8\n",
        "etc/redhat-release": "Red Hat Enterprise Linux release 8.8 (Ootpa)\n",
    },
    "opensuse": {"etc/os-release": _release("opensuse-leap", "15.5", "openSUSE Leap", 'ID_LIKE="suse opensuse"\n')},
    "tumbleweed": {"etc/os-release": _release("opensuse-tumbleweed", "20231101", "openSUSE Tumbleweed")},
    "sles": {"etc/os-release": _release("sles", "15.5", "SLES", "ID_LIKE=suse\n"), "etc/HOSTNAME": "sles.example\n"},
    "sles-11": {"etc/SuSE-release": "SUSE Linux Enterprise Server 11 (x86_64)\nVERSION = 11\nPATCHLEVEL = 4\n"},
    "opensuse-11": {"etc/SuSE-release": "openSUSE 11.4 (x86_64)\nVERSION = 11.4\nCODENAME = Celadon\n"},
    "arch": {"etc/os-release": 'NAME="Arch Linux"\nID=arch\nPRETTY_NAME="Arch Linux"\nBUILD_ID=rolling\n'},
    "arch-old": {"etc/arch-release": ""},
    "alpine": {
        "etc/os-release": _release("alpine", "3.18.4", "Alpine Linux"),
        "etc/alpine-release": "3.18.4\n",
    },
    "gentoo": {
        "etc/os-release": 'NAME=Gentoo\nID=gentoo\nPRETTY_NAME="Gentoo Linux"\nVERSION_ID="2.14"\n',
        "etc/gentoo-release": "Gentoo Base System release 2.14\n",
        "etc/conf.d/hostname": 'hostname="larry"\n',
    },
    "gentoo-old": {"etc/gentoo-release": "Gentoo Base System release 2.0.3\n"},
    "nixos": {"etc/os-release": _release("nixos", "23.05", "NixOS", 'BUILD_ID="23.05.20230930"\n')},
    "void": {"etc/os-release": 'NAME="Void"\nID="void"\nPRETTY_NAME="Void Linux"\n'},
    "mageia": {
        "etc/os-release": _release("mageia", "9", "Mageia"),
        "etc/mageia-release": "Mageia release 9 (Official) for x86_64\n",
        "etc/redhat-release": "Mageia release 9 (Official) for x86_64\n",
    },
    "slackware": {"etc/slackware-version": "Slackware 13.37.0\n"},
    "buildroot": {"etc/os-release": _release("buildroot", "2023.08", "Buildroot"), "etc/br-version": "2023.08\n"},
    "cirros": {"etc/cirros/version": "0.3.1\n"},
    "altlinux": {"etc/os-release": _release("altlinux", "10.1", "ALT Server"), "etc/altlinux-release": "ALT 10.1\n"},
    "no-release": {"etc/hostname": "# its name\nplain\n"},
}
"""Files by the name of a family and a version that has them."""


def families_disks() -> dict[str, Path]:
    """Return a raw image for each family, with an ext2 that holds its files."""

    def build(directory: Path) -> None:
        for name, files in FAMILIES.items():
            tree = directory / "tree"
            tree.mkdir()
            write_tree(tree, {**_COMMON, **files})
            run("mke2fs", "-q", "-t", "ext2", "-d", tree, directory / f"{name}.img", "1M")
            run("rm", "-r", tree)

    directory = cached("families", Path(__file__).read_text(), build)
    return {name: directory / f"{name}.img" for name in FAMILIES}


def write_family(name: str, root: Path) -> None:
    """Write a family's files into a directory."""
    write_tree(root, {**_COMMON, **FAMILIES[name]})
