"""Every test of this directory runs on the kernel's own filesystems, which proves the test, and then on ours."""

import itertools
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.posix.actor import Actor, close_below
from tests.posix.worlds import (
    DAEMONS,
    FILESYSTEMS,
    KERNELS,
    OURS,
    STANDARD,
    check_filesystems,
    make_disk,
    mounted_by_daemons,
    mounted_by_kernel,
    mounted_by_us,
)
from tests.thoroughness import LONG

_numbers = itertools.count()
ALICE, BOB, FRIENDS = 1000, 1001, 2000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Try libguestfs's own calls on one filesystem: what they are put together for is the same on all."""
    items[:] = [item for item in items if not re.search(rf"^tests/posix/.*\[{STANDARD}-(xfs|btrfs)", item.nodeid)]


@contextmanager
def open_world(kind: str, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Make a disk, mount it, and have it checked when all is done; yields the root of the mount."""
    with tempfile.TemporaryDirectory(prefix="guestmount-posix-", dir="/var/tmp") as name:
        Path(name).chmod(0o755)
        image = make_disk(Path(name) / "disk.img")
        if kind == KERNELS:
            with mounted_by_kernel(image) as root:
                yield root
        elif kind == DAEMONS:
            with mounted_by_daemons(image) as root:
                yield root
        elif kind == STANDARD:
            with mounted_by_daemons(image, "--standard", "--channels=1") as root:
                yield root
        else:
            with mounted_by_us(image, request.getfixturevalue("appliance_directory")) as root:
                yield root
        check_filesystems(image)


@pytest.fixture(scope="session")
def appliance_directory(request: pytest.FixtureRequest) -> Path:
    """Say where the appliance is."""
    kernel: Path = request.getfixturevalue("appliance_files").kernel
    return kernel.parent


@pytest.fixture(scope="session")
def kernels_world(request: pytest.FixtureRequest) -> Iterator[Path]:
    """The reference, mounted once."""
    with open_world(KERNELS, request) as root:
        yield root


@pytest.fixture(scope="session")
def daemons_world(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Ours without qemu."""
    with open_world(DAEMONS, request) as root:
        yield root


@pytest.fixture(scope="session")
def standard_world(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Ours without qemu, by libguestfs's own calls alone."""
    with open_world(STANDARD, request) as root:
        yield root


@pytest.fixture(scope="session")
def our_world(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Ours, mounted once."""
    with open_world(OURS, request) as root:
        yield root


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(KERNELS, marks=pytest.mark.root),
        pytest.param(DAEMONS, marks=[pytest.mark.fuse, pytest.mark.root]),
        pytest.param(STANDARD, marks=[pytest.mark.fuse, pytest.mark.root]),
        pytest.param(OURS, marks=[pytest.mark.appliance, pytest.mark.fuse, pytest.mark.root]),
    ],
)
def world_kind(request: pytest.FixtureRequest) -> str:
    """Name each world in turn."""
    kind: str = request.param
    return kind


@pytest.fixture(scope="session")
def world(world_kind: str, request: pytest.FixtureRequest) -> Path:
    """Return the root of each world in turn."""
    worlds = {
        KERNELS: "kernels_world",
        DAEMONS: "daemons_world",
        STANDARD: "standard_world",
        OURS: "our_world",
    }
    root: Path = request.getfixturevalue(worlds[world_kind])
    return root


def share(count: int, world_kind: str) -> int:
    """Return how often to try what needs many tries: with LONG all of them, on real daemons and under emulation.

    Otherwise a quarter of them on real daemons. The kernel's own filesystems only prove the test.
    """
    if world_kind != KERNELS and LONG:
        return count
    return count // 4 if world_kind == DAEMONS else count // 20


def impossible_calls(world_kind: str) -> tuple[str, ...]:
    """Return the calls of ``Twin`` that a world cannot make, or not with exact counts of links."""
    return ("rename_exchange", "link") if world_kind == STANDARD else ()


@pytest.fixture(scope="session", params=FILESYSTEMS)
def filesystem(request: pytest.FixtureRequest) -> str:
    """Name each filesystem in turn."""
    name: str = request.param
    return name


@pytest.fixture
def place(world: Path, filesystem: str, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Make a new directory to work in, where everybody may write."""
    directory = new_place((world / filesystem).resolve())
    yield directory
    close_below(str(directory))
    for name in ("alice", "bob"):
        if name in request.fixturenames:
            actor: Actor = request.getfixturevalue(name)
            actor.call(os.chdir, "/")
            actor.call(close_below, str(directory))


def new_place(parent: Path) -> Path:
    """Make a new directory in which everybody may write."""
    directory = parent / f"place-{next(_numbers)}"
    directory.mkdir()
    directory.chmod(0o777)
    return directory


@pytest.fixture(autouse=True)
def plain_umask() -> Iterator[None]:
    """Have modes come out as on most machines."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture(scope="session")
def alice() -> Iterator[Actor]:
    """A user, with a group of her own and one that she shares with Bob."""
    with Actor(ALICE, ALICE, (FRIENDS,)) as actor:
        yield actor


@pytest.fixture(scope="session")
def bob() -> Iterator[Actor]:
    """Another user."""
    with Actor(BOB, BOB, (FRIENDS,)) as actor:
        yield actor
