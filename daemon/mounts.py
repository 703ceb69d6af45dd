"""Mounting the guest's filesystems below the daemon's root."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EEXIST
from fcntl import ioctl
from struct import Struct
from typing import Final

from daemon.assembly import why_inactive
from daemon.command import NOT_RECOGNISED, run
from daemon.devices import disks, wire_name
from daemon.kernel_log import kernel_words
from daemon.libmount import mounted, unmounted
from daemon.mountables import subvolume_option, wire_mountable
from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import procedures
from rpc.arguments import NoArgs
from rpc.codec import Pairs
from rpc.mountables import volume_of
from rpc.procedures.mounting import MountArgs, MountOptionsArgs, MountVfsArgs

_BLKROSET: Final = 0x125D
_BLKROGET: Final = 0x125E
"""Of Linux (linux/fs.h): whether a block device is read-only."""
_INT: Final = Struct("=i")
_CARELESS: Final = (("xfs", 0, b"XFSB"), ("reiserfs", 65536 + 52, b"ReIsEr"))
"""Filesystems that write to their disk though they are mounted read-only, where their magic number lies, and it."""
_UFS: Final = ((8192, b"\x02\0\0\0", b"\x54\x19\x01\0", "44bsd"), (65536, b"", b"\x19\x01\x54\x19", "ufs2"))
"""Where the superblock of each kind of UFS lies, its format of inodes, its magic number, Linux's name (ufs_fs.h)."""
_ADVICE: Final = (" dmesg(1)", " NTFS is either inconsistent")
"""How mount(8) and ntfs-3g(8) begin to tell what to do: nobody can do that in the appliance."""
_ANYTHING: Final = "wrong fs type, bad option, bad superblock"
"""What mount(8) says when it does not know."""
_IS_THERE: Final = os.strerror(EEXIST)
_CLONE: Final = "a btrfs with the same UUID is mounted: of clones only one can be shown at a time"
_UFS_FORMAT_OFFSET: Final = 1324
_UFS_MAGIC_OFFSET: Final = 1372


def _mount(session: Session, mountable: str, mountpoint: str, options: str = "", vfstype: str = "") -> None:
    """Mount a device; where the mount point's links end inside the guest's root is known by then.

    ``nodev`` and ``nosuid`` keep a hostile filesystem's device nodes and setuid bits dead; neither shows in attributes.
    Without a type mount(8) finds it, and hands NTFS to ntfs-3g as ``mount.ntfs``.
    """
    if not mountpoint.startswith("/"):
        raise CallError(f"{mountpoint}: a mount point must begin with /")
    volume = volume_of(mountable)
    target = session.sysroot.outside(os.fsencode(mountpoint))
    special = [subvolume_option(volume)]
    if vfstype in ("", "ufs") and "ufstype=" not in options:
        special.append(_ufs_option(volume.device))
    if vfstype in ("", "xfs"):
        special.append(_xfs_option(volume.device))
    words = ",".join(filter(None, [options, *special, "nodev", "nosuid"]))
    if _mounted_unwritten(volume.device, target, words, vfstype) or mounted(volume.device, target, words, vfstype):
        return
    argv: list[str | bytes] = ["mount", "-o", words]
    if vfstype:
        argv += ["-t", vfstype]
    with kernel_words() as words_of_kernel:
        try:
            run_mount([*argv, "--", volume.device, target], volume.device)
        except CallError as exc:
            text = str(exc)
            for advice in _ADVICE:
                text = text.partition(advice)[0]
            if text != _CLONE and (why := why_inactive(volume.device) or words_of_kernel()):
                text = why if _ANYTHING in text else f"{text}: {why}"
            raise CallError(f"{wire_mountable(mountable)} on {mountpoint}: {text}") from exc


def _ufs_option(device: str) -> str:
    """Return the option that says of which kind a UFS is, which Linux misreads otherwise; empty for what is none."""
    try:
        with open(device, "rb", buffering=0) as file:
            for place, inodes, magic, kind in _UFS:
                data = os.pread(file.fileno(), _UFS_MAGIC_OFFSET + len(magic), place)
                if data.endswith(magic) and data.startswith(inodes, _UFS_FORMAT_OFFSET):
                    return f"ufstype={kind}"
    except OSError:
        pass  # mount(8) has the words
    return ""


