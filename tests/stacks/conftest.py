"""Small encrypted disks, made once."""

from tests.system.conftest import appliance_directory, sandbox

__all__ = ["appliance_directory", "sandbox"]
