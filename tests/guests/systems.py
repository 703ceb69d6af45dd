"""Disks with small operating systems on them: the files by which one is known, and little else. Needs root."""

import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.guests import disk
from tests.guests.cache import cached, run
from tests.guests.disk import create_disk, loop_device, mounted, partition

ELF: Final = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00\x3e\x00"
"""The begin of a program for x86_64."""
_OPTIONAL: Final = struct.pack("<H66xH", 0x20B, 3).ljust(240, b"\0")
PE: Final = b"MZ" + bytes(58) + struct.pack("<I4sHHIIIHH", 64, b"PE", 0x8664, 1, 0, 0, 0, 240, 0x22) + _OPTIONAL
"""The begin of a program of Windows for x86_64, as file(1) wants it."""
DEBIAN: Final = (
    'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n'
    'HOME_URL="https://www.debian.org/"\n'
)
FEDORA: Final = 'NAME="Fedora Linux"\nVERSION_ID=38\nID=fedora\nPRETTY_NAME="Fedora Linux 38 (Server Edition)"\n'
PARTITION_UUID: Final = "6B8B4567-327B-43C6-A3C9-8F0A0E2F0001"
FILESYSTEM_UUID: Final = "9d3f1a7e-6a0e-4b53-8b1c-0123456789ab"
APART_FSTAB: Final = f"""\
# a system in pieces, in no order
LABEL="var" /var ext4 defaults 0 2
PARTUUID={PARTITION_UUID.lower()} /boot/efi vfat umask=0077 0 1
/dev/vda1 /boot ext4 defaults 0 2
UUID={FILESYSTEM_UUID.upper()} / ext4 errors=remount-ro 0 1
PARTLABEL=user\\040programs /usr ext4 ro 0 0
UUID=00000000-1111-2222-3333-444444444444 /gone ext4 defaults 0 2
UUID=00000000-1111-2222-3333-555555555555 /perhaps ext4 nofail 0 2
/dev/sr0 /media/cdrom0 udf,iso9660 user,noauto 0 0
/dev/vda1 /boot2 ext4 noauto 0 0
LABEL=var /nowhere ext4 defaults 0 0
server:/export /net nfs defaults 0 0
/var/log /srv/log none bind 0 0
/dev/vda9 none swap sw 0 0
tmpfs /tmp tmpfs defaults 0 0
nonsense
"""
APART: Final = {"boot": "/dev/sda1", "efi": "/dev/sda2", "usr": "/dev/sda3", "var": "/dev/sda4", "root": "/dev/sda5"}
"""What is where on the disk of a system in pieces."""
SUBVOLUMES_FSTAB: Final = (
    "LABEL=fedora / btrfs subvol=root 0 0\nLABEL=fedora /home btrfs subvol=home,compress=zstd 0 0\n"
)
SOFTWARE: Final = r"""Windows Registry Editor Version 5.00

[\Microsoft]

[\Microsoft\Windows NT]

[\Microsoft\Windows NT\CurrentVersion]
"ProductName"="Windows 10 Pro"
"CurrentVersion"="6.3"
"CurrentMajorVersionNumber"=dword:0000000a
"CurrentMinorVersionNumber"=dword:00000000
"CurrentBuildNumber"="22631"
"InstallationType"="Client"
"EditionID"="Professional"
"""
SYSTEM: Final = r"""Windows Registry Editor Version 5.00

[\Select]
"Current"=dword:00000001

[\ControlSet001]

[\ControlSet001\Services]

[\ControlSet001\Services\Tcpip]

[\ControlSet001\Services\Tcpip\Parameters]
"Hostname"="DESKTOP-7"

[\MountedDevices]
"\\DosDevices\\C:"=hex:{drive}
"\\DosDevices\\D:"=hex:01,02,03,04,00,00,10,00,00,00,00,00
"""


