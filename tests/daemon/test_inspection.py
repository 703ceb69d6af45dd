"""Which devices a guest's fstab means, and that systems are found in a real appliance."""

import pytest

from daemon.filesystems import Filesystem
from daemon.fstab import Entry, entries, sifted
from daemon.guest_names import GuestNames
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
from tests.guests.systems import ELF

RELEASE = 'NAME="Ubuntu"\nID=ubuntu\nVERSION_ID="22.04"\nPRETTY_NAME="Ubuntu 22.04.3 LTS"\n'
ROOT_UUID = "0f9c4d54-35f8-4b8f-a1a5-5f5f7a7c0001"
KNOWN = [
    Filesystem("/dev/sda1", "ext4", {"UUID": "twice", "LABEL": "clone", "PART_ENTRY_UUID": "12345678-01"}),
    Filesystem("/dev/sdb1", "vfat", {"UUID": "ABCD-1234", "PART_ENTRY_NAME": "EFI System"}),
    Filesystem("/dev/sdb2", "ext4", {"UUID": "twice", "LABEL": "clone", "PART_ENTRY_UUID": ROOT_UUID}),
    Filesystem("/dev/sdb5", "ufs", {}),
    Filesystem("/dev/sdc", "btrfs", {"LABEL": "data/pool"}),
    Filesystem("/dev/v-g/l-v", "xfs", {}),
    Filesystem("/dev/mapper/luks-0a1b", "ext4", {}),
    Filesystem("btrfsvol:/dev/sdc/home", "btrfs", {"LABEL": "data/pool"}),
]


def test_fstab_is_taken_apart() -> None:
    text = "# no\n/dev/sda1 / ext4 ro,noatime 0 1\n\nLABEL=x /with\\040space/ xfs\n/dev/sda2 none swap sw 0 0\n/x\n"
    text += "/dev/sd\\000 /a ext4\n/dev/sd\0 /b ext4\n"
    assert entries(text) == [
        Entry("/dev/sda1", "/", "ext4", ["ro", "noatime"]),
        Entry("LABEL=x", "/with space", "xfs", [""]),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "server:/export /net nfs",
        "//server/share /net cifs",
        "/dev/sda1 /x none bind",
        "/srv /x none rw,rbind",
        "/dev/sr0 /media/cdrom0 udf,iso9660 user,noauto",
        "/dev/cdrom /cdrom auto",
        "/dev/fd0 /floppy auto",
        "tmpfs /tmp tmpfs",
        "proc /proc proc",
        "overlay / overlay",
        "/file.img /x ext4 loop",
        "/dev/sda1 /x swap",
        "/dev/sda1 x ext4",
        "\\777 \\ \\0400",
        "LABEL= ",
    ],
)
def test_what_is_on_no_disk_is_not_mounted(line: str) -> None:
    assert entries(line) == []


def test_a_place_is_mounted_on_once() -> None:
    found, lines = sifted(entries('UUID="A" /x ext4\nUUID=B //x/./ ext4\nUUID=C /x/../y ext4\nUUID=D /y ext4\n'))
    assert [(entry.device, entry.place) for entry in found] == [("UUID=A", "/x"), ("UUID=C", "/y")]
    assert lines == [
        "UUID=B is left out: fstab has UUID=A on /x already",
        "UUID=D is left out: fstab has UUID=C on /y already",
    ]


@pytest.mark.parametrize(("count", "lines"), [(200, 0), (203, 1)])
def test_no_more_than_two_hundred_are_mounted(count: int, lines: int) -> None:
    found, said = sifted(entries("".join(f"UUID={number} /{number} ext4\n" for number in range(count))))
    assert len(found) == 200
    assert said == ["3 entries of fstab after the first 200 are left out, from /200 on"] * lines


