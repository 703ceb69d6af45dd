"""What is not whole or makes no sense: it is mounted if it can be read, else one line says why; nothing hangs."""

import re
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.guests.disk import mounted
from tests.guests.installations import mad_disk
from tests.guests.mapped import loop_devices
from tests.guests.stacks import SOURCE, TREE, stacked_disks
from tests.system.sandbox import Sandbox
from tests.system.test_matrix import Sums, sums_of_mount

pytestmark = [pytest.mark.appliance, pytest.mark.fuse, pytest.mark.root]

_SECTOR_BYTES: Final = 512
_ENTRY: Final = struct.Struct("<4xB3xII")
"""Of a partition table: type, first sector, sectors."""
_LINUX: Final = 0x83
_EXTENDED: Final = 5
_START: Final = 2048
_DEADLINE_S: Final = 100.0
"""On a busy machine; alone it takes a tenth."""
_ALL_DEADLINE_S: Final = 280.0
"""The same of eight disks, each with another damage, which LVM, mdadm and blkid all look at."""


@pytest.fixture(scope="module")
def images() -> dict[str, Path]:
    """Give the images of the stacks by their names."""
    return {image.stem: image for image in stacked_disks()}


@pytest.fixture(scope="module")
def expected(images: dict[str, Path]) -> Sums:
    """Give what each of them holds."""
    source = next(iter(images.values())).with_name(SOURCE)
    with loop_devices([source], "--read-only") as (device,), mounted(device, "-o", "ro,noload") as root:
        return sums_of_mount(root / TREE)


def words(images: Sequence[Path]) -> list[str]:
    return ["--format=raw", *(word for image in images for word in ("-a", str(image)))]


@contextmanager
def in_time(limit_s: float = _DEADLINE_S) -> Iterator[None]:
    """Insist that a program does not hang, nor take long for damage: it reads a few sectors of small disks."""
    start_s = time.monotonic()
    yield
    assert time.monotonic() - start_s < limit_s


def refused(sandbox: Sandbox, images: Sequence[Path], device: str) -> str:
    """Insist that a device cannot be mounted; return the line that says so."""
    with in_time():
        done = sandbox.guestmount(*words(images), "-m", device, sandbox.mountpoint)
    assert done.returncode == 1
    *others, line = done.stderr.splitlines()
    assert not [other for other in others if "is still" not in other]
    assert line.startswith(f"guestmount-py: cannot mount {device.partition(':')[0]}: ")
    assert sandbox.left() == []
    return line


def test_volume_with_a_missing_disk_says_so_and_does_not_hide_the_other_disk(
    sandbox: Sandbox, images: dict[str, Path], expected: Sums
) -> None:
    parts = [images["linear-0"], images["whole-0"]]
    line = refused(sandbox, parts, "/dev/linear/lv")
    assert re.search(r"VG linear is missing PV \S+ \(last written to /dev/sdb\)", line), line
    assert "the filesystems are /dev/sdb (ext4)" in line
    with in_time(), sandbox.mounted(parts[1], ["/dev/sdb"], *words(parts[:1])) as root:
        assert sums_of_mount(root / TREE) == expected


def test_what_survives_the_loss_of_disks_is_read(sandbox: Sandbox, images: dict[str, Path], expected: Sums) -> None:
    left = (
        "raid1-1",
        "raid5-0",
        "raid5-2",
        "raid6-1",
        "raid6-2",
        "raid10-0",
        "raid10-3",
        "mirrored-1",
        "btrfs-raid1-1",
    )
    devices = {
        "raid5": "/dev/md/five",
        "raid6": "/dev/md/six",
        "raid10": "/dev/md/ten",
        "mirrored": "/dev/mirrored/lv",
        "btrfs-raid1": "/dev/sdi",
    }
    mounts = [f"{device}:/{name}" for name, device in devices.items()]
    mounts[-1] += ":degraded"
    parts = [images[name] for name in left]
    with in_time(), sandbox.mounted(parts[-1], ["/dev/md/one", *mounts], *words(parts[:-1])) as root:
        for place in (root, *(root / name for name in devices)):
            assert sums_of_mount(place / TREE) == expected, place


