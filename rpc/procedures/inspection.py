"""Tell which operating systems a guest holds, and look into their configuration."""

from typing import Final, NamedTuple

from rpc.arguments import NoArgs
from rpc.codec import BOOL, INT32, PAIRS, STRING, STRING_LIST, Int32, Mountable, Pairs, codec_of, list_of
from rpc.procedure import Procedure


class Application2(NamedTuple):
    """One application installed in a guest."""

    app2_name: str
    app2_display_name: str
    app2_epoch: Int32
    app2_version: str
    app2_release: str
    app2_arch: str
    app2_install_path: str
    app2_trans_path: str
    app2_publisher: str
    app2_url: str
    app2_source_package: str
    app2_summary: str
    app2_description: str
    app2_spare1: str
    app2_spare2: str
    app2_spare3: str
    app2_spare4: str


class IntBool(NamedTuple):
    """Answer of ``aug_defnode``."""

    i: Int32
    b: Int32


class RootArgs(NamedTuple):
    """Carry the arguments of ``inspect_get_format`` and 21 more calls."""

    root: Mountable


class AugDefvarArgs(NamedTuple):
    """Carry the arguments of ``aug_defvar``."""

    name: str
    expr: str | None


class AugDefnodeArgs(NamedTuple):
    """Carry the arguments of ``aug_defnode``."""

    name: str
    expr: str
    val: str


class System(NamedTuple):
    """What an operating system's files say of it, in libguestfs's words: ``unknown`` and 0 where they do not.

    Attributes:
        format: ``installed``, or ``installer`` for a medium that one is installed from.
        is_live, is_netinst: what such a medium can do.
        build_id: and what follows: empty where there is none.
        systemroot: of Windows, as a path of the guest; so are the hives. ``control_set`` is a key of the system hive.
    """

    format: str
    kind: str
    distro: str
    product_name: str
    product_variant: str
    major_version: Int32
    minor_version: Int32
    package_format: str
    package_management: str
    hostname: str
    arch: str
    is_live: bool
    is_netinst: bool
    build_id: str
    systemroot: str
    software_hive: str
    system_hive: str
    control_set: str


class FoundSystem(NamedTuple):
    """One operating system on the disks.

    Attributes:
        root: its root filesystem.
        system: what its files say.
        mountpoints: where it mounts what, the root first.
        absent: where it mounts what is on none of the disks, in its own words.
        drives: Windows' drive letters and their devices.
        guessed: names that may mean another disk's partition, and the devices that they were taken for.
        notes: a line on each entry of fstab that is not mounted, and need not be.
    """

    root: Mountable
    system: System
    mountpoints: Pairs
    absent: Pairs
    drives: Pairs
    guessed: Pairs
    notes: list[str]


class FoundSystems(NamedTuple):
    """Answer of ``find_systems``.

    Attributes:
        systems: in the order of the disks.
        unread: filesystems that could not be looked at, and why.
        encrypted: devices that may hold more, once they are open.
    """

    systems: list[FoundSystem]
    unread: Pairs
    encrypted: list[str]


INSPECT_OS: Final = Procedure(number=480, name="inspect_os", args=NoArgs, result=STRING_LIST)
INSPECT_GET_ROOTS: Final = Procedure(number=481, name="inspect_get_roots", args=NoArgs, result=STRING_LIST)
INSPECT_GET_FORMAT: Final = Procedure(number=482, name="inspect_get_format", args=RootArgs, result=STRING)
INSPECT_GET_TYPE: Final = Procedure(number=483, name="inspect_get_type", args=RootArgs, result=STRING)
INSPECT_GET_DISTRO: Final = Procedure(number=484, name="inspect_get_distro", args=RootArgs, result=STRING)
INSPECT_GET_PACKAGE_FORMAT: Final = Procedure(
    number=485, name="inspect_get_package_format", args=RootArgs, result=STRING
)
INSPECT_GET_PACKAGE_MANAGEMENT: Final = Procedure(
    number=486, name="inspect_get_package_management", args=RootArgs, result=STRING
)
INSPECT_GET_PRODUCT_NAME: Final = Procedure(number=487, name="inspect_get_product_name", args=RootArgs, result=STRING)
INSPECT_GET_PRODUCT_VARIANT: Final = Procedure(
    number=488, name="inspect_get_product_variant", args=RootArgs, result=STRING
)
INSPECT_GET_MAJOR_VERSION: Final = Procedure(number=489, name="inspect_get_major_version", args=RootArgs, result=INT32)
INSPECT_GET_MINOR_VERSION: Final = Procedure(number=490, name="inspect_get_minor_version", args=RootArgs, result=INT32)
INSPECT_GET_ARCH: Final = Procedure(number=491, name="inspect_get_arch", args=RootArgs, result=STRING)
INSPECT_GET_HOSTNAME: Final = Procedure(number=492, name="inspect_get_hostname", args=RootArgs, result=STRING)
INSPECT_GET_WINDOWS_SYSTEMROOT: Final = Procedure(
    number=493, name="inspect_get_windows_systemroot", args=RootArgs, result=STRING
)
INSPECT_GET_WINDOWS_SOFTWARE_HIVE: Final = Procedure(
    number=494, name="inspect_get_windows_software_hive", args=RootArgs, result=STRING
)
INSPECT_GET_WINDOWS_SYSTEM_HIVE: Final = Procedure(
    number=495, name="inspect_get_windows_system_hive", args=RootArgs, result=STRING
)
INSPECT_GET_WINDOWS_CURRENT_CONTROL_SET: Final = Procedure(
    number=496, name="inspect_get_windows_current_control_set", args=RootArgs, result=STRING
)
INSPECT_IS_LIVE: Final = Procedure(number=497, name="inspect_is_live", args=RootArgs, result=BOOL)
INSPECT_IS_NETINST: Final = Procedure(number=498, name="inspect_is_netinst", args=RootArgs, result=BOOL)
INSPECT_IS_MULTIPART: Final = Procedure(number=499, name="inspect_is_multipart", args=RootArgs, result=BOOL)
INSPECT_GET_MOUNTPOINTS: Final = Procedure(number=500, name="inspect_get_mountpoints", args=RootArgs, result=PAIRS)
INSPECT_GET_FILESYSTEMS: Final = Procedure(
    number=501, name="inspect_get_filesystems", args=RootArgs, result=STRING_LIST
)
INSPECT_GET_DRIVE_MAPPINGS: Final = Procedure(
    number=502, name="inspect_get_drive_mappings", args=RootArgs, result=PAIRS
)
INSPECT_GET_BUILD_ID: Final = Procedure(number=513, name="inspect_get_build_id", args=RootArgs, result=STRING)
INTERNAL_LIST_RPM_APPLICATIONS: Final = Procedure(
    number=510, name="internal_list_rpm_applications", args=NoArgs, result=list_of(codec_of(Application2))
)
AUG_DEFVAR: Final = Procedure(number=17, name="aug_defvar", args=AugDefvarArgs, result=INT32)
AUG_DEFNODE: Final = Procedure(number=18, name="aug_defnode", args=AugDefnodeArgs, result=codec_of(IntBool))
FIND_SYSTEMS: Final = Procedure(number=10020, name="find_systems", args=NoArgs, result=codec_of(FoundSystems))