def write_tree(root: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files, and the directories that they are in; a name that ends with a slash is a directory."""
    for name, content in files.items():
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else os.fsencode(content))


def format_partition(
    image: Path, number: int, files: Mapping[str, str | bytes], *options: str, merged: bool = False
) -> None:
    """Make an ext4 of some files in a partition."""
    where = partition(image, number)
    tree = image.with_suffix(f".{number}")
    tree.mkdir()
    write_tree(tree, files)
    if merged:
        for name in ("bin", "lib", "sbin"):
            (tree / name).symlink_to(f"usr/{name}")
    offset = f"offset={where.start_bytes}"
    run("mke2fs", "-q", "-F", "-t", "ext4", "-E", offset, "-d", tree, *options, image, f"{where.size_bytes >> 10}k")
    run("rm", "-r", tree)


def apart_disk() -> Path:
    """Return a raw image with a usr-merged Debian in pieces, as ``APART`` and ``APART_FSTAB`` say."""

    def build(directory: Path) -> None:
        image = directory / "apart.img"
        create_disk(image, [16, 34, 32, 16, 32])
        run("sfdisk", "--part-uuid", image, "2", PARTITION_UUID)
        run("sfdisk", "--part-label", image, "3", "user programs")
        format_partition(image, 1, {"vmlinuz": "a kernel", "efi/": ""})
        efi = partition(image, 2)
        run("mkfs.vfat", f"--offset={efi.start_bytes // disk.SECTOR_BYTES}", image, str(efi.size_bytes // 1024))
        run("mmd", "-i", f"{image}@@{efi.start_bytes}", "::/EFI")
        format_partition(image, 3, {"bin/sh": ELF, "lib/os-release": DEBIAN, "share/": "", "sbin/": ""})
        format_partition(image, 4, {"log/syslog": "a line\n"}, "-L", "var")
        places = ("boot/", "usr/", "var/", "gone/", "boot2/", "perhaps/", "media/cdrom0/", "nowhere/")
        root: dict[str, str | bytes] = {
            **dict.fromkeys(places, ""),
            "etc/fstab": APART_FSTAB,
            "etc/hostname": "apart\n",
        }
        format_partition(image, 5, root, "-U", FILESYSTEM_UUID, merged=True)

    return cached("apart", _recipe(), build) / "apart.img"


def subvolumes_disk() -> Path:
    """Return a raw image with a Fedora in btrfs subvolumes ``root`` and ``home``, and a snapshot of the first."""

    def build(directory: Path) -> None:
        image = directory / "subvolumes.img"
        create_disk(image, [256])
        with loop_device(image, 1, read_only=False) as device:
            run("mkfs.btrfs", "-q", "-L", "fedora", device)
            with mounted(device) as top:
                for name in ("root", "home"):
                    run("btrfs", "subvolume", "create", top / name)
                tree: dict[str, str | bytes] = {
                    "etc/os-release": FEDORA,
                    "etc/fstab": SUBVOLUMES_FSTAB,
                    "bin/sh": ELF,
                    "home/": "",
                }
                write_tree(top / "root", tree)
                write_tree(top / "home", {"me/file": "at home"})
                run("btrfs", "subvolume", "snapshot", "-r", top / "root", top / "before")

    return cached("subvolumes", _recipe(), build) / "subvolumes.img"


def windows_disk() -> Path:
    """Return a raw image with a Windows 11 on NTFS in the second partition, drive C, of a GPT; D is elsewhere."""

    def build(directory: Path) -> None:
        image = directory / "windows.img"
        create_disk(image, [16, 64])
        run("sfdisk", "--part-uuid", image, "2", PARTITION_UUID)
        drive = b"DMIO:ID:" + _guid(PARTITION_UUID)
        with loop_device(image, 2, read_only=False) as device:
            run("mkntfs", "--quick", "--quiet", device)
            with mounted(device, "-t", "ntfs-3g") as root:
                write_tree(root, {"Windows/System32/config/": "", "Users/me/file": "x", "Windows/System32/cmd.exe": PE})
                config = root / "Windows/System32/config"
                write_hive(config / "SOFTWARE", SOFTWARE)
                write_hive(config / "SYSTEM", SYSTEM.format(drive=",".join(f"{byte:02x}" for byte in drive)))

    return cached("windows", _recipe(), build) / "windows.img"


def _guid(text: str) -> bytes:
    """Return a GUID as Windows keeps it."""
    first, second, third, *rest = text.split("-")
    return struct.pack("<IHH", int(first, 16), int(second, 16), int(third, 16)) + bytes.fromhex("".join(rest))


def write_hive(path: Path, registry: str) -> None:
    """Make a hive with what a .reg file says, by hivex's own program, from an empty one."""
    path.write_bytes(empty_hive())
    exported = path.with_suffix(".reg")
    exported.write_text(registry)
    run("hivexregedit", "--merge", path, exported)
    exported.unlink()


def empty_hive() -> bytes:
    """Return a hive with a root key and nothing in it."""
    descriptor = bytes.fromhex("0100048000000000000000000000000014000000") + bytes.fromhex("0200080000000000")
    security = b"sk" + struct.pack("<HIIII", 0, 0x78, 0x78, 1, len(descriptor)) + descriptor
    name = b"root"
    root = struct.pack("<2sHQIIIIIIIIIIIIIIIHH", b"nk", 0x2C, 0, *([0] * 4), *_LISTS, 0x78, *_NONE, len(name), 0) + name
    cells = _cell(root, 0x78 - 0x20) + _cell(security, 0x60)
    cells += struct.pack("<i", 4096 - 32 - len(cells)) + bytes(4096 - 32 - len(cells) - 4)
    block = struct.pack("<4sIIQIIIIII", b"regf", 1, 1, 0, 1, 3, 0, 1, 0x20, 4096) + struct.pack("<I", 1)
    block = block.ljust(508, b"\0")
    checksum = 0
    for (word,) in struct.iter_unpack("<I", block):
        checksum ^= word
    base = (block + struct.pack("<I", checksum)).ljust(4096, b"\0")
    return base + struct.pack("<4sIIQQI", b"hbin", 0, 4096, 0, 0, 0) + cells


_LISTS: Final = (0xFFFFFFFF, 0xFFFFFFFF, 0, 0xFFFFFFFF)
"""No list of subkeys, none of volatile ones, no values, no list of them."""
_NONE: Final = (0xFFFFFFFF, 0, 0, 0, 0, 0)
"""No class, and the longest of nothing."""


def _cell(data: bytes, size_bytes: int) -> bytes:
    return struct.pack("<i", -size_bytes) + data.ljust(size_bytes - 4, b"\0")


def _recipe() -> str:
    return Path(__file__).read_text() + Path(disk.__file__).read_text()
