"""Labels, UUIDs and least sizes of filesystems, by the program of each type."""

import os
from collections.abc import Callable
from errno import ENOTSUP
from typing import Final

from daemon import ext2
from daemon.command import lines_of, option, run, text_of
from daemon.filesystems import tag
from daemon.mountables import wire_mountable
from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import procedures
from rpc.arguments import DeviceArgs, MountableArgs
from rpc.mountables import volume_of
from rpc.procedures.filesystems import SetLabelArgs, SetUuidArgs

_RANDOM: Final = "random"


def _mounted_at(session: Session, device: str) -> bytes | None:
    """Return where a device is mounted, for programs outside the guest's root; None if it is not."""
    real = os.path.realpath(device)
    for mount in session.sysroot.mount_points():
        if os.path.realpath(mount.device) == real:
            return session.sysroot.path + mount.guest_path
    return None


def _xfs_label(device: str, label: str) -> None:
    run(["xfs_admin", "-L", label or "--", device])


def _swap(device: str, *, label: str | None = None, uuid: str | None = None) -> None:
    if uuid == _RANDOM:
        with open("/proc/sys/kernel/random/uuid") as file:
            uuid = file.read().strip()
    run(["swaplabel", *option("--label", label), *option("--uuid", uuid), device])


def _xfs_uuid(device: str, uuid: str) -> None:
    run(["xfs_admin", "-U", "generate" if uuid == _RANDOM else uuid, device])


def _btrfs_uuid(device: str, uuid: str) -> None:
    run(["btrfstune", "-f", *(["-u"] if uuid == _RANDOM else ["-U", uuid]), device])


def _ntfs_uuid(device: str, uuid: str) -> None:
    if uuid != _RANDOM:
        raise _unsupported(device, "ntfs")
    run(["ntfslabel", "--new-serial", device])


_SET_LABEL: Final[dict[str, Callable[[str, str], None]]] = {
    **dict.fromkeys(("ext2", "ext3", "ext4"), ext2.set_label),
    "ntfs": lambda device, label: _run("ntfslabel", device, label),
    "swap": lambda device, label: _swap(device, label=label),
    "vfat": lambda device, label: _run("fatlabel", device, label),
    "xfs": _xfs_label,
}
_SET_UUID: Final[dict[str, Callable[[str, str], None]]] = {
    **dict.fromkeys(("ext2", "ext3", "ext4"), ext2.set_uuid),
    "btrfs": _btrfs_uuid,
    "ntfs": _ntfs_uuid,
    "swap": lambda device, uuid: _swap(device, uuid=uuid),
    "xfs": _xfs_uuid,
}


def _run(*argv: str) -> None:
    run(argv)


def _unsupported(device: str, kind: str) -> OSError:
    return OSError(ENOTSUP, f"not supported for {kind or 'what is there'}", wire_mountable(device))


@handles(procedures.SET_LABEL)
def set_label(session: Session, args: SetLabelArgs) -> None:
    """Set the label of a filesystem.

    Raises:
        OSError: ENOTSUP, filesystems of its type are not labelled here.
    """
    device = volume_of(args.mountable).device
    kind = tag(args.mountable, "TYPE")
    if kind == "btrfs":
        run(["btrfs", "filesystem", "label", _mounted_at(session, device) or device, args.label])
        return
    if kind not in _SET_LABEL:
        raise _unsupported(args.mountable, kind)
    _SET_LABEL[kind](device, args.label)


def _set_uuid(device: str, uuid: str) -> None:
    kind = tag(device, "TYPE")
    if kind not in _SET_UUID:
        raise _unsupported(device, kind)
    _SET_UUID[kind](device, uuid)


@handles(procedures.SET_UUID)
def set_uuid(_session: Session, args: SetUuidArgs) -> None:
    """Set the UUID of a filesystem.

    Raises:
        OSError: ENOTSUP, that of its type cannot be set.
    """
    _set_uuid(args.device, args.uuid)


@handles(procedures.SET_UUID_RANDOM)
def set_uuid_random(_session: Session, args: DeviceArgs) -> None:
    """Give a filesystem a new UUID.

    Raises:
        OSError: ENOTSUP, that of its type cannot be set.
    """
    _set_uuid(args.device, _RANDOM)


def _ntfs_minimum(device: str) -> int:
    for line in lines_of(["ntfsresize", "--info", "--force", device]):
        if line.startswith("You might resize at "):
            return int(line.split()[4])
    raise CallError(f"{wire_mountable(device)}: ntfsresize tells no size")


def _number(output: str, key: str) -> int:
    """Return the number behind ``key=`` in what xfs_info(8) wrote."""
    return int(output.partition(f"{key}=")[2].split()[0].rstrip(","))


@handles(procedures.VFS_MINIMUM_SIZE)
def vfs_minimum_size(session: Session, args: MountableArgs) -> int:
    """Return the least size in bytes that a filesystem can be shrunk to; btrfs and XFS must be mounted.

    Raises:
        OSError: ENOTSUP, it is not known for this type.
    """
    device = volume_of(args.mountable).device
    kind = tag(args.mountable, "TYPE")
    if kind in ("ext2", "ext3", "ext4"):
        return ext2.minimum_bytes(device)
    if kind == "ntfs":
        return _ntfs_minimum(device)
    if kind not in ("btrfs", "xfs"):
        raise _unsupported(args.mountable, kind)
    place = _mounted_at(session, device)
    if place is None:
        raise CallError(f"{wire_mountable(args.mountable)}: {kind} must be mounted")
    if kind == "xfs":  # it never shrinks
        data = text_of(["xfs_info", place]).partition("\ndata")[2]
        return _number(data, "bsize") * _number(data, "blocks")
    return int(text_of(["btrfs", "inspect-internal", "min-dev-size", place]).split()[0])