def _xfs_option(device: str) -> str:
    """Return the option by which Linux mounts an XFS beside a clone with its UUID; empty for what is none."""
    _, place, magic = _CARELESS[0]
    try:
        with open(device, "rb", buffering=0) as file:
            return "nouuid" if os.pread(file.fileno(), len(magic), place) == magic else ""
    except OSError:
        return ""  # mount(8) has the words


@contextmanager
def unwritten(device: str) -> Iterator[int]:
    """Have a device refuse every write for as long as the block runs; yields a descriptor of it.

    Raises:
        OSError: it is no block device, or none that can be read.
    """
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        before = ioctl(descriptor, _BLKROGET, _INT.pack(0))
        ioctl(descriptor, _BLKROSET, _INT.pack(1))
        try:
            yield descriptor
        finally:
            ioctl(descriptor, _BLKROSET, before)
    finally:
        os.close(descriptor)


def _mounted_unwritten(device: str, target: bytes, options: str, vfstype: str) -> bool:
    """Mount a clean filesystem read-only without a write to its disk; tell whether that succeeded.

    XFS stamps the free part of its log at each mount, unless the device is read-only (Linux: xlog_find_tail), and what
    was written to is no longer read from its image. If the log has to be replayed, such a mount fails.
    """
    if vfstype not in ("", "xfs", "reiserfs") or "ro" not in options.split(","):
        return False
    try:
        with unwritten(device) as descriptor:
            kinds = (kind for kind, place, magic in _CARELESS if os.pread(descriptor, len(magic), place) == magic)
            kind = next(kinds, "")
            return bool(kind) and vfstype in ("", kind) and mounted(device, target, options, kind)
    except OSError:
        return False  # no block device, or none that can be read: mount(8) has the words


def run_mount(command: list[str | bytes], device: str) -> None:
    """Run a mount command; once more if the kernel may lack the other devices of a btrfs, which nobody told it.

    Also if it knows a clone of it, and would not mix them up: it forgets those that are not mounted.
    """
    try:
        run(command)
    except CallError as exc:
        if run(["blkid", "-p", "-o", "value", "-s", "TYPE", device], accept=NOT_RECOGNISED).strip() != b"btrfs":
            raise
        if _IS_THERE in str(exc) and _mounted_alone(command):
            return
        run(["btrfs", "device", "scan"])
        try:
            run(command)
        except CallError as exc:
            if b"missing" not in run(["btrfs", "filesystem", "show", "--", device], accept=(0, 1)):
                raise
            raise CallError("devices of this btrfs are missing: the option degraded may read it all the same") from exc


def _mounted_alone(command: list[str | bytes]) -> bool:
    """Run the mount command of a btrfs that there is a clone of; False if it has other devices.

    Raises:
        CallError: the clone is mounted.
    """
    run(["btrfs", "device", "scan", "--forget"])
    try:
        run(command)
    except CallError as exc:
        if _IS_THERE in str(exc):
            raise CallError(_CLONE) from exc
        return False
    return True


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
        place = session.sysroot.path + mount.guest_path
        if unmounted(place):
            continue
        try:
            run(["umount", "--", place])  # which has the words
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
    lost = _lost(session)
    try:
        umount_all(session, args)
    finally:
        sync(session, args)
    if lost is not None:
        raise lost


def _lost(session: Session) -> OSError | None:
    """Write all filesystems out; return the first error of one since it was mounted, of which neither sync(2) tells."""
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    lost = None
    mounts = session.sysroot.mount_points()
    with session.sysroot:
        for mount in mounts:
            try:
                descriptor = os.open(mount.guest_path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                continue  # umount(8) will not find it either
            try:
                if library.syncfs(descriptor) and lost is None:
                    number = ctypes.get_errno()
                    lost = OSError(number, os.strerror(number), mount.guest_path)
            finally:
                os.close(descriptor)
    return lost
