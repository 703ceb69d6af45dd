"""Mounting the guest's filesystems below the daemon's root."""

import os
from fcntl import ioctl
from struct import Struct
from typing import Final

from daemon.command import NOT_RECOGNISED, run
from daemon.devices import disks, wire_name
from daemon.libmount import mounted
from daemon.mountables import subvolume_option, volume_of, wire_mountable
from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import procedures
from rpc.arguments import NoArgs
from rpc.codec import Pairs
from rpc.procedures.mounting import MountArgs, MountOptionsArgs, MountVfsArgs

_BLKROSET: Final = 0x125D
_BLKROGET: Final = 0x125E
"""Of Linux (linux/fs.h): whether a block device is read-only."""
_INT: Final = Struct("=i")
_XFS_MAGIC: Final = b"XFSB"


def _mount(session: Session, mountable: str, mountpoint: str, options: str = "", vfstype: str = "") -> None:
    """Mount a device; where the mount point's links end inside the guest's root is known by then.

    ``nodev`` and ``nosuid`` keep a hostile filesystem's device nodes and setuid bits dead; neither shows in attributes.
    Without a type mount(8) finds it, and hands NTFS to ntfs-3g as ``mount.ntfs``.
    """
    if not mountpoint.startswith("/"):
        raise CallError(f"{mountpoint}: a mount point must begin with /")
    volume = volume_of(mountable)
    target = session.sysroot.outside(os.fsencode(mountpoint))
    words = ",".join(filter(None, [options, subvolume_option(volume), "nodev", "nosuid"]))
    if _mounted_unwritten(volume.device, target, words, vfstype) or mounted(volume.device, target, words, vfstype):
        return
    argv: list[str | bytes] = ["mount", "-o", words]
    if vfstype:
        argv += ["-t", vfstype]
    try:
        run_mount([*argv, "--", volume.device, target], volume.device)
    except CallError as exc:
        text = str(exc).partition(" dmesg(1)")[0]  # nobody can run that in the appliance
        raise CallError(f"{wire_mountable(mountable)} on {mountpoint}: {text}") from exc


def _mounted_unwritten(device: str, target: bytes, options: str, vfstype: str) -> bool:
    """Mount a clean XFS read-only without a write to its disk; tell whether that succeeded.

    XFS stamps the free part of its log at each mount, unless the device is read-only (Linux: xlog_find_tail), and what
    was written to is no longer read from its image. If the log has to be replayed, such a mount fails.
    """
    if vfstype not in ("", "xfs") or "ro" not in options.split(","):
        return False
    try:
        descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if os.pread(descriptor, len(_XFS_MAGIC), 0) != _XFS_MAGIC:
            return False
        before = ioctl(descriptor, _BLKROGET, _INT.pack(0))
        ioctl(descriptor, _BLKROSET, _INT.pack(1))
        try:
            return mounted(device, target, options, "xfs")
        finally:
            ioctl(descriptor, _BLKROSET, before)
    except OSError:
        return False  # no block device, or none that can be read: mount(8) has the words
    finally:
        os.close(descriptor)


def run_mount(command: list[str | bytes], device: str) -> None:
    """Run a mount command; once more if the kernel may lack the other devices of a btrfs, which nobody told it."""
    try:
        run(command)
    except CallError:
        if run(["blkid", "-p", "-o", "value", "-s", "TYPE", device], accept=NOT_RECOGNISED).strip() != b"btrfs":
            raise
        run(["btrfs", "device", "scan"])
        run(command)


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


@handles(procedures.MOUNTS)
def mounts(session: Session, _args: NoArgs) -> list[str]:
    """Name the devices that are mounted."""
    return sorted({wire_name(mount.device) for mount in session.sysroot.mount_points()})


@handles(procedures.MOUNTPOINTS)
def mountpoints(session: Session, _args: NoArgs) -> Pairs:
    """Return device and mount point of every mount."""
    return [(wire_name(mount.device), os.fsdecode(mount.guest_path)) for mount in session.sysroot.mount_points()]


@handles(procedures.UMOUNT_ALL)
def umount_all(session: Session, _args: NoArgs) -> None:
    """Unmount everything, the last mount first; what is busy does not keep the rest from it."""
    busy = []
    for mount in reversed(session.sysroot.mount_points()):
        try:
            run(["umount", "--", session.sysroot.path + mount.guest_path])
        except CallError as exc:
            busy.append(str(exc))
    if busy:
        raise CallError("; ".join(busy))


@handles(procedures.SYNC)
def sync(_session: Session, _args: NoArgs) -> None:
    """Write everything out and have the disks keep it, which for what was written onto a disk itself no sync does."""
    from daemon.assembly import IN_APPLIANCE

    os.sync()
    failed = None
    for disk in disks() if IN_APPLIANCE else ():
        try:
            descriptor = os.open(f"/dev/{disk}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue  # then nothing was written onto it either
        try:
            os.fsync(descriptor)
        except OSError as exc:  # the other disks can keep theirs all the same
            failed = failed or exc
        finally:
            os.close(descriptor)
    if failed is not None:
        raise failed


@handles(procedures.INTERNAL_AUTOSYNC)
def internal_autosync(session: Session, args: NoArgs) -> None:
    """Unmount everything and write it out, before the appliance goes down; what is busy is written out as well."""
    try:
        umount_all(session, args)
    finally:
        sync(session, args)
