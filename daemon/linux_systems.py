"""What a tree of Linux says of itself: by os-release(5), or the older files of each family."""

import re
from collections.abc import Iterator
from typing import Final

from daemon.elf import arch_of
from daemon.guest_view import GuestView
from daemon.unknown_system import UNKNOWN, UNKNOWN_SYSTEM
from rpc.procedures.inspection import System

_OS_RELEASE: Final = (b"/etc/os-release", b"/usr/lib/os-release")
_SHELLS: Final = (b"/bin/bash", b"/bin/ls", b"/bin/sh", b"/usr/bin/sh", b"/bin/busybox", b"/sbin/init")
_DISTROS: Final = {
    "alpine": "alpinelinux",
    "arch": "archlinux",
    "kali": "kalilinux",
    "ol": "oraclelinux",
    "openmandriva": "mandriva",
    "opensuse-leap": "opensuse",
    "opensuse-tumbleweed": "opensuse",
    "pld": "pldlinux",
    "sles_sap": "sles",
    "void": "voidlinux",
}
"""libguestfs's names where they are not those of os-release."""
_RED_HAT: Final = ("rhel", "centos", "rocky", "almalinux", "oraclelinux", "scientificlinux", "redhat-based")
_PACKAGES: Final = {
    **dict.fromkeys(("debian", "ubuntu", "linuxmint", "kalilinux", "raspbian", "devuan"), ("deb", "apt")),
    **dict.fromkeys(("fedora", "openEuler", "amzn", *_RED_HAT), ("rpm", "dnf")),
    **dict.fromkeys(("opensuse", "sles", "sled", "suse-based", "opensuse-microos"), ("rpm", "zypper")),
    **dict.fromkeys(("mageia", "mandriva"), ("rpm", "urpmi")),
    "altlinux": ("rpm", "apt"),
    "alpinelinux": ("apk", "apk"),
    "archlinux": ("pacman", "pacman"),
    "frugalware": ("pacman", "pacman"),
    "manjaro": ("pacman", "pacman"),
    "gentoo": ("ebuild", "portage"),
    "pardus": ("pisi", "pisi"),
    "voidlinux": ("xbps", "xbps"),
}
_DNF_SINCE: Final = {"fedora": 22, **dict.fromkeys(_RED_HAT, 8)}
"""Before these versions it was yum."""
_YUM_SINCE: Final = 5
"""Before this version of Red Hat's and its kin it was up2date."""
_RED_HAT_LINES: Final = (
    ("Fedora", "fedora"),
    ("Red Hat Enterprise Linux", "rhel"),
    ("CentOS", "centos"),
    ("Scientific Linux", "scientificlinux"),
    ("Rocky Linux", "rocky"),
    ("AlmaLinux", "almalinux"),
    ("Oracle Linux", "oraclelinux"),
)
"""How the line of /etc/redhat-release begins, and whose it is."""
_RELEASE_FILES: Final = (
    (b"/etc/mandriva-release", "mandriva"),
    (b"/etc/mageia-release", "mageia"),
    (b"/etc/oracle-release", "oraclelinux"),
    (b"/etc/pld-release", "pldlinux"),
    (b"/etc/altlinux-release", "altlinux"),
    (b"/etc/centos-release", "centos"),
    (b"/etc/rocky-release", "rocky"),
    (b"/etc/redhat-release", ""),
    (b"/etc/SuSE-release", "suse-based"),
    (b"/etc/pardus-release", "pardus"),
    (b"/etc/arch-release", "archlinux"),
    (b"/etc/gentoo-release", "gentoo"),
    (b"/etc/meego-release", "meego"),
    (b"/etc/slackware-version", "slackware"),
    (b"/etc/frugalware-release", "frugalware"),
    (b"/etc/ttylinux-target", "ttylinux"),
    (b"/etc/cirros/version", "cirros"),
    (b"/etc/br-version", "buildroot"),
    (b"/etc/alpine-release", "alpinelinux"),
    (b"/etc/debian_version", "debian"),
)
"""What tells a distribution without os-release, in the order they are looked at: many have Red Hat's as well."""
_OSTREE: Final = b"/ostree/deploy"


def linux_system(view: GuestView) -> System | None:
    """Return the Linux whose root this is; None if it is none."""
    deployment = _deployment(view)
    if deployment:
        view = view.below(deployment)
    if not view.is_directory(b"/etc") or not (view.is_directory(b"/bin") or view.target(b"/bin") == b"usr/bin"):
        return None
    release = assignments(view.text(_OS_RELEASE[0]) or view.text(_OS_RELEASE[1]))
    found = _by_os_release(view, release) if release.get("ID") else _by_older_files(view)
    if found == UNKNOWN_SYSTEM and not (release or view.is_file(b"/etc/fstab")):
        return None
    package_format, management = _packages(found.distro, found.major_version)
    return found._replace(
        kind="linux",
        package_format=package_format,
        package_management=management,
        hostname=_hostname(view),
        arch=arch_of(view, _SHELLS),
        build_id=release.get("BUILD_ID", ""),
    )


