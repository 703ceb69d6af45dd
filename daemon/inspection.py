"""Which operating systems the guest's disks hold; every process of the daemon knows what one of them found."""

import json
import sys
from contextlib import suppress
from typing import Final, NamedTuple

from daemon import mounts
from daemon.assembly import IN_APPLIANCE
from daemon.filesystems import list_filesystems
from daemon.fstab import entries, mountable_of
from daemon.mountables import checked_mountable, wire_mountable
from daemon.registry import handles
from daemon.session import CallError, Session
from daemon.systems import UNKNOWN, System, read_text, system_of
from rpc import procedures
from rpc.arguments import NoArgs
from rpc.codec import Mountable, Pairs
from rpc.procedures.inspection import RootArgs
from rpc.procedures.mounting import MountArgs

_STATE: Final = "/run/guestfsd.inspection"
_NOT_MOUNTED: Final = frozenset(("swap", UNKNOWN, ""))


class Root(NamedTuple):
    """A root filesystem, as named on the wire, and what was found there."""

    mountable: str
    system: System
    mountpoints: list[tuple[str, str]]
    filesystems: list[str]


_found: list[Root] = []


def _remember(roots: list[Root]) -> None:
    _found[:] = roots
    if IN_APPLIANCE:
        with open(_STATE, "w") as file:
            json.dump(roots, file)


def _known() -> list[Root]:
    if IN_APPLIANCE:
        with suppress(FileNotFoundError), open(_STATE) as file:
            return [
                Root(mountable, System(*system), [(place, device) for place, device in pairs], names)
                for mountable, system, pairs, names in json.load(file)
            ]
    return _found


def _root(args: RootArgs) -> Root:
    name = wire_mountable(args.root)
    for root in _known():
        if root.mountable == name:
            return root
    raise CallError(f"{name}: not a root that inspect_os found")


def _inspected(session: Session, mountable: str, known: list[str]) -> Root | None:
    """Mount a filesystem for a moment; return what it is the root of.

    None if it is none, or if it cannot be mounted or read: that must not hide the systems on the other ones.
    """
    try:
        mounts.mount_ro(session, MountArgs(Mountable(checked_mountable(mountable)), "/"))
        return _looked_at(session, mountable, known)
    except (CallError, OSError) as exc:
        sys.stderr.write(f"guestfsd: {mountable} is not inspected: {exc}\n")
        return None
    finally:
        mounts.umount_all(session, NoArgs())


def _looked_at(session: Session, mountable: str, known: list[str]) -> Root | None:
    """Return what the mounted filesystem is the root of, None if it is none."""
    system = system_of(session)
    if system is None:
        return None
    pairs = [("/", mountable)]
    for entry in entries(read_text(session, b"/etc/fstab")):
        device = mountable_of(entry, known)
        if device is not None and entry.place not in dict(pairs):
            pairs.append((entry.place, device))
    return Root(mountable, system, pairs, [device for _, device in pairs])


@handles(procedures.INSPECT_OS)
def inspect_os(session: Session, args: NoArgs) -> list[str]:
    """Unmount everything, look at every filesystem, and return the roots of operating systems."""
    mounts.umount_all(session, args)
    rows = list_filesystems(session, args)
    devices = [name for name, _ in rows]
    candidates = [name for name, kind in rows if kind not in _NOT_MOUNTED]
    roots = [root for root in (_inspected(session, name, devices) for name in candidates) if root is not None]
    _remember(roots)
    return [root.mountable for root in roots]


@handles(procedures.INSPECT_GET_ROOTS)
def inspect_get_roots(_session: Session, _args: NoArgs) -> list[str]:
    """Return what ``inspect_os`` found."""
    return [root.mountable for root in _known()]


@handles(procedures.INSPECT_GET_MOUNTPOINTS)
def inspect_get_mountpoints(_session: Session, args: RootArgs) -> Pairs:
    """Return mount point and device of all that a system mounts."""
    return _root(args).mountpoints


@handles(procedures.INSPECT_GET_FILESYSTEMS)
def inspect_get_filesystems(_session: Session, args: RootArgs) -> list[str]:
    """Return the devices of all that a system mounts."""
    return _root(args).filesystems


@handles(procedures.INSPECT_GET_DRIVE_MAPPINGS)
def inspect_get_drive_mappings(_session: Session, args: RootArgs) -> Pairs:
    """Return drive letter and device: nothing, for only Linux is found, which has none."""
    _root(args)
    return []


@handles(procedures.INSPECT_GET_FORMAT)
def inspect_get_format(_session: Session, args: RootArgs) -> str:
    """Return how a system is there: installed, for installers are not looked for."""
    _root(args)
    return "installed"


@handles(procedures.INSPECT_GET_TYPE)
def inspect_get_type(_session: Session, args: RootArgs) -> str:
    """Return the kind of a system: linux."""
    return _root(args).system.kind


@handles(procedures.INSPECT_GET_DISTRO)
def inspect_get_distro(_session: Session, args: RootArgs) -> str:
    """Return the distribution."""
    return _root(args).system.distro


@handles(procedures.INSPECT_GET_PRODUCT_NAME)
def inspect_get_product_name(_session: Session, args: RootArgs) -> str:
    """Return what a system calls itself."""
    return _root(args).system.product_name


@handles(procedures.INSPECT_GET_PRODUCT_VARIANT)
def inspect_get_product_variant(_session: Session, args: RootArgs) -> str:
    """Return the variant of a Windows system: unknown of others."""
    _root(args)
    return UNKNOWN


@handles(procedures.INSPECT_GET_MAJOR_VERSION)
def inspect_get_major_version(_session: Session, args: RootArgs) -> int:
    """Return the first number of a system's version."""
    return _root(args).system.major_version


@handles(procedures.INSPECT_GET_MINOR_VERSION)
def inspect_get_minor_version(_session: Session, args: RootArgs) -> int:
    """Return the second number of a system's version."""
    return _root(args).system.minor_version


@handles(procedures.INSPECT_GET_PACKAGE_FORMAT)
def inspect_get_package_format(_session: Session, args: RootArgs) -> str:
    """Return the kind of packages of a system."""
    return _root(args).system.package_format


@handles(procedures.INSPECT_GET_PACKAGE_MANAGEMENT)
def inspect_get_package_management(_session: Session, args: RootArgs) -> str:
    """Return the program that installs packages."""
    return _root(args).system.package_management


@handles(procedures.INSPECT_GET_HOSTNAME)
def inspect_get_hostname(_session: Session, args: RootArgs) -> str:
    """Return the name of a system."""
    return _root(args).system.hostname


@handles(procedures.INSPECT_GET_ARCH)
def inspect_get_arch(_session: Session, args: RootArgs) -> str:
    """Return the architecture of a system."""
    return _root(args).system.arch
