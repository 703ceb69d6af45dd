"""What a handle's appliance shall be: changes of an ``ApplianceConfig``, checked."""

from dataclasses import replace
from pathlib import Path
from typing import Final, TypedDict

from appliance.config import MEMORY_MIN_MIB, Accelerator, ApplianceConfig, Drive
from guestmount_py.config import BLOCKSIZES
from rpc.errors import UsageError

DRIVES_MAX: Final = 255
"""libguestfs's limit, and virtio-scsi's."""


class Settings(TypedDict, total=False):
    """What ``Guest.configure`` takes: the fields of ``ApplianceConfig`` but for the drives."""

    memory_mib: int | None
    encrypted: bool
    smp: int | None
    channel_count: int
    accelerator: Accelerator
    launch_timeout_s: float
    verbose: bool
    append: str
    qemu: str
    template: bool
    temporary: Path


def changed(config: ApplianceConfig, settings: Settings) -> ApplianceConfig:
    """Return a configuration with other settings.

    Raises:
        UsageError: a value is impossible.
    """
    config = replace(config, **settings)
    if config.ram_mib < MEMORY_MIN_MIB:
        raise UsageError(f"memory_mib={config.memory_mib}: the appliance needs {MEMORY_MIN_MIB} MiB at least")
    for name in ("smp", "channel_count", "launch_timeout_s"):
        value = getattr(config, name)
        if value is not None and value <= 0:
            raise UsageError(f"{name}={value}: must be above 0")
    return config


def with_drive(config: ApplianceConfig, drive: Drive) -> ApplianceConfig:
    """Return a configuration with one drive more.

    Raises:
        UsageError: there are as many as can be, or no disk has such sectors.
    """
    if len(config.drives) >= DRIVES_MAX:
        raise UsageError(f"{drive.path}: a handle takes {DRIVES_MAX} drives at most")
    if drive.blocksize_bytes not in (None, *BLOCKSIZES):
        raise UsageError(f"{drive.path}: blocksize_bytes={drive.blocksize_bytes}: 512 and 4096 are possible")
    return replace(config, drives=(*config.drives, drive))
