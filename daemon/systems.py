"""What operating system a mounted filesystem holds: Linux, by os-release(5) and a few files every distribution has."""

import os
from typing import Final, NamedTuple

from daemon.files import open_regular
from daemon.session import Session

_FILE_MAX_BYTES: Final = 256 * 1024
_OS_RELEASE: Final = (b"/etc/os-release", b"/usr/lib/os-release")
_SHELLS: Final = (b"/bin/sh", b"/usr/bin/sh", b"/bin/bash", b"/bin/busybox")
_DISTROS: Final = {
    "arch": "archlinux",
    "kali": "kalilinux",
    "ol": "oraclelinux",
    "opensuse-leap": "opensuse",
    "opensuse-tumbleweed": "opensuse",
    "void": "voidlinux",
}
"""libguestfs's names where they are not those of os-release."""
_PACKAGES: Final = {
    **dict.fromkeys(("debian", "ubuntu", "linuxmint", "kalilinux"), ("deb", "apt")),
    **dict.fromkeys(("fedora", "rhel", "centos", "rocky", "almalinux", "oraclelinux"), ("rpm", "dnf")),
    **dict.fromkeys(("opensuse", "sles", "sled"), ("rpm", "zypper")),
    "alpine": ("apk", "apk"),
    "archlinux": ("pacman", "pacman"),
    "gentoo": ("ebuild", "portage"),
    "voidlinux": ("xbps", "xbps"),
}
_DNF_SINCE: Final = {"fedora": 22, "rhel": 8, "centos": 8, "oraclelinux": 8}
"""Before these versions it was yum."""
_MACHINES: Final = {3: "i386", 20: "ppc", 21: "ppc64", 22: "s390x", 40: "arm", 62: "x86_64", 183: "aarch64"}
"""``e_machine`` of an ELF file (elf(5)) and the name of the architecture."""
UNKNOWN: Final = "unknown"


class System(NamedTuple):
    """One operating system; texts are ``unknown`` and numbers 0 where its files do not say."""

    kind: str
    distro: str
    product_name: str
    major_version: int
    minor_version: int
    package_format: str
    package_management: str
    hostname: str
    arch: str


def read_text(session: Session, path: bytes) -> str:
    """Return the begin of a regular file of the guest; empty if there is none."""
    try:
        with session.sysroot:
            descriptor = open_regular(path)
    except OSError:
        return ""
    try:
        return os.pread(descriptor, _FILE_MAX_BYTES, 0).decode("utf-8", "surrogateescape")
    finally:
        os.close(descriptor)


def system_of(session: Session) -> System | None:
    """Return the system whose root is mounted as the guest's root, None if it is none."""
    with session.sysroot:
        is_root = os.path.isdir(b"/etc") and any(os.path.isdir(name) for name in (b"/bin", b"/usr/bin"))
    release = _assignments(read_text(session, _OS_RELEASE[0]) or read_text(session, _OS_RELEASE[1]))
    if not is_root or not (release or read_text(session, b"/etc/fstab")):
        return None
    distro = _DISTROS.get(release.get("ID", ""), release.get("ID", UNKNOWN))
    major, minor = _version(release.get("VERSION_ID", ""))
    package_format, management = _PACKAGES.get(distro, (UNKNOWN, UNKNOWN))
    if management == "dnf" and major < _DNF_SINCE.get(distro, 0):
        management = "yum"
    return System(
        *("linux", distro, release.get("PRETTY_NAME", UNKNOWN), major, minor, package_format, management),
        hostname=_hostname(session),
        arch=_arch(session),
    )


def _assignments(text: str) -> dict[str, str]:
    """Take ``KEY=value`` lines apart; quotes around a value are not part of it."""
    pairs = (line.strip().partition("=") for line in text.splitlines() if not line.startswith("#"))
    return {key: value.strip("\"'") for key, equals, value in pairs if equals}


def _version(text: str) -> tuple[int, int]:
    """Return major and minor number of ``22.04``, 0 where there is none."""
    parts = [*text.split("."), "", ""]
    major, minor = (int(part) if part.isdecimal() and part.isascii() and len(part) < 10 else 0 for part in parts[:2])
    return major, minor


def _hostname(session: Session) -> str:
    lines = (line.strip() for line in read_text(session, b"/etc/hostname").splitlines())
    return next((line for line in lines if line and not line.startswith("#")), UNKNOWN)


def _arch(session: Session) -> str:
    """Return the architecture that the guest's shell is for."""
    for name in _SHELLS:
        try:
            with session.sysroot:
                descriptor = open_regular(name)
        except OSError:
            continue
        try:
            header = os.pread(descriptor, 20, 0)
        finally:
            os.close(descriptor)
        if header[:4] == b"\x7fELF" and len(header) == 20:
            number = int.from_bytes(header[18:20], "little" if header[5] == 1 else "big")
            return _MACHINES.get(number, UNKNOWN)
    return UNKNOWN