@pytest.mark.parametrize(
    ("left", "device", "reason"),
    [
        (["raid0-1"], "/dev/md/zero", "ot enough devices to start the array"),
        (["raid5-2"], "/dev/md/five", "ot enough devices to start the array"),
        (["btrfs-raid1-1"], "/dev/sda", "devices of this btrfs are missing: the option degraded may read it"),
    ],
)
def test_what_does_not_survive_it_says_so(
    sandbox: Sandbox, images: dict[str, Path], left: list[str], device: str, reason: str
) -> None:
    assert reason in refused(sandbox, [images[name] for name in left], device)


def test_all_mounts_what_is_whole_and_names_each_thing_that_is_not(
    sandbox: Sandbox, images: dict[str, Path], expected: Sums
) -> None:
    truncated = _half(images["whole-0"], sandbox.directory)
    names = ("whole-0", "linear-0", "raid0-1", "luks2-0", "raid1-1", "btrfs-raid1-1")
    with in_time():
        done = sandbox.guestmount(
            *words([*(images[name] for name in names), truncated]), "--all", "--ro", sandbox.mountpoint
        )
    try:
        assert done.returncode == 0, done.stderr
        patterns = (
            "/dev/sdd is encrypted and stays closed: there is no terminal to ask for it",
            r"/dev/md\d+ was not looked at: .*ot enough devices to start the array",
            r"/dev/linear/lv was not looked at: VG linear is missing PV \S+ \(last written to /dev/sdb\)",
            r"/filesystems/sdf is left out: .*: devices of this btrfs are missing: the option degraded may read it",
            r"/filesystems/sdg is left out: .*: EXT4-fs \(/dev/sdg\): bad geometry",
        )
        lines = [line for line in done.stderr.splitlines() if "is still" not in line]
        assert len(lines) == len(patterns), lines
        for pattern in patterns:
            assert [line for line in lines if re.match(f"guestmount-py: warning: {pattern}", line)], pattern
        (array,) = (path for path in (sandbox.mountpoint / "filesystems").iterdir() if path.name.startswith("md"))
        for root in (sandbox.mountpoint / "filesystems/sda", array):
            assert sums_of_mount(root / TREE) == expected
    finally:
        assert sandbox.guestunmount().returncode == 0
    assert sandbox.left() == []


