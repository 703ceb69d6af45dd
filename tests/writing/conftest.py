"""The appliance for tests that write to disks."""

from pathlib import Path

import pytest

from appliance.config import ApplianceFiles


@pytest.fixture(scope="session")
def appliance_directory(appliance_files: ApplianceFiles) -> Path:
    """Say where the appliance is."""
    return appliance_files.kernel.parent
