"""Disks with systems as installers lay them out on encrypted devices, volumes and arrays, and one with a mad fstab.

What the kernel of this machine need not do is done in our appliance, by the programs of a guest's system. Needs root.
"""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from guestmount_py.sync import SyncGuest
from tests.guests.cache import cached, run
from tests.guests.disk import create_disk, partition
from tests.guests.mapped import empty_image
from tests.guests.matrix import appliance
from tests.guests.stacks import KEY
from tests.guests.systems import DEBIAN, ELF, FEDORA, write_tree

Tree = Mapping[str, str | bytes]

_CRYPTSETUP: Final = "cryptsetup --batch-mode --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file - luksFormat"
"""Under emulation a key of the usual strength takes ten seconds."""
DEBIAN_UUID: Final = str(uuid.uuid5(uuid.NAMESPACE_OID, "debian"))
FEDORA_UUID: Final = str(uuid.uuid5(uuid.NAMESPACE_OID, "fedora"))
"""Of the encrypted devices."""
_DEBIAN_FSTAB: Final = """\
/dev/mapper/debian--vg-root / ext4 errors=remount-ro 0 1
LABEL=boot /boot ext2 defaults 0 2
/dev/mapper/debian--vg-home /home ext4 defaults 0 2
/dev/mapper/debian--vg-swap_1 none swap sw 0 0
/dev/sr0 /media/cdrom0 udf,iso9660 user,noauto 0 0
"""
_FEDORA_FSTAB: Final = """\
LABEL=fedora / btrfs subvol=root,compress=zstd:1,x-systemd.device-timeout=0 0 0
LABEL=fboot /boot ext4 defaults 1 2
LABEL=fedora /home btrfs subvol=home,compress=zstd:1,x-systemd.device-timeout=0 0 0
"""
_ARRAY_FSTAB: Final = """\
/dev/md1 / ext4 defaults 0 1
/dev/md0 /boot ext4 defaults 0 2
/dev/md/none /srv ext4 defaults 0 2
"""
MAD_FSTAB: Final = (
    """\
LABEL=data /../../etc/../data ext4
LABEL=root / ext4
LABEL=data / ext4
LABEL=root /self ext4
LABEL=data /data/again ext4
LABEL=data relative ext4
LABEL=data ../up ext4
LABEL=data /loop ext4
LABEL=data /out ext4
LABEL=data /file ext4
LABEL=data /not/there ext4
LABEL=broken /broken ext4
UUID=nothing-like-it /bad ext4
UUID= /empty ext4
/dev/mapper/no-where /none ext4
/dev/sda99999999999999999999 /far ext4
/dev/../dev/sda2 /dots ext4
/dev/sda2;reboot /shell ext4
= = = =
LABEL=data
\\777\\000 \\057odd\\040place \\0
"""
    + "x" * 70_000
    + "\n"
)


def encrypted_disks() -> list[Path]:
    """Return raw images, each with /boot on /dev/sdX1 and the rest on /dev/sdX2, which ``KEY`` opens.

    The first is Debian's, root, home and swap being volumes; the second is Fedora's, a btrfs with root and home.
    """

    def build(directory: Path) -> None:
        images = [directory / "debian.img", directory / "fedora.img"]
        for image, size_mib, identifier in zip(images, (96, 140), (DEBIAN_UUID, FEDORA_UUID), strict=True):
            create_disk(image, [8, size_mib])
            luks = empty_image(directory / "luks", size_mib)
            run(*_CRYPTSETUP.split(), "--type", "luks2", "--uuid", identifier, luks, stdin=KEY)
            run("dd", f"if={luks}", f"of={image}", "bs=1M", "seek=9", "conv=notrunc,sparse")
            luks.unlink()
        with appliance(images, writable=True) as guest:
            _install_debian(guest)
            _install_fedora(guest)
            guest.shutdown()

    return [cached("encrypted", _recipe(), build) / name for name in ("debian.img", "fedora.img")]


def _install_debian(guest: SyncGuest) -> None:
    guest.cryptsetup_open("/dev/sda2", KEY, "debian")
    guest.vgcreate("debian-vg", ["/dev/mapper/debian"])
    for name, size_mib in (("root", 32), ("home", 16), ("swap_1", 16)):
        guest.lvcreate(name, "debian-vg", size_mib)
    guest.mkswap("/dev/debian-vg/swap_1")
    root: Tree = {
        "etc/os-release": DEBIAN,
        "etc/fstab": _DEBIAN_FSTAB,
        "etc/crypttab": f"sda2_crypt UUID={DEBIAN_UUID} none luks,discard\n",
        **dict.fromkeys(("boot/", "home/", "media/cdrom0/"), ""),
        "bin/sh": ELF,
    }
    _fill(guest, "/dev/debian-vg/root", root)
    _fill(guest, "/dev/debian-vg/home", {"me/file": "at home"})
    _fill(guest, "/dev/sda1", {"vmlinuz": "a kernel"}, "ext2", "boot")