def _half(image: Path, directory: Path) -> Path:
    half = directory / "truncated.img"
    with image.open("rb") as source, half.open("wb") as file:
        file.write(source.read(image.stat().st_size // 2))
    return half


def table(*rows: tuple[int, int, int]) -> bytes:
    """Return the sector that holds a partition table; rows are type, first sector, sectors."""
    entries = b"".join(_ENTRY.pack(*row) for row in rows)
    return bytes(446) + entries.ljust(64, b"\0") + b"\x55\xaa"


def _overlapping(_sectors: int) -> dict[int, bytes]:
    return {0: table((_LINUX, _START, 66_000), (_LINUX, _START + 100, 66_000), (_LINUX, _START, 90_000_000))}


def _endless(sectors: int) -> dict[int, bytes]:
    """Return a chain of extended partitions whose second member is followed by the first."""
    first = _START + sectors
    return {
        0: table((_LINUX, _START, sectors), (_EXTENDED, first, 8000)),
        first: table((_LINUX, 10, 100), (_EXTENDED, 1000, 1000)),
        first + 1000: table((_LINUX, 10, 100), (_EXTENDED, 0, 1000)),
    }


def write_senseless(image: Path, filesystem: bytes, tables: Callable[[int], dict[int, bytes]]) -> None:
    """Make an image whose first partition is a filesystem."""
    with image.open("wb") as file:
        file.truncate(64 << 20)
        file.seek(_START * _SECTOR_BYTES)
        file.write(filesystem)
        for sector, content in tables(len(filesystem) // _SECTOR_BYTES).items():
            file.seek(sector * _SECTOR_BYTES)
            file.write(content)


@pytest.mark.parametrize("tables", [_overlapping, _endless])
def test_senseless_table_does_not_hide_the_partition_that_makes_sense(
    sandbox: Sandbox,
    images: dict[str, Path],
    expected: Sums,
    tables: Callable[[int], dict[int, bytes]],
) -> None:
    image = sandbox.directory / "senseless.img"
    write_senseless(image, images["whole-0"].read_bytes(), tables)
    refused(sandbox, [image], "/dev/sda2")
    with in_time(), sandbox.mounted(image, ["/dev/sda1"], "--format=raw") as root:
        assert sums_of_mount(root / TREE) == expected


@pytest.mark.parametrize(
    ("name", "device", "reason"),
    [
        ("whole-0", "/dev/sda", "block count 8192 exceeds size of device (4096 blocks)"),
        ("logical-0", "/dev/sda6", "block count 8192 exceeds size of device"),
        ("thin-0", "/dev/thin/lv", ""),
    ],
)
def test_truncated_image_is_refused(
    sandbox: Sandbox, images: dict[str, Path], name: str, device: str, reason: str
) -> None:
    assert reason in refused(sandbox, [_half(images[name], sandbox.directory)], device)


def test_filesystem_that_the_kernel_does_not_know_is_named(sandbox: Sandbox) -> None:
    """A ZFS label: uberblocks with their magic number are what libblkid looks for."""
    image = sandbox.directory / "zfs.img"
    with image.open("wb") as file:
        file.truncate(64 << 20)
        for label in (0, 256 << 10):
            for number in range(128, 140):
                file.seek(label + number * 1024)
                file.write(struct.pack("<QQQ", 0x00BAB10C, 5000, 1))
    assert "the appliance's kernel has no zfs_member" in refused(sandbox, [image], "/dev/sda")


@pytest.fixture(scope="module")
def damaged(images: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Give a disk with a system and a mad fstab, /dev/sda, and one of each damage, as options with a wrong key."""
    directory = tmp_path_factory.mktemp("damaged")
    overlapping, endless = directory / "overlapping.img", directory / "endless.img"
    for image, tables in ((overlapping, _overlapping), (endless, _endless)):
        write_senseless(image, images["whole-0"].read_bytes(), tables)
    parts = [images[name] for name in ("linear-0", "luks2-0", "raid1-1", "raid5-2")]
    return [
        *words([mad_disk(), *parts, _half(images["whole-0"], directory), overlapping, endless]),
        "--key=all:key:wrong",
    ]


DAMAGE: Final = (
    "/dev/sdc is encrypted and stays closed: No key available with this passphrase",
    r"/dev/linear/lv was not looked at: VG linear is missing PV \S+ \(last written to /dev/sdb\)",
    r"/dev/md\d+ was not looked at: .*ot enough devices to start the array",
    r"/dev/sdf was not looked at: EXT4-fs \(/dev/sdf\): bad geometry",
    r"/dev/sda3 was not looked at: EXT4-fs \(/dev/sda3\)",
)


def warnings_of(said: str) -> list[str]:
    """Return the warnings among what a program said, and insist that it names all that is damaged."""
    start = "guestmount-py: warning: "
    lines = [line.removeprefix(start) for line in said.splitlines() if line.startswith(start)]
    for pattern in DAMAGE:
        assert len([line for line in lines if re.match(pattern, line)]) == 1, (pattern, lines)
    return lines


def test_system_is_mounted_beside_every_damage(sandbox: Sandbox, damaged: list[str]) -> None:
    with in_time(_ALL_DEADLINE_S):
        done = sandbox.guestmount(*damaged, "-i", "--ro", sandbox.mountpoint)
    try:
        assert done.returncode == 0, done.stderr
        lines = warnings_of(done.stderr)
        assert "/bad is left out: UUID=nothing-like-it is on none of the disks" in lines
        assert (sandbox.mountpoint / "data/again/x").read_text() == "data"
    finally:
        assert sandbox.guestunmount().returncode == 0
    assert sandbox.left() == []


def test_all_that_is_whole_is_listed_beside_every_damage(sandbox: Sandbox, damaged: list[str]) -> None:
    with in_time(_ALL_DEADLINE_S):
        done = sandbox.guestmount("list", *damaged)
    assert done.returncode == 0, done.stderr
    assert len(warnings_of(done.stderr)) == len(DAMAGE)
    rows = [tuple(line.split()[:3]) for line in done.stdout.splitlines()]
    filesystems = {name: kind for name, what, kind in rows if what == "filesystem"}
    (array,) = (name for name, kind in filesystems.items() if name.startswith("/dev/md") and kind == "ext4")
    for name in ("/dev/sda1", "/dev/sda2", array, "/dev/sdg1", "/dev/sdh1"):
        assert filesystems[name] == "ext4", name
    assert ("/dev/sdc", "encrypted", "device") in rows
    assert [name for name, what, _ in rows if what == "system"] == ["/dev/sda1"]
    assert {name for name, what, _ in rows if what == "disk"} == {f"/dev/sd{letter}" for letter in "abcdefgh"}
    assert sandbox.left() == []
