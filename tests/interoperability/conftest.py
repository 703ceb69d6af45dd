"""Both appliances, each launched as seldom as can be."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.interoperability.appliances import OURS, THEIRS, build_ours, open_stage, their_appliance
from tests.interoperability.stage import Stage
from tests.thoroughness import LONG

collect_ignore = [] if LONG else ["test_extremes_of_our_client.py"]
_PROGRAMS: Final = ("guestfish", "guestmount", "virt-copy-out", "virt-df", "supermin")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    reason = "not root" if os.geteuid() else f"not installed: {', '.join(missing)}" if missing else ""
    for item in items:
        if reason and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def our_appliance() -> Iterator[Path]:
    """Build our fixed appliance, as its user would."""
    with tempfile.TemporaryDirectory(prefix="guestmount-test-", dir="/var/tmp") as name:
        build_ours(Path(name))
        yield Path(name)


@pytest.fixture(scope="session")
def their_appliance_directory(our_appliance: Path) -> Path:
    """Build libguestfs's fixed appliance around our kernel."""
    assert our_appliance  # its packages are unpacked then
    return their_appliance()


@pytest.fixture(scope="module")
def our_stage(our_appliance: Path) -> Iterator[Stage]:
    """Set a stage with our appliance."""
    with open_stage(our_appliance) as stage:
        yield stage


@pytest.fixture(scope="module")
def stages(our_stage: Stage, their_appliance_directory: Path) -> Iterator[dict[str, Stage]]:
    """Set a stage with each appliance."""
    with open_stage(their_appliance_directory) as theirs:
        yield {OURS: our_stage, THEIRS: theirs}
