"""What inspection found, told bit by bit as libguestfs asks for it."""

from daemon.inspection import known_system, known_systems
from daemon.registry import handles
from daemon.session import CallError, Session
from daemon.unknown_system import UNKNOWN
from rpc import procedures
from rpc.arguments import NoArgs
from rpc.codec import Pairs
from rpc.procedures.inspection import RootArgs


@handles(procedures.INSPECT_GET_ROOTS)
def inspect_get_roots(_session: Session, _args: NoArgs) -> list[str]:
    """Return what ``inspect_os`` found."""
    return [str(found.root) for found in known_systems()]


@handles(procedures.INSPECT_GET_MOUNTPOINTS)
def inspect_get_mountpoints(_session: Session, args: RootArgs) -> Pairs:
    """Return mount point and device of all that a system mounts."""
    return known_system(args).mountpoints


@handles(procedures.INSPECT_GET_FILESYSTEMS)
def inspect_get_filesystems(_session: Session, args: RootArgs) -> list[str]:
    """Return the devices of all that a system mounts."""
    return [device for _, device in known_system(args).mountpoints]


@handles(procedures.INSPECT_GET_DRIVE_MAPPINGS)
def inspect_get_drive_mappings(_session: Session, args: RootArgs) -> Pairs:
    """Return the letters of a Windows system's drives and their devices."""
    return known_system(args).drives


@handles(procedures.INSPECT_IS_MULTIPART)
def inspect_is_multipart(_session: Session, args: RootArgs) -> bool:
    """Tell whether a medium is one of several: none that is made today."""
    known_system(args)
    return False


@handles(procedures.INSPECT_GET_BUILD_ID)
def inspect_get_build_id(_session: Session, args: RootArgs) -> str:
    """Return the build of a system."""
    return known_system(args).system.build_id or UNKNOWN


def _of_windows(args: RootArgs, name: str) -> str:
    found: str = getattr(known_system(args).system, name)
    if not found:
        raise CallError(f"{args.root}: no Windows, or its {name} is not there")
    return found


@handles(procedures.INSPECT_GET_FORMAT)
def inspect_get_format(_session: Session, args: RootArgs) -> str:
    """Return how a system is there: ``installed``, or ``installer``."""
    return known_system(args).system.format


@handles(procedures.INSPECT_GET_TYPE)
def inspect_get_type(_session: Session, args: RootArgs) -> str:
    """Return the kind of a system, such as linux or windows."""
    return known_system(args).system.kind


@handles(procedures.INSPECT_GET_DISTRO)
def inspect_get_distro(_session: Session, args: RootArgs) -> str:
    """Return the distribution."""
    return known_system(args).system.distro


@handles(procedures.INSPECT_GET_PRODUCT_NAME)
def inspect_get_product_name(_session: Session, args: RootArgs) -> str:
    """Return what a system calls itself."""
    return known_system(args).system.product_name


@handles(procedures.INSPECT_GET_PRODUCT_VARIANT)
def inspect_get_product_variant(_session: Session, args: RootArgs) -> str:
    """Return the variant of a Windows system: unknown of others."""
    return known_system(args).system.product_variant


@handles(procedures.INSPECT_GET_MAJOR_VERSION)
def inspect_get_major_version(_session: Session, args: RootArgs) -> int:
    """Return the first number of a system's version."""
    return known_system(args).system.major_version


@handles(procedures.INSPECT_GET_MINOR_VERSION)
def inspect_get_minor_version(_session: Session, args: RootArgs) -> int:
    """Return the second number of a system's version."""
    return known_system(args).system.minor_version


@handles(procedures.INSPECT_GET_PACKAGE_FORMAT)
def inspect_get_package_format(_session: Session, args: RootArgs) -> str:
    """Return the kind of packages of a system."""
    return known_system(args).system.package_format


@handles(procedures.INSPECT_GET_PACKAGE_MANAGEMENT)
def inspect_get_package_management(_session: Session, args: RootArgs) -> str:
    """Return the program that installs packages."""
    return known_system(args).system.package_management


@handles(procedures.INSPECT_GET_HOSTNAME)
def inspect_get_hostname(_session: Session, args: RootArgs) -> str:
    """Return the name of a system."""
    return known_system(args).system.hostname


@handles(procedures.INSPECT_GET_ARCH)
def inspect_get_arch(_session: Session, args: RootArgs) -> str:
    """Return the architecture of a system."""
    return known_system(args).system.arch


@handles(procedures.INSPECT_IS_LIVE)
def inspect_is_live(_session: Session, args: RootArgs) -> bool:
    """Tell whether a medium starts the system without installing it."""
    return known_system(args).system.is_live


@handles(procedures.INSPECT_IS_NETINST)
def inspect_is_netinst(_session: Session, args: RootArgs) -> bool:
    """Tell whether a medium fetches what it installs from the network."""
    return known_system(args).system.is_netinst


@handles(procedures.INSPECT_GET_WINDOWS_SYSTEMROOT)
def inspect_get_windows_systemroot(_session: Session, args: RootArgs) -> str:
    """Return the directory that Windows is in."""
    return _of_windows(args, "systemroot")


@handles(procedures.INSPECT_GET_WINDOWS_SOFTWARE_HIVE)
def inspect_get_windows_software_hive(_session: Session, args: RootArgs) -> str:
    """Return the path of the registry's hive SOFTWARE."""
    return _of_windows(args, "software_hive")


@handles(procedures.INSPECT_GET_WINDOWS_SYSTEM_HIVE)
def inspect_get_windows_system_hive(_session: Session, args: RootArgs) -> str:
    """Return the path of the registry's hive SYSTEM."""
    return _of_windows(args, "system_hive")


@handles(procedures.INSPECT_GET_WINDOWS_CURRENT_CONTROL_SET)
def inspect_get_windows_current_control_set(_session: Session, args: RootArgs) -> str:
    """Return the key of the hive SYSTEM that is in force."""
    return _of_windows(args, "control_set")