def _install_fedora(guest: SyncGuest) -> None:
    guest.cryptsetup_open("/dev/sdb2", KEY, "fedora")
    guest.mkfs("btrfs", "/dev/mapper/fedora", label="fedora")
    guest.mount("/dev/mapper/fedora", "/")
    for name in ("/root", "/home"):
        guest.btrfs_subvolume_create(name)
    guest.umount_all()
    root: Tree = {
        "etc/os-release": FEDORA,
        "etc/fstab": _FEDORA_FSTAB,
        "etc/crypttab": f"luks-{FEDORA_UUID} UUID={FEDORA_UUID} none discard\n",
        **dict.fromkeys(("boot/", "home/"), ""),
        "bin/sh": ELF,
    }
    _fill(guest, "btrfsvol:/dev/mapper/fedora/root", root, "")
    _fill(guest, "btrfsvol:/dev/mapper/fedora/home", {"me/file": "at home"}, "")
    _fill(guest, "/dev/sdb1", {"vmlinuz": "a kernel"}, "ext4", "fboot")


def array_disks() -> list[Path]:
    """Return two raw images: a system whose /boot and / are mirrored on the partitions of both."""

    def build(directory: Path) -> None:
        images = [directory / "one.img", directory / "two.img"]
        for image in images:
            create_disk(image, [16, 40])
        with appliance(images, writable=True) as guest:
            lines = []
            for number, name in enumerate(("boot", "system"), start=1):
                guest.md_create(name, [f"/dev/sda{number}", f"/dev/sdb{number}"], level="1")
                facts = dict(guest.md_detail(f"/dev/md/{name}"))
                lines.append(f"ARRAY /dev/md{number - 1} metadata=1.2 name=host:{name} UUID={facts['uuid']}\n")
            root: Tree = {
                "etc/os-release": DEBIAN,
                "etc/fstab": _ARRAY_FSTAB,
                "etc/mdadm/mdadm.conf": "".join(["# written by mkconf\n", *lines]),
                **dict.fromkeys(("boot/", "srv/"), ""),
                "bin/sh": ELF,
            }
            _fill(guest, "/dev/md/system", root)
            _fill(guest, "/dev/md/boot", {"vmlinuz": "a kernel"})
            guest.shutdown()

    return [cached("arrays", _recipe(), build) / name for name in ("one.img", "two.img")]


def _fill(guest: SyncGuest, mountable: str, files: Tree, filesystem: str = "ext4", label: str | None = None) -> None:
    """Write files into a filesystem, a new one unless it is there."""
    if filesystem:
        guest.mkfs(filesystem, mountable, label=label)
    guest.mount(mountable, "/")
    for name, content in files.items():
        guest.mkdir_p(f"/{name}".rpartition("/")[0] or "/")
        if not name.endswith("/"):
            guest.write(f"/{name}", content.encode() if isinstance(content, str) else content)
    guest.umount_all()


def mad_disk() -> Path:
    """Return a raw image: sda1 is a root whose fstab is ``MAD_FSTAB``, sda2 its data, sda3 a damaged filesystem."""

    def build(directory: Path) -> None:
        image = directory / "mad.img"
        create_disk(image, [16, 16, 16])
        places = ("data/again/", "self/", "bad/", "empty/", "none/", "far/", "dots/", "shell/", "odd place/", "broken/")
        root: Tree = {
            "etc/os-release": DEBIAN,
            "etc/fstab": MAD_FSTAB,
            **dict.fromkeys(places, ""),
            "file": "no directory",
            "bin/sh": ELF,
        }
        for number, (label, files) in enumerate(
            (("root", root), ("data", {"again/x": "data"}), ("broken", {})), start=1
        ):
            where = partition(image, number)
            tree = directory / label
            tree.mkdir()
            write_tree(tree, files)
            if label == "root":
                (tree / "loop").symlink_to("loop")
                (tree / "out").symlink_to("../../../../run")
            offset = f"offset={where.start_bytes}"
            size = f"{where.size_bytes >> 10}k"
            run("mke2fs", "-q", "-F", "-t", "ext4", "-L", label, "-E", offset, "-d", tree, image, size)
            run("rm", "-r", tree)
        with image.open("r+b") as file:  # the magic number and the label stay, so it is still found
            file.seek(partition(image, 3).start_bytes + 1024)
            file.write(b"\xff" * 56)

    return cached("mad", _recipe(), build) / "mad.img"


def _recipe() -> str:
    here = Path(__file__).parent
    return "\n".join((here / f"{name}.py").read_text() for name in ("disk", "systems", "installations"))
