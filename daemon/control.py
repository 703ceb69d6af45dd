"""Calls about the daemon itself."""

import os

from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import procedures
from rpc.arguments import NoArgs
from rpc.procedures.control import InternalFeatureAvailableArgs, Utsname
from rpc.procedures.names import UmaskArgs


@handles(procedures.PING_DAEMON)
def ping_daemon(_session: Session, _args: NoArgs) -> None:
    """Do nothing."""


@handles(procedures.UMASK)
def umask(_session: Session, args: UmaskArgs) -> int:
    """Set the mask of new files' modes and return the old one."""
    if not 0 <= args.mask <= 0o777:
        raise CallError(f"0{args.mask:o}: not a umask, 0 to 0777 is allowed")
    return os.umask(args.mask)


@handles(procedures.GET_UMASK)
def get_umask(_session: Session, _args: NoArgs) -> int:
    """Return the mask of new files' modes."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


@handles(procedures.UTSNAME)
def utsname(_session: Session, _args: NoArgs) -> Utsname:
    """Name the appliance's kernel."""
    info = os.uname()
    return Utsname(info.sysname, info.release, info.version, info.machine)


_PROGRAMS = {
    "acl": None,
    "blkdiscard": "blkdiscard",
    "btrfs": "btrfs",
    "fstrim": "fstrim",
    "gdisk": "sgdisk",
    "linuxxattrs": None,
    "luks": "cryptsetup",
    "lvm2": "lvm",
    "mdadm": "mdadm",
    "mknod": None,
    "ntfs3g": "ntfs-3g.probe",
    "ntfsprogs": "ntfsresize",
    "wipefs": "wipefs",
    "xfs": "xfs_admin",
    "xz": "xz",
}
"""Optional groups and the program each needs, None where the daemon itself is enough."""


@handles(procedures.AVAILABLE_ALL_GROUPS)
def available_all_groups(_session: Session, _args: NoArgs) -> list[str]:
    """Name the optional groups this daemon knows, available or not."""
    return sorted(_PROGRAMS)


@handles(procedures.INTERNAL_FEATURE_AVAILABLE)
def internal_feature_available(_session: Session, args: InternalFeatureAvailableArgs) -> int:
    """Return 0 if a group is available, 1 if it is not, 2 if its name is unknown."""
    if args.group not in _PROGRAMS:
        return 2
    program = _PROGRAMS[args.group]
    places = ("/usr/sbin", "/usr/bin", "/sbin", "/bin")
    found = program is None or any(os.access(f"{place}/{program}", os.X_OK) for place in places)
    return 0 if found else 1
