"""Disks on which one tree lies in every way that partitions, volumes, arrays and encryption can be put together.

They are made in our appliance, by the programs that a guest's system would use. Needs root.
"""

import random
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase
from typing import Final

from guestmount_py.sync import SyncGuest
from tests.guests.cache import cached, run
from tests.guests.disk import mounted
from tests.guests.mapped import empty_image, loop_devices
from tests.guests.matrix import appliance, fill

KEY: Final = "a secret"
SOURCE: Final = "source.img"
TREE: Final = "tree"
"""The directory of each filesystem that holds files; the others are to mount the other ones on."""
_SOURCE_MIB: Final = 32
_LARGE_BYTES: Final = 10 << 20
"""With it the first of the linear volumes' disks is full."""
_CRYPTSETUP: Final = "cryptsetup --batch-mode --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file - luksFormat"
"""Under emulation a key of the usual strength takes ten seconds."""


@dataclass(frozen=True, slots=True)
class Stack:
    """One way, on disks of its own.

    Attributes:
        made_with: the programs, beside those of the filesystem.
        device: what holds the filesystem; ``{0}`` is the first disk.
        sizes_mib: of the disks.
        prepare: does to the first disk's image what needs no guest.
        make: puts the device together, given the disks.
        is_mapped: its files are read from the images.
        is_btrfs: it is made of all the disks by btrfs itself.
    """

    name: str
    made_with: str
    device: str
    sizes_mib: tuple[int, ...]
    make: Callable[[SyncGuest, Sequence[str]], None] = lambda _guest, _disks: None
    prepare: Callable[[Path], object] = lambda _image: None
    is_mapped: bool = False
    is_btrfs: bool = False


def _uuid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


def luks(name: str) -> str:
    """Return what the LUKS device of a stack is called once it is open."""
    return f"/dev/mapper/luks-{_uuid(name)}"


def _table(lines: str) -> Callable[[Path], object]:
    return lambda image: run("sfdisk", "--quiet", image, stdin=lines)


def _encrypt(name: str, kind: str = "luks2") -> Callable[[Path], object]:
    return lambda image: run(*_CRYPTSETUP.split(), "--type", kind, "--uuid", _uuid(name), image, stdin=KEY)


def _open(name: str) -> Callable[[SyncGuest, Sequence[str]], None]:
    return lambda guest, disks: guest.cryptsetup_open(disks[0], KEY, luks(name).rpartition("/")[2])


def _volume(group: str, *words: str) -> Callable[[SyncGuest, Sequence[str]], None]:
    """Return what makes a group and in it the volume ``lv``, unless the words name another."""

    def make(guest: SyncGuest, disks: Sequence[str]) -> None:
        guest.vgcreate(group, list(disks))
        for command in " ".join(words).split(";"):
            guest.debug("sh", [f"lvcreate --yes {command}"])

    return make


def _array(name: str, level: str) -> Callable[[SyncGuest, Sequence[str]], None]:
    return lambda guest, disks: guest.md_create(name, list(disks), level=level)


def _lvm_on_luks(guest: SyncGuest, disks: Sequence[str]) -> None:
    _open("lvm-on-luks")(guest, disks)
    _volume("inside", "-n lv -l 100%FREE inside")(guest, [luks("lvm-on-luks")])


def _luks_on_lvm(guest: SyncGuest, disks: Sequence[str]) -> None:
    _volume("outside", "-n lv -l 100%FREE outside")(guest, disks)
    guest.debug("sh", [f"printf '{KEY}' | {_CRYPTSETUP} --uuid {_uuid('luks-on-lvm')} /dev/outside/lv"])
    _open("luks-on-lvm")(guest, ["/dev/outside/lv"])


def _nested(guest: SyncGuest, disks: Sequence[str]) -> None:
    _volume("my-nested", "-n disk -l 100%FREE my-nested")(guest, disks)
    guest.part_disk("/dev/my-nested/disk", "gpt")
    guest.lvm_scan(True)


