"""What a tree that is neither Linux nor Windows says of itself: the BSDs, Minix, Hurd, and what systems come on."""

import re
from typing import Final

from daemon.elf import arch_of
from daemon.guest_view import GuestView
from daemon.linux_systems import assignments, version_of
from daemon.unknown_system import UNKNOWN, UNKNOWN_SYSTEM
from rpc.procedures.inspection import System

_SHELLS: Final = (b"/bin/sh", b"/bin/ls")
_MEDIA: Final = {
    "Debian": "debian",
    "Ubuntu": "ubuntu",
    "Kubuntu": "ubuntu",
    "Kali": "kalilinux",
    "Linux Mint": "linuxmint",
    "Fedora": "fedora",
    "CentOS": "centos",
    "Red Hat Enterprise Linux": "rhel",
    "Rocky Linux": "rocky",
    "AlmaLinux": "almalinux",
    "Oracle Linux": "oraclelinux",
    "openSUSE": "opensuse",
    "SUSE Linux Enterprise": "sles",
}
"""How a medium's name begins, and libguestfs's name of the distribution."""
_LIVE: Final = (b"/casper", b"/live", b"/LiveOS", b"/arch")


def bsd_system(view: GuestView) -> System | None:
    """Return the system whose root this is; None if it is none of those known here."""
    distro = _distro(view)
    if not distro:
        return None
    line = view.first_line(b"/etc/release") or view.first_line(b"/etc/motd") or view.first_line(b"/etc/version")
    if distro == "freebsd":
        version = re.search(r'USERLAND_VERSION="?([^"\n]+)', view.text(b"/bin/freebsd-version"))
        line = f"FreeBSD {version[1]}" if version else line
    major, minor = version_of(line)
    kind = "hurd" if distro == "hurd" else distro
    return UNKNOWN_SYSTEM._replace(
        kind=kind,
        distro=UNKNOWN if distro in ("hurd", "minix") else distro,
        product_name=line or UNKNOWN,
        major_version=major,
        minor_version=minor,
        package_format="pkgsrc" if distro == "netbsd" else UNKNOWN,
        package_management="pkgsrc" if distro == "netbsd" else UNKNOWN,
        hostname=_hostname(view),
        arch=arch_of(view, _SHELLS),
    )


def _distro(view: GuestView) -> str:
    """Return libguestfs's name of a system that is told by files which only it has."""
    if view.is_directory(b"/etc") and view.is_directory(b"/bin"):
        if view.is_file(b"/bin/freebsd-version", b"/etc/freebsd-update.conf"):
            return "freebsd"
        if view.is_file(b"/netbsd") and view.is_file(b"/etc/release", b"/etc/rc.subr"):
            return "netbsd"
        if view.is_file(b"/bsd") and view.is_file(b"/etc/fstab", b"/etc/motd"):
            return "openbsd"
        if view.is_file(b"/sbin/hammer2", b"/sbin/hammer"):
            return "dragonflybsd"
        if view.is_file(b"/service/vm"):
            return "minix"
    return "hurd" if view.is_file(b"/hurd/console", b"/hurd/null") else ""


def _hostname(view: GuestView) -> str:
    """Return the host's name, which stands in a file that a shell reads, or in one of its own."""
    name = assignments(view.text(b"/etc/rc.conf")).get("hostname", "").strip("\"'")
    return name or view.first_line(b"/etc/myname") or view.first_line(b"/etc/hostname") or UNKNOWN


def installer(view: GuestView) -> System | None:
    """Return the system that a medium installs; None if this is none."""
    name, major, minor, arch = _medium(view)
    if not name:
        return None
    if name == "Windows":
        found = UNKNOWN_SYSTEM._replace(kind="windows", distro="windows", product_name="Windows")
    else:
        distro = next((whose for begin, whose in _MEDIA.items() if name.startswith(begin)), UNKNOWN)
        found = UNKNOWN_SYSTEM._replace(kind="linux", distro=distro, product_name=name)
    return found._replace(
        format="installer",
        major_version=major,
        minor_version=minor,
        arch=arch or UNKNOWN,
        is_live=view.is_directory(*_LIVE),
        is_netinst="netinst" in name.lower() or "boot.iso" in name.lower(),
    )


def _medium(view: GuestView) -> tuple[str, int, int, str]:
    """Return what a medium is called, its version and its architecture; no name if it is none."""
    line = view.first_line(b"/.disk/info")
    if line:
        arch = re.search(r"\b(amd64|i386|arm64|ppc64el|s390x|riscv64)\b", line)
        names = {"amd64": "x86_64", "arm64": "aarch64", "ppc64el": "ppc64le"}
        return line, *version_of(line), names.get(arch[1], arch[1]) if arch else ""
    tree = assignments(view.text(b"/.treeinfo").replace(" = ", "="))
    if tree.get("family") or tree.get("name"):
        name = tree.get("name") or f"{tree['family']} {tree.get('version', '')}"
        return name, *version_of(tree.get("version", "")), tree.get("arch", "")
    if view.spelled(b"sources", b"boot.wim") and view.spelled(b"bootmgr"):
        return "Windows", 0, 0, ""
    lines = view.text(b"/.discinfo").splitlines()
    if len(lines) > 2:
        return lines[1].strip(), *version_of(lines[1]), lines[2].strip()
    return ("unknown", 0, 0, "") if view.is_file(b"/isolinux/isolinux.cfg", b"/isolinux.cfg") else ("", 0, 0, "")
