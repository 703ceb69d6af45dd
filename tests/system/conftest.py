"""A sandbox for each system test."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.config import ApplianceFiles
from tests.system.sandbox import Sandbox


@contextmanager
def open_sandbox(appliance: Path) -> Iterator[Sandbox]:
    """Make a sandbox, and remove it with all the images in it."""
    with tempfile.TemporaryDirectory(prefix="guestmount-test-", dir="/var/tmp", ignore_cleanup_errors=True) as name:
        sandbox = Sandbox(Path(name), appliance)
        yield sandbox
        assert sandbox.left() == []


@pytest.fixture(scope="session")
def appliance_directory(appliance_files: ApplianceFiles) -> Path:
    """Say where the appliance is; tests/interoperability runs the same tests with another one."""
    return appliance_files.kernel.parent


@pytest.fixture
def sandbox(appliance_directory: Path) -> Iterator[Sandbox]:
    """Give a test a sandbox; the test fails if it leaves anything behind."""
    with open_sandbox(appliance_directory) as opened:
        yield opened


@pytest.fixture(scope="module")
def module_sandbox(appliance_directory: Path) -> Iterator[Sandbox]:
    """Give the tests of one module a sandbox that they share."""
    with open_sandbox(appliance_directory) as opened:
        yield opened