STACKS: Final = (
    Stack(
        "linear",
        "sfdisk, LVM",
        "/dev/linear/lv",
        (20, 24),
        lambda guest, disks: _volume("linear", "-n lv -l 100%FREE linear")(guest, [f"{disks[0]}1", disks[1]]),
        _table("label: gpt\ntype=L\n"),
        is_mapped=True,
    ),
    Stack("whole", "", "{0}", (32,), is_mapped=True),
    Stack("logical", "sfdisk", "{0}6", (40,), prepare=_table("label: dos\n2048,,5\n,1M\n,\n"), is_mapped=True),
    Stack("striped", "LVM", "/dev/striped/lv", (24, 24), _volume("striped", "-n lv -i 2 -l 100%FREE striped")),
    Stack(
        "mirrored", "LVM", "/dev/mirrored/lv", (48, 48), _volume("mirrored", "-n lv --type raid1 -m 1 -L 32M mirrored")
    ),
    Stack(
        "thin",
        "LVM",
        "/dev/thin/lv",
        (60,),
        _volume("thin", "--type thin-pool -L 40M -n p thin; -V 48M --thinpool thin/p -n lv"),
    ),
    Stack(
        "snapshot",
        "LVM",
        "/dev/origin/snap",
        (80,),
        _volume("origin", "-n lv -L 32M origin; -s -n snap -L 36M origin/lv"),
    ),
    Stack("raid0", "mdadm", "/dev/md/zero", (20, 20), _array("zero", "0")),
    Stack("raid1", "mdadm", "/dev/md/one", (36, 36), _array("one", "1")),
    Stack("raid5", "mdadm", "/dev/md/five", (20, 20, 20), _array("five", "5")),
    Stack("raid6", "mdadm", "/dev/md/six", (20, 20, 20, 20), _array("six", "6")),
    Stack("raid10", "mdadm", "/dev/md/ten", (20, 20, 20, 20), _array("ten", "10")),
    Stack("luks1", "cryptsetup", luks("luks1"), (36,), _open("luks1"), _encrypt("luks1", "luks1")),
    Stack("luks2", "cryptsetup", luks("luks2"), (52,), _open("luks2"), _encrypt("luks2")),
    Stack("lvm-on-luks", "cryptsetup, LVM", "/dev/inside/lv", (60,), _lvm_on_luks, _encrypt("lvm-on-luks")),
    Stack("luks-on-lvm", "LVM, cryptsetup", luks("luks-on-lvm"), (60,), _luks_on_lvm),
    Stack("partition-in-volume", "LVM, parted", "/dev/mapper/my--nested-disk1", (44,), _nested, is_mapped=True),
    Stack(
        "btrfs-raid1",
        "mkfs.btrfs",
        "{0}",
        (128, 128),
        lambda guest, disks: guest.mkfs_btrfs(list(disks), datatype="raid1"),
        is_btrfs=True,
    ),
)
"""The first is mounted on /, the others on directories in it that are called like them."""


def devices() -> dict[str, str]:
    """Return what each stack's filesystem is on, by its name."""
    return {stack.name: stack.device.format(*disks) for stack, disks in disks_of_stacks()}


def drive_names() -> Iterator[str]:
    """Yield what the first 78 drives are called."""
    for first in ("", "a", "b"):
        yield from (f"/dev/sd{first}{second}" for second in ascii_lowercase)


def disks_of_stacks() -> list[tuple[Stack, list[str]]]:
    """Return each stack's disks, as they are called where all are given in this order."""
    names = drive_names()
    return [(stack, [next(names) for _ in stack.sizes_mib]) for stack in STACKS]


def stacked_disks() -> list[Path]:
    """Return raw images that together hold the filesystems of ``STACKS``; beside them is ``SOURCE``, what they hold."""
    names = [f"{stack.name}-{index}.img" for stack in STACKS for index in range(len(stack.sizes_mib))]

    def build(directory: Path) -> None:
        images = []
        for stack in STACKS:
            made = [
                empty_image(directory / f"{stack.name}-{index}.img", size_mib)
                for index, size_mib in enumerate(stack.sizes_mib)
            ]
            stack.prepare(made[0])
            images += made
        source = empty_image(directory / SOURCE, _SOURCE_MIB)
        with loop_devices([source]) as (device,):
            run("mkfs.ext4", "-q", "-b", "4096", device)
            with mounted(device) as root:
                (root / TREE).mkdir()
                fill(root / TREE)
                (root / TREE / "large").write_bytes(random.Random(8).randbytes(_LARGE_BYTES))
                for stack in STACKS:
                    (root / stack.name).mkdir()
        _build([*images, source])

    directory = cached("stacks", "\n".join(path.read_text() for path in _recipe()), build)
    return [directory / name for name in names]


def _recipe() -> list[Path]:
    here = Path(__file__).parent
    return [here / f"{name}.py" for name in ("disk", "mapped", "matrix", "stacks")]


def _build(images: list[Path]) -> None:
    with appliance(images, writable=True) as guest:
        source = guest.list_devices()[-1]
        for stack, disks in disks_of_stacks():
            stack.make(guest, disks)
            device = stack.device.format(*disks)
            if stack.is_btrfs:
                guest.mount_ro(source, "/")
                guest.mount(device, f"/{stack.name}")
                guest.debug("sh", [f"cp -a --sparse=always /sysroot/{TREE} /sysroot/{stack.name}/"])
                guest.umount_all()
            else:
                guest.copy_device_to_device(source, device, size=_SOURCE_MIB << 20)
        guest.shutdown()