@pytest.mark.parametrize(
    ("options", "subvolume", "number", "is_optional"),
    [
        ("rw,subvol=/@/home", "@/home", 0, False),
        ("subvolid=256,noauto", "", 256, True),
        ("subvolid=²,nofail", "", 0, True),
        ("subvol=/", "", 0, False),
    ],
)
def test_options_of_fstab(options: str, subvolume: str, number: int, is_optional: bool) -> None:
    entry = Entry("/dev/sda1", "/", "btrfs", options.split(","))
    assert (entry.subvolume, entry.subvolume_number, entry.is_optional) == (subvolume, number, is_optional)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("/dev/sdb1", "/dev/sdb1"),
        ("/dev/vdb1", "/dev/sdb1"),
        ("/dev/xvdb1", "/dev/sdb1"),
        ("/dev/hdc", "/dev/sdc"),
        ("/dev/nvme1n1p2", "/dev/sdb2"),
        ("/dev/nvme2n1", "/dev/sdc"),
        ("/dev/mmcblk0p1", "/dev/sda1"),
        ("/dev/cciss/c0d1p1", "/dev/sdb1"),
        ("/dev/ada1p2", "/dev/sdb2"),
        ("/dev/ada1s1a", "/dev/sdb5"),
        ("/dev/ada1s1c", None),
        ("/dev/wd1a", "/dev/sdb5"),
        ("0123456789abcdef.a", "/dev/sdb5"),
        ("/dev/sdd1", None),
        ("/dev/nvme9999n1p1", None),
        ("UUID=abcd-1234", "/dev/sdb1"),
        ("UUID=twice", "/dev/sdb2"),
        ("LABEL=clone", "/dev/sdb2"),
        ("LABEL=CLONE", None),
        ("PARTUUID=12345678-01", "/dev/sda1"),
        (f"PARTUUID={ROOT_UUID.upper()}", "/dev/sdb2"),
        ("PARTLABEL=EFI System", "/dev/sdb1"),
        ("UUID=", None),
        ("/dev/disk/by-uuid/ABCD-1234", "/dev/sdb1"),
        ("/dev/disk/by-label/data\\x2fpool", "/dev/sdc"),
        ("/dev/disk/by-partuuid/12345678-01", "/dev/sda1"),
        ("/dev/disk/by-id/ata-DISK_123-part2", None),
        ("/dev/disk/by-path/pci-0000:00:07.0-part1", None),
        ("/dev/disk/by-id/dm-name-v--g-l--v", "/dev/v-g/l-v"),
        ("/dev/gpt/EFI System", "/dev/sdb1"),
        ("NAME=EFI System", "/dev/sdb1"),
        ("/dev/mapper/v--g-l--v", "/dev/v-g/l-v"),
        ("/dev/v-g/l-v", "/dev/v-g/l-v"),
        ("/dev/mapper/luks-0a1b", "/dev/mapper/luks-0a1b"),
        ("/dev/mapper/root_crypt", "/dev/mapper/luks-0a1b"),
        ("/dev/mapper/other_crypt", None),
        ("/dev/sr0", None),
        ("server:/export", None),
    ],
)
def test_devices_of_fstab_are_those_of_the_disks(spec: str, expected: str | None) -> None:
    names = GuestNames(KNOWN, "/dev/sdb2", {"root_crypt": "UUID=0A1B", "other_crypt": "/dev/sdz"}, disks=3)
    assert names.device(spec) == expected
    assert names.guessed == {}


@pytest.mark.parametrize(
    ("name", "disks", "expected"),
    [
        ("by-id/ata-DISK_123-part1", 1, "/dev/sda1"),
        ("by-path/pci-0000:00:07.0-ata-1-part1", 1, "/dev/sda1"),
        ("by-id/ata-DISK_123-part2", 1, None),
        ("by-id/ata-DISK_123", 1, None),
        ("by-id/ata-DISK_123-part1", 2, None),
        ("by-id/lvm-pv-uuid-1234-part1", 1, None),
        ("by-id/dm-uuid-LVM-1234-part1", 1, None),
    ],
)
def test_name_that_tells_only_a_number_is_a_guess_if_there_is_one_disk(
    name: str, disks: int, expected: str | None
) -> None:
    names = GuestNames(KNOWN[:1], "/dev/sda1", disks=disks)
    assert names.device(f"/dev/disk/{name}") == expected
    assert names.guessed == ({f"/dev/disk/{name}": expected} if expected else {})


@pytest.mark.appliance
def test_systems_are_found_on_the_disks(storage: Scratch) -> None:
    sda, sdb = Device("/dev/sda"), Device("/dev/sdb")
    storage.call(MKFS, MkfsArgs("ext4", sda, label="home"))
    storage.call(MKFS, MkfsArgs("xfs", sdb))
    storage.call(MOUNT, MountArgs(Mountable("/dev/sdb"), "/"))
    for name in (b"/etc", b"/bin"):
        storage.call(MKDIR_P, PathArgs(GuestPath(name)))
    fstab = b"UUID=gone / xfs defaults 0 0\nLABEL=home /home ext4 defaults 0 0\n/dev/sr0 /media auto noauto 0 0\n"
    files = {b"/etc/os-release": RELEASE.encode(), b"/etc/fstab": fstab, b"/bin/sh": ELF, b"/etc/hostname": b"me"}
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
