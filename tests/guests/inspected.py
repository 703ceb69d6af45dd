"""One disk with systems that differ in how libguestfs looks at them, and a medium that one installs from.

Needs root.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.guests import systems
from tests.guests.cache import cached, run
from tests.guests.disk import create_disk, loop_device, mounted, partition
from tests.guests.rpm import rpm_databases
from tests.guests.systems import DEBIAN, ELF, FEDORA, PE, SUBVOLUMES_FSTAB, write_hive, write_tree

_STATUS: Final = """\
Package: adduser
Status: install ok installed
Architecture: all
Version: 3.134
Description: add and remove users and groups
 This package includes the 'adduser' and 'deluser' commands.
Homepage: http://example.org/

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1:2.0-3

Package: libc6
Status: install ok installed
Source: glibc
Architecture: amd64
Version: 1:2.36-9+deb12u4
Description: GNU C Library

"""
_UNINSTALL: Final = r"""
[\Microsoft\Windows]

[\Microsoft\Windows\CurrentVersion]

[\Microsoft\Windows\CurrentVersion\Uninstall]

[\Microsoft\Windows\CurrentVersion\Uninstall\an-editor]
"DisplayName"="An Editor"
"DisplayVersion"="7.1"
"Publisher"="Somebody"
"InstallLocation"="C:\\Program Files\\Editor"
"""
_DEBIAN: Final[dict[str, str | bytes]] = {
    "bin/sh": ELF,
    "etc/fstab": "LABEL=debian / ext4 defaults 0 1\n",
    "etc/os-release": DEBIAN,
    "etc/debian_version": "12.5\n",
    "etc/hostname": "one\n",
    "var/lib/dpkg/status": _STATUS,
}
_FREEBSD: Final[dict[str, str | bytes]] = {
    "bin/freebsd-version": 'USERLAND_VERSION="13.2-RELEASE"\n',
    "bin/sh": ELF,
    "etc/freebsd-update.conf": "",
    "etc/fstab": "/dev/ada0p4 / ufs rw 1 1\n",
    "etc/rc.conf": 'hostname="beastie"\n',
}


def inspected_disk() -> Path:
    """Return a raw image with a Debian, a Fedora in subvolumes, a Windows and a FreeBSD, in this order."""

    def build(directory: Path) -> None:
        image = directory / "inspected.img"
        create_disk(image, [16, 160, 48, 64])
        _make_debian(image, 1)
        _make_fedora(image, 2)
        _make_windows(image, 3)
        _make_freebsd(image, 4)

    return cached("inspected", _recipe(), build) / "inspected.img"


def _make_debian(image: Path, number: int) -> None:
    where = partition(image, number)
    with _tree(image, _DEBIAN) as tree:
        words = ("-q", "-F", "-t", "ext4", "-L", "debian", "-E", f"offset={where.start_bytes}", "-d", tree)
        run("mke2fs", *words, image, f"{where.size_bytes >> 10}k")


def _make_freebsd(image: Path, number: int) -> None:
    """Make a UFS2; makefs(8) writes the superblock to 8 KiB, newfs(8), for which Linux looks, to 64 KiB."""
    made = image.with_suffix(".ufs")
    with _tree(image, _FREEBSD) as tree:
        run("makefs", "-t", "ffs", "-s", "48m", "-o", "version=2", "-f", "2000", made, tree)
    run("dd", f"if={made}", f"of={made}", "bs=8k", "skip=1", "seek=8", "count=1", "conv=notrunc")
    run(
        "dd", f"if={made}", f"of={image}", "bs=1M", f"seek={partition(image, number).start_bytes >> 20}", "conv=notrunc"
    )
    made.unlink()


@contextmanager
def _tree(image: Path, files: Mapping[str, str | bytes]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=image.parent) as name:
        write_tree(Path(name), files)
        yield Path(name)


def _make_fedora(image: Path, number: int) -> None:
    with loop_device(image, number, read_only=False) as device:
        run("mkfs.btrfs", "-q", "-L", "fedora", device)
        with mounted(device) as top:
            for name in ("root", "home"):
                run("btrfs", "subvolume", "create", top / name)
            write_tree(
                top / "root",
                {"etc/os-release": FEDORA, "etc/fstab": SUBVOLUMES_FSTAB, "bin/sh": ELF, "home/": "", "var/lib/": ""},
            )
            run("cp", "-r", rpm_databases() / "sqlite/var/lib/rpm", top / "root/var/lib/rpm")


def _make_windows(image: Path, number: int) -> None:
    with loop_device(image, number, read_only=False) as device:
        run("mkntfs", "--quick", "--quiet", device)
        with mounted(device, "-t", "ntfs-3g") as root:
            write_tree(root, {"Windows/System32/config/": "", "Windows/System32/cmd.exe": PE})
            config = root / "Windows/System32/config"
            write_hive(config / "SOFTWARE", systems.SOFTWARE + _UNINSTALL)
            write_hive(config / "SYSTEM", systems.SYSTEM.format(drive="00"))


def installer_medium() -> Path:
    """Return an ISO image as Debian's installer has them."""

    def build(directory: Path) -> None:
        tree = directory / "tree"
        name = 'Debian GNU/Linux 12.5.0 "Bookworm" - Official amd64 NETINST with firmware 20240210-11:27\n'
        write_tree(tree, {".disk/info": name, ".disk/cd_type": "not_complete\n", "install.amd/vmlinuz": "a kernel"})
        run("genisoimage", "-quiet", "-r", "-J", "-V", "Debian 12.5.0 amd64 n", "-o", directory / "medium.iso", tree)
        run("rm", "-r", tree)

    return cached("medium", Path(__file__).read_text(), build) / "medium.iso"


def _recipe() -> str:
    here = Path(__file__).parent
    return "\n".join((here / f"{name}.py").read_text() for name in ("disk", "rpm", "systems", "inspected"))
