"""Our mount of a real guest is what the host kernel's own mount is, in every format and by every plane."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from guestmount_py.config import Plane
from tests.guests.convert import FORMATS, convert
from tests.guests.disk import kernel_mount
from tests.guests.linux import FILESYSTEMS, linux_disk
from tests.system.comparison import attribute_differences, rsync_differences
from tests.system.conftest import open_sandbox

pytestmark = [pytest.mark.appliance, pytest.mark.fuse, pytest.mark.root]

# Left to itself, a mount reads raw and qcow2 images directly and the rest through qemu. What is forced here takes the
# same bytes of one format another way: each further mount costs half a minute of comparing, its format hardly matters.
FORCED: Final[tuple[tuple[str, Plane], ...]] = (("raw", "qemu"), ("raw", "guest"))
MOUNTS: Final = (*((image_format, "auto") for image_format in FORMATS), *FORCED)


@dataclass(frozen=True, slots=True)
class Mounted:
    """One image, mounted by us.

    Attributes:
        paths: where each filesystem is.
        root: the filesystem mounted on /, whose inode numbers are kept exactly.
    """

    paths: dict[str, Path]
    root: str


@pytest.fixture(scope="module")
def references() -> Iterator[dict[str, Path]]:
    """Mount every filesystem of the raw image with the host's kernel."""
    image = linux_disk()
    with (
        kernel_mount(image, 1, FILESYSTEMS[0]) as ext4,
        kernel_mount(image, 2, FILESYSTEMS[1]) as xfs,
        kernel_mount(image, 3, FILESYSTEMS[2]) as btrfs,
    ):
        yield dict(zip(FILESYSTEMS, (ext4, xfs, btrfs), strict=True))


@contextmanager
def mounted_disk(image_format: str, appliance_directory: Path, plane: Plane = "auto") -> Iterator[Mounted]:
    """Mount all three filesystems of an image in one format; each format has another of them on /."""
    first = FORMATS.index(image_format) % len(FILESYSTEMS)
    root = FILESYSTEMS[first]
    others = [filesystem for filesystem in FILESYSTEMS if filesystem != root]
    devices = {filesystem: f"/dev/sda{number}" for number, filesystem in enumerate(FILESYSTEMS, start=1)}
    with open_sandbox(appliance_directory) as sandbox:
        image = convert(linux_disk(), image_format, sandbox.directory)
        mounts = [devices[root], *(f"{devices[other]}:/{other}" for other in others)]
        # raw can hardly be detected, and only an explicit format may lead to a backing file.
        named = {"raw": ["--format=raw"], "qcow2-backed": ["--format=qcow2"]}.get(image_format, [])
        with sandbox.mounted(image, mounts, *named, f"--plane={plane}") as mountpoint:
            yield Mounted({root: mountpoint, **{other: mountpoint / other for other in others}}, root)


@pytest.fixture(scope="module", params=MOUNTS, ids="-".join)
def mounted(request: pytest.FixtureRequest, appliance_directory: Path) -> Iterator[Mounted]:
    image_format, plane = request.param
    with mounted_disk(image_format, appliance_directory, plane) as found:
        yield found


@pytest.mark.parametrize("filesystem", FILESYSTEMS)
def test_every_attribute_agrees_with_the_kernels(
    mounted: Mounted, references: dict[str, Path], filesystem: str
) -> None:
    differences = attribute_differences(
        mounted.paths[filesystem],
        references[filesystem],
        FILESYSTEMS if filesystem == mounted.root else (),
        exact_inodes=filesystem == mounted.root,
    )
    assert differences == []


@pytest.mark.parametrize("filesystem", FILESYSTEMS)
def test_rsync_finds_no_difference_either_way(mounted: Mounted, references: dict[str, Path], filesystem: str) -> None:
    ours, reference = mounted.paths[filesystem], references[filesystem]
    assert rsync_differences(ours, reference, FILESYSTEMS) == ""
    assert rsync_differences(reference, ours, FILESYSTEMS) == ""
