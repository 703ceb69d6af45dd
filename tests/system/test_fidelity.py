"""Our mount of a real guest is what the host kernel's own mount is, in every format and by every plane."""

import json
from collections.abc import Iterator, Sequence
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
from tests.thoroughness import LONG

pytestmark = [pytest.mark.appliance, pytest.mark.fuse, pytest.mark.root]

BY_GUEST: Final = {"small", "stream", "pread"}
DIRECT: Final = {
    "raw": "raw",
    "qcow2": "qcow2",
    "qcow2-backed": "qcow2",
    "vmdk": "export",
    "vdi": "export",
    "vhdx": "export",
}
"""How a mount reads an image of each format if it is left to itself."""
_FORCED_MORE: Final[tuple[tuple[str, Plane], ...]] = (
    *(("raw", "guest"), ("qcow2-backed", "qemu"), ("vmdk", "guest"), ("vdi", "guest"), ("vhdx", "guest")),
)
FORCED: Final[tuple[tuple[str, Plane], ...]] = (
    *(("raw", "qemu"), ("qcow2-backed", "guest")),
    *(_FORCED_MORE if LONG else ()),
)
"""What takes the same bytes another way: contents only, for attributes come the same way by every plane."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """One image, mounted by us.

    Attributes:
        paths: where each filesystem is.
        root: the filesystem mounted on /, whose inode numbers are kept exactly.
        compared: those that are: each filesystem in one format, and in each format the one on /; or all.
    """

    paths: dict[str, Path]
    root: str
    compared: Sequence[str]


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
        stats = sandbox.directory / "stats.json"
        with sandbox.mounted(image, mounts, *named, f"--plane={plane}", "--stats", stats) as mountpoint:
            paths = {root: mountpoint, **{other: mountpoint / other for other in others}}
            yield Mounted(paths, root, FILESYSTEMS if LONG or image_format == "raw" else [root])
        direct = {"auto": DIRECT[image_format], "qemu": "export"}.get(plane)
        assert json.loads(stats.read_text())["planes"].keys() - BY_GUEST == ({direct, "zeros"} if direct else set())


@pytest.fixture(scope="module", params=FORMATS)
def mounted(request: pytest.FixtureRequest, appliance_directory: Path) -> Iterator[Mounted]:
    with mounted_disk(request.param, appliance_directory) as found:
        yield found


def test_every_attribute_agrees_with_the_kernels(mounted: Mounted, references: dict[str, Path]) -> None:
    for filesystem in mounted.compared:
        is_root = filesystem == mounted.root
        differences = attribute_differences(
            mounted.paths[filesystem],
            references[filesystem],
            FILESYSTEMS if is_root else (),
            exact_inodes=is_root,
        )
        assert differences == [], filesystem


def test_rsync_finds_no_difference_either_way(mounted: Mounted, references: dict[str, Path]) -> None:
    for filesystem in mounted.compared:
        ours, reference = mounted.paths[filesystem], references[filesystem]
        assert rsync_differences(ours, reference, FILESYSTEMS) == "", filesystem
        assert rsync_differences(reference, ours, FILESYSTEMS) == "", filesystem


@pytest.mark.parametrize(("image_format", "plane"), FORCED, ids=map("-".join, FORCED))
def test_rsync_finds_no_difference_when_a_plane_is_forced(
    appliance_directory: Path, references: dict[str, Path], image_format: str, plane: Plane
) -> None:
    with mounted_disk(image_format, appliance_directory, plane) as mounted:
        for filesystem in mounted.compared:
            assert rsync_differences(mounted.paths[filesystem], references[filesystem], FILESYSTEMS) == "", filesystem
