"""Find an appliance: a fixed one that LIBGUESTFS_PATH names, otherwise the cache's."""

import os
from collections.abc import Mapping
from pathlib import Path

from appliance.build import cached_appliance
from appliance.cache import files_in
from appliance.config import ApplianceFiles
from appliance.packages import Log
from rpc.errors import ImageError


async def find_appliance(log: Log, environment: Mapping[str, str] = os.environ) -> ApplianceFiles:
    """Return the first fixed appliance on LIBGUESTFS_PATH; without that variable the cached one, built if need be.

    Raises:
        ImageError: no directory on the path has one, or building failed.
    """
    path = environment.get("LIBGUESTFS_PATH")
    if not path:
        return await cached_appliance(log)
    for name in path.split(":"):
        found = files_in(Path(name or "."))
        if found is not None:
            return found
    raise ImageError(
        f"no appliance (kernel, initrd, root, README.fixed) in LIBGUESTFS_PATH={path}: "
        "build one with 'python -m appliance build DIR', or unset the variable"
    )
