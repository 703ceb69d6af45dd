"""Images to make overlays of; whatever a test leaves open, mounted or running is its failure."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.config import Drive
from guestmount_py.host_space import MARGIN_BYTES
from guestmount_py.overlay import overlay_drive
from tests.guests.cache import run
from tests.overlay import disk


@dataclass(frozen=True, slots=True)
class Place:
    """A directory with a base and the name of an overlay.

    Attributes:
        base: qcow2 of 64 MiB: a pattern in its first MiB, zeros after it.
    """

    directory: Path
    base: Path
    overlay: Path

    async def create(self, kind: str | None = None) -> None:
        await overlay_drive(Drive(path=self.base, format=kind), self.overlay, create=True)

    def write(self, *commands: str) -> None:
        """Write to the overlay with commands of qemu-io."""
        run("qemu-io", "-f", "qcow2", *(word for text in commands for word in ("-c", text)), self.overlay)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.directory.iterdir())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    base = tmp_path / "base.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", base, "64M")
    run("qemu-io", "-f", "qcow2", "-c", "write -P 1 0 1M", base)
    return Place(tmp_path, base, tmp_path / "overlay.qcow2")


@pytest.fixture
def guests(tmp_path: Path) -> Place:
    """A base with filesystems in it."""
    base = tmp_path / "base.qcow2"
    shutil.copy(disk.disk(), base)
    return Place(tmp_path, base, tmp_path / "overlay.qcow2")


@pytest.fixture
def thin_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory on a filesystem that has 12 MiB of the host's above what a mount always leaves; needs root."""
    directory = tmp_path / "thin"
    directory.mkdir()
    run("mount", "-t", "tmpfs", "-o", f"size={MARGIN_BYTES + (12 << 20)}", "none", directory)
    yield directory
    run("umount", directory)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory on a filesystem of 12 MiB of the host; needs root."""
    directory = tmp_path / "small"
    directory.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=12M", "none", directory)
    yield directory
    run("umount", directory)
