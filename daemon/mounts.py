"""Mounting the guest's filesystems below the daemon's root."""

import os

from daemon.command import run
from daemon.devices import checked_device, names_device, wire_name
from daemon.registry import handles
from daemon.session import CallError, Session
from daemon.sysroot import mount_points
from rpc import procedures
from rpc.arguments import MountArgs, MountOptionsArgs, MountVfsArgs, NoArgs, UmountArgs
from rpc.codec import Pairs


def _mount(session: Session, mountable: str, mountpoint: str, options: str = "", vfstype: str = "") -> None:
    """Mount a device; the mount point's links are resolved inside the guest's root first.

    ``nodev`` and ``nosuid`` keep a hostile filesystem's device nodes and setuid bits dead; neither shows in attributes.
    """
    device = checked_device(mountable)
    if not mountpoint.startswith("/"):
        raise CallError(f"{mountpoint}: the mount point must begin with /")
    target = session.sysroot.outside(os.fsencode(mountpoint))
    argv: list[str | bytes] = ["mount", "-o", ",".join(filter(None, (options, "nodev", "nosuid")))]
    if vfstype:
        argv += ["-t", vfstype]
    elif filesystem_type(device) == "ntfs":
        argv += ["-t", "ntfs-3g"]
    try:
        run([*argv, "--", device, target])
    except CallError as exc:
        raise CallError(f"{mountable} on {mountpoint}: {exc}") from exc


def filesystem_type(device: str) -> str:
    """Return what blkid takes a device's content for, empty if nothing is recognised."""
    return run(["blkid", "-p", "-o", "value", "-s", "TYPE", device], accept=(0, 2)).decode().strip()


@handles(procedures.MOUNT)
def mount(session: Session, args: MountArgs) -> None:
    """Mount a filesystem, writable if its drive is."""
    _mount(session, args.mountable, args.mountpoint)


@handles(procedures.MOUNT_RO)
def mount_ro(session: Session, args: MountArgs) -> None:
    """Mount a filesystem read-only."""
    _mount(session, args.mountable, args.mountpoint, "ro")


@handles(procedures.MOUNT_OPTIONS)
def mount_options(session: Session, args: MountOptionsArgs) -> None:
    """Mount a filesystem with options."""
    _mount(session, args.mountable, args.mountpoint, args.options)


@handles(procedures.MOUNT_VFS)
def mount_vfs(session: Session, args: MountVfsArgs) -> None:
    """Mount a filesystem with options and a type."""
    _mount(session, args.mountable, args.mountpoint, args.options, args.vfstype)


def _guest_mounts(session: Session) -> list[tuple[str, bytes]]:
    """Return (device, path outside the root) of the guest's mounts, in mount order."""
    root = session.sysroot.path
    return [
        (wire_name(os.fsdecode(source)), point)
        for source, point in mount_points()
        if source.startswith(b"/dev/") and (point == root or point.startswith(root + b"/"))
    ]


@handles(procedures.MOUNTS)
def mounts(session: Session, _args: NoArgs) -> list[str]:
    """Name the devices that are mounted."""
    return sorted({device for device, _ in _guest_mounts(session)})


@handles(procedures.MOUNTPOINTS)
def mountpoints(session: Session, _args: NoArgs) -> Pairs:
    """Return device and mount point of every mount."""
    root = session.sysroot.path
    return [(device, os.fsdecode(point[len(root) :] or b"/")) for device, point in _guest_mounts(session)]


@handles(procedures.UMOUNT)
def umount(session: Session, args: UmountArgs) -> None:
    """Unmount one filesystem, named by mount point or device."""
    target: str | bytes
    if names_device(args.pathordevice):
        target = checked_device(os.fsdecode(args.pathordevice))
    else:
        target = session.sysroot.outside(args.pathordevice)
    flags = [flag for flag, wanted in (("-f", args.force), ("-l", args.lazyunmount)) if wanted]
    run(["umount", *flags, "--", target])


@handles(procedures.UMOUNT_ALL)
def umount_all(session: Session, _args: NoArgs) -> None:
    """Unmount everything, the last mount first."""
    for _, point in reversed(_guest_mounts(session)):
        run(["umount", "--", point])


@handles(procedures.SYNC)
def sync(_session: Session, _args: NoArgs) -> None:
    """Write everything out."""
    os.sync()


@handles(procedures.INTERNAL_AUTOSYNC)
def internal_autosync(session: Session, args: NoArgs) -> None:
    """Unmount everything and write it out, before the appliance goes down."""
    umount_all(session, args)
    os.sync()
