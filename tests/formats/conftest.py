"""A small disk, and a sandbox for each test that mounts it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.config import ApplianceFiles
from tests.formats.images import make_disk
from tests.system.conftest import open_sandbox
from tests.system.sandbox import Sandbox


@pytest.fixture(scope="session")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the disk of ``make_disk``, beside the tree that is on it."""
    return make_disk(tmp_path_factory.mktemp("disk"))


@pytest.fixture
def sandbox(appliance_files: ApplianceFiles) -> Iterator[Sandbox]:
    """Give a test a sandbox; the test fails if it leaves anything behind."""
    with open_sandbox(appliance_files.kernel.parent) as opened:
        yield opened
