"""Images that the host's kernel wrote, mapped by the appliance's, another version: the host reads the same bytes."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import trio

from appliance.config import ApplianceFiles
from guestmount_py.mapping import GuestMapping
from rpc.arguments import NoArgs
from rpc.codec import Mountable
from rpc.pool import ChannelPool
from rpc.procedures import MOUNT_OPTIONS, UMOUNT_ALL
from rpc.procedures.mounting import MountOptionsArgs
from tests.daemon.scratch import Scratch, scratch_appliance
from tests.guests.cache import run
from tests.guests.mapped import (
    Compared,
    Contents,
    Images,
    compare,
    contents_of,
    empty_image,
    remounted,
    write_awkward_files,
    write_shared_files,
)

pytestmark = [pytest.mark.appliance, pytest.mark.root]
INLINE = {"plain-1", "plain-60", "plain-100", "plain-1023"}


def awkward_and_shared(root: Path) -> None:
    write_awkward_files(root)
    write_shared_files(root)


def subvolumes(root: Path) -> None:
    for name in ("one", "two"):
        run("btrfs", "subvolume", "create", root / name)
        awkward_and_shared(root / name)
    (root / "two/text").write_bytes(b"compressible text\n" * 30_000)


def more_than_one_device_holds(root: Path) -> None:
    write_awkward_files(root)
    for index in range(4):
        (root / f"large-{index}").write_bytes(random.Random(index).randbytes(30 << 20))


def made(images: Sequence[Path], mkfs: Sequence[str], fill: Callable[[Path], None], options: str = "rw") -> Contents:
    """Fill a new filesystem and return what it holds."""
    with remounted(images, mkfs, fill, options) as (root, _):
        return contents_of(root)


def test_host_reads_from_images_what_the_guest_has_in_its_files(
    appliance_files: ApplianceFiles, tmp_path: Path
) -> None:
    sizes_mib = (200, 200, 320, 400, 300, 300)
    images = [empty_image(tmp_path / f"drive{index}", size_mib) for index, size_mib in enumerate(sizes_mib)]
    trees = {
        "/dev/sda": made(images[:1], ("mkfs.ext4", "-q", "-b", "4096", "-O", "inline_data"), write_awkward_files),
        "/dev/sdb": made(images[1:2], ("mkfs.ext4", "-q", "-b", "1024", "-O", "bigalloc"), write_awkward_files),
        "/dev/sdc": made(images[2:3], ("mkfs.xfs", "-q"), awkward_and_shared),
        "/dev/sdd": made(images[3:4], ("mkfs.btrfs", "-q", "-d", "dup"), subvolumes, "compress=zstd"),
        "/dev/sde": made(images[4:], ("mkfs.btrfs", "-q", "-d", "single", "-m", "dup"), more_than_one_device_holds),
    }
    known = Images({path.name: path for path in images})
    with scratch_appliance(appliance_files, images) as guest:
        found = {device: compared(guest, device, contents, known) for device, contents in trees.items()}
    assert found["/dev/sda"].refused == INLINE - {"plain-1023"}
    assert found["/dev/sdb"].refused == set()
    assert found["/dev/sdc"].refused == set()
    assert "two/text" in found["/dev/sdd"].refused
    assert {"one/unwritten", "two/many", "two/changed"} <= found["/dev/sdd"].mapped.keys()
    assert found["/dev/sde"].refused <= INLINE
    large = [found["/dev/sde"].mapped[f"large-{index}"].pieces(0, 30 << 20) for index in range(4)]
    assert {piece.serial for pieces in large for piece in pieces} == {"drive4", "drive5"}


def compared(guest: Scratch, device: str, contents: Contents, images: Images) -> Compared:
    """Compare what a drive holds with what is read by the guest's maps."""
    guest.call(MOUNT_OPTIONS, MountOptionsArgs("ro", Mountable(device), "/"))

    async def ask() -> Compared:
        verbs = GuestMapping(ChannelPool(guest._appliance.channels))
        addresses = await verbs.device_map(b"/", images.sizes)
        assert addresses.reason == ""
        return await compare(contents, verbs, addresses, images)

    found: Compared = trio.from_thread.run(ask, trio_token=guest._token)
    guest.call(UMOUNT_ALL, NoArgs())
    return found