def _deployment(view: GuestView) -> bytes:
    """Return the directory of the first system that OSTree has deployed; empty if this is an ordinary root."""
    if view.is_directory(b"/etc"):
        return b""
    for name in view.names(_OSTREE):
        directory = _OSTREE + b"/" + name + b"/deploy"
        for version in view.names(directory):
            if view.is_directory(directory + b"/" + version + b"/etc"):
                return directory + b"/" + version
    return b""


def _by_os_release(view: GuestView, release: dict[str, str]) -> System:
    distro = _DISTROS.get(release["ID"], release["ID"])
    major, minor = version_of(release.get("VERSION_ID", ""))
    if not minor and "." not in release.get("VERSION_ID", ""):  # only an older file may know
        for path, owner in _RELEASE_FILES:
            if owner == distro and owner != "archlinux":
                fuller = version_of(view.first_line(path))
                if fuller[0] == major:
                    minor = fuller[1]
    return UNKNOWN_SYSTEM._replace(
        distro=distro, product_name=release.get("PRETTY_NAME", UNKNOWN), major_version=major, minor_version=minor
    )


def _by_older_files(view: GuestView) -> System:
    standard = assignments(view.text(b"/etc/lsb-release"))
    name = {"Ubuntu": "ubuntu", "LinuxMint": "linuxmint", "MandrivaLinux": "mandriva", "Mageia": "mageia"}.get(
        standard.get("DISTRIB_ID", "")
    )
    if name:
        major, minor = version_of(standard.get("DISTRIB_RELEASE", ""))
        product = standard.get("DISTRIB_DESCRIPTION", UNKNOWN)
        return UNKNOWN_SYSTEM._replace(distro=name, product_name=product, major_version=major, minor_version=minor)
    for path, distro in _RELEASE_FILES:
        if view.is_file(path):
            line = view.first_line(path)
            if not distro:
                distro = next((whose for begin, whose in _RED_HAT_LINES if line.startswith(begin)), "redhat-based")
            if distro == "suse-based":
                distro = _suse(line)
            major, minor = version_of(line)
            update = re.search(r"\bUpdate ([0-9]{1,9})\b", line)  # Red Hat's, before 5
            if update and not minor:
                minor = int(update[1])
            if distro == "suse-based" or path == b"/etc/SuSE-release":
                major, minor = _suse_version(view, major, minor)
            return UNKNOWN_SYSTEM._replace(
                distro=distro, product_name=line or UNKNOWN, major_version=major, minor_version=minor
            )
    return UNKNOWN_SYSTEM


def _suse(line: str) -> str:
    for begin, distro in (("openSUSE", "opensuse"), ("SUSE Linux Enterprise Server", "sles")):
        if line.startswith(begin):
            return distro
    return "sled" if line.startswith("SUSE Linux Enterprise Desktop") else "suse-based"


def _suse_version(view: GuestView, major: int, minor: int) -> tuple[int, int]:
    """Return the version that the lines ``VERSION = 11`` and ``PATCHLEVEL = 4`` tell."""
    words = {key.strip(): value.strip() for key, value in assignments(view.text(b"/etc/SuSE-release")).items()}
    numbers = version_of(words.get("VERSION", f"{major}.{minor}"))
    return numbers[0], version_of(words.get("PATCHLEVEL", str(numbers[1])))[0]


def _packages(distro: str, major: int) -> tuple[str, str]:
    package_format, management = _PACKAGES.get(distro, (UNKNOWN, UNKNOWN))
    if management == "dnf" and major < _DNF_SINCE.get(distro, 0):
        management = "yum" if distro == "fedora" or major >= _YUM_SINCE else "up2date"
    return package_format, management


def assignments(text: str) -> dict[str, str]:
    """Take ``KEY=value`` lines apart; quotes around a value are not part of it."""
    pairs = (line.strip().partition("=") for line in text.splitlines() if not line.startswith("#"))
    return {key: value.strip("\"'") for key, equals, value in pairs if equals}


def version_of(text: str) -> tuple[int, int]:
    """Return major and minor number of the first ``22.04`` or ``7`` in a text, 0 where there is none."""
    match = re.search(r"(?<![0-9.])([0-9]{1,9})(?:\.([0-9]{1,9})(?![0-9]))?(?![0-9])", text)
    return (int(match[1]), int(match[2] or 0)) if match else (0, 0)


def _hostname(view: GuestView) -> str:
    def candidates() -> Iterator[str]:
        yield view.first_line(b"/etc/HOSTNAME")
        yield view.first_line(b"/etc/hostname")
        yield assignments(view.text(b"/etc/sysconfig/network")).get("HOSTNAME", "")
        yield assignments(view.text(b"/etc/conf.d/hostname")).get("hostname", "")

    return next((name for name in candidates() if name), UNKNOWN)
