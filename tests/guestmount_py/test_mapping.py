"""What maps of files say is what the kernel reads: real filesystems of the host's kernel on loop devices."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from daemon.stacks import NotMappableError
from guestmount_py.extents import AddressMap, file_map
from rpc.extents import EXTENT
from tests.guests.cache import run
from tests.guests.disk import mounted
from tests.guests.mapped import (
    MANY,
    Compared,
    Images,
    compare,
    contents_of,
    empty_image,
    extents_of,
    loop_devices,
    mapping_of,
    remounted,
    told_layout,
    write_awkward_files,
    write_shared_files,
)

pytestmark = pytest.mark.root

EXT: list[tuple[str, Sequence[str], int]] = [
    ("ext2", ("mkfs.ext2", "-q", "-b", "4096"), 4096),
    ("ext3", ("mkfs.ext3", "-q", "-b", "4096"), 4096),
    ("ext4", ("mkfs.ext4", "-q", "-b", "4096"), 4096),
    ("ext4-1k", ("mkfs.ext4", "-q", "-b", "1024"), 1024),
    ("ext4-inline", ("mkfs.ext4", "-q", "-b", "4096", "-O", "inline_data"), 4096),
    ("ext4-bigalloc", ("mkfs.ext4", "-q", "-b", "4096", "-O", "bigalloc", "-C", "65536"), 65536),
]


async def compared(root: Path, devices: Sequence[Path], images: Sequence[Path]) -> Compared:
    """Compare a mounted filesystem whose drives are loop devices."""
    known = Images({device.name: image for device, image in zip(devices, images, strict=True)})
    async with mapping_of(root) as verbs:
        return await compare(contents_of(root), verbs, AddressMap(told_layout(root), known.sizes), known)


def files_in(root: Path) -> set[str]:
    return {place for place, data in contents_of(root).items() if data is not None}


@pytest.mark.parametrize(("mkfs", "block_bytes"), [row[1:] for row in EXT], ids=[row[0] for row in EXT])
async def test_ext_files_are_identical(tmp_path: Path, mkfs: Sequence[str], block_bytes: int) -> None:
    image = empty_image(tmp_path / "image", 300)
    with remounted([image], mkfs, lambda root: write_awkward_files(root, block_bytes)) as (root, devices):
        found = await compared(root, devices, [image])
        assert found.refused == ({"plain-1", "plain-60", "plain-100"} if "inline_data" in mkfs else set())
        assert found.mapped.keys() | found.refused == files_in(root)
        async with mapping_of(root) as verbs:
            (many,) = (await extents_of(verbs, b"/", [b"many"])).files
        assert many is not None
        assert len(many) >= MANY * EXTENT.size


async def test_xfs_files_with_shared_blocks_are_identical(tmp_path: Path) -> None:
    image = empty_image(tmp_path / "image", 320)

    def fill(root: Path) -> None:
        write_awkward_files(root)
        write_shared_files(root)

    with remounted([image], ("mkfs.xfs", "-q", "-m", "reflink=1"), fill) as (root, devices):
        found = await compared(root, devices, [image])
        assert found.refused == set()
        assert found.mapped.keys() == files_in(root)
        assert found.mapped["original"].pieces(0, 4096) == found.mapped["copy"].pieces(0, 4096)


def two_subvolumes(root: Path) -> None:
    for name in ("one", "two"):
        run("btrfs", "subvolume", "create", root / name)
        write_awkward_files(root / name)
    write_shared_files(root / "two")
    run("btrfs", "subvolume", "snapshot", root / "two", root / "three")
    (root / "three/original").write_bytes(b"changed" * 5000)


@pytest.mark.parametrize("profile", ["single", "dup"])
async def test_btrfs_files_in_all_subvolumes_are_identical(tmp_path: Path, profile: str) -> None:
    image = empty_image(tmp_path / "image", 400)
    with remounted([image], ("mkfs.btrfs", "-q", "-d", profile), two_subvolumes) as (root, devices):
        found = await compared(root, devices, [image])
        assert {name.rpartition("/")[2] for name in found.refused} <= {
            "plain-1",
            "plain-60",
            "plain-100",
            "plain-1023",
        }  # inline
        assert found.mapped.keys() | found.refused == files_in(root)
        assert {"one/many", "two/sub/inner", "three/original"} <= found.mapped.keys()


async def test_btrfs_on_two_devices_is_identical(tmp_path: Path) -> None:
    images = [empty_image(tmp_path / name, 300) for name in ("first", "second")]

    def fill(root: Path) -> None:
        write_awkward_files(root)
        for index in range(6):
            (root / f"large-{index}").write_bytes(random.Random(index).randbytes(30 << 20))

    with remounted(images, ("mkfs.btrfs", "-q", "-d", "single", "-m", "dup"), fill) as (root, devices):
        found = await compared(root, devices, images)
        used = {piece.serial for mapped in found.mapped.values() for piece in mapped.pieces(0, 1 << 40)}
        assert used == {None, *(device.name for device in devices)}


async def test_btrfs_files_that_are_compressed_are_refused_and_others_identical(tmp_path: Path) -> None:
    image = empty_image(tmp_path / "image", 300)

    def fill(root: Path) -> None:
        write_awkward_files(root)
        (root / "text").write_bytes(b"compressible text\n" * 30_000)
        with (root / "half").open("wb") as file:
            file.write(b"compressible text\n" * 30_000 + random.Random(1).randbytes(500_000))

    with remounted([image], ("mkfs.btrfs", "-q"), fill, "compress=zstd") as (root, devices):
        found = await compared(root, devices, [image])
        assert {"text", "half"} <= found.refused
        assert {"plain-3000000", "unwritten", "many"} <= found.mapped.keys()


@pytest.mark.parametrize("profile", ["raid0", "raid1"])
async def test_btrfs_whose_data_is_not_whole_on_one_device_is_refused(tmp_path: Path, profile: str) -> None:
    images = [empty_image(tmp_path / name, 300) for name in ("first", "second")]
    with (
        remounted(images, ("mkfs.btrfs", "-q", "-d", profile), write_awkward_files) as (root, _),
        pytest.raises(NotMappableError, match=f"btrfs keeps data as {profile.upper()}"),
    ):
        told_layout(root)


async def test_btrfs_without_one_of_its_devices_is_refused(tmp_path: Path) -> None:
    images = [empty_image(tmp_path / name, 300) for name in ("first", "second")]
    with remounted(images, ("mkfs.btrfs", "-q", "-d", "single", "-m", "raid1"), lambda _root: None) as (root, _):
        assert told_layout(root).segments
    with loop_devices(images[:1]) as (device,), mounted(device, "-o", "ro,degraded") as root:
        known = {segment.serial for segment in told_layout(root).segments}
        assert known == {device.name}


async def test_daemon_refuses_disks_that_are_no_drives_and_filesystems_that_have_none(tmp_path: Path) -> None:
    image = empty_image(tmp_path / "image", 100)
    with remounted([image], ("mkfs.ext4", "-q", "-b", "4096"), write_awkward_files) as (root, devices):
        async with mapping_of(root) as verbs:
            addresses = await verbs.device_map(b"/sub", {"drive0": 100 << 20})
            assert addresses.reason == f"{devices[0].name} is not a drive with a serial number"
            extents = await extents_of(verbs, b"/sub", [b"inner"])
            assert extents.filesystem == addresses.filesystem
            assert extents.files[0] is not None
            assert file_map(extents.files[0], 12_345, addresses) is None
    async with mapping_of(Path("/dev/shm")) as verbs:
        assert (await verbs.device_map(b"/", {})).reason == "tmpfs is not a filesystem that can be mapped"
