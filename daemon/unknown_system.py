"""A system of which nothing is known yet, to be filled in."""

from typing import Final

from rpc.procedures.inspection import System

UNKNOWN: Final = "unknown"
UNKNOWN_SYSTEM: Final = System(
    format="installed",
    kind=UNKNOWN,
    distro=UNKNOWN,
    product_name=UNKNOWN,
    product_variant=UNKNOWN,
    major_version=0,
    minor_version=0,
    package_format=UNKNOWN,
    package_management=UNKNOWN,
    hostname=UNKNOWN,
    arch=UNKNOWN,
    is_live=False,
    is_netinst=False,
    build_id="",
    systemroot="",
    software_hive="",
    system_hive="",
    control_set="",
)
