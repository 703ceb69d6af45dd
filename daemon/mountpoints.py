"""Mount points: made, removed, mounted anew, unmounted one by one."""

import os
from typing import Final

from daemon.command import run
from daemon.devices import checked_device, names_device
from daemon.files import opened
from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import procedures
from rpc.arguments import PathArgs
from rpc.procedures.mounting import MkmountpointArgs, MountLoopArgs, RemountArgs, UmountArgs

_SAFE: Final = "nodev,nosuid"
"""What every mount has, see ``daemon.mounts``; mount(8) forgets it unless told again."""


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


@handles(procedures.REMOUNT)
def remount(session: Session, args: RemountArgs) -> None:
    """Make a mounted filesystem writable or read-only."""
    if args.rw is None:
        raise CallError("rw is not given; there is nothing else to change")
    target = session.sysroot.outside(args.mountpoint)
    run(["mount", "-o", f"remount,{'rw' if args.rw else 'ro'},{_SAFE}", "--", target])


@handles(procedures.MOUNT_LOOP)
def mount_loop(session: Session, args: MountLoopArgs) -> None:
    """Mount a filesystem that is in a regular file of the guest."""
    if not os.path.exists("/dev/loop-control"):
        run(["modprobe", "loop"])
    with opened(session, args.file) as descriptor:
        file = os.readlink(b"/proc/self/fd/%d" % descriptor)
    run(["mount", "-o", f"loop,{_SAFE}", "--", file, session.sysroot.outside(args.mountpoint)])


def _checked(path: str) -> bytes:
    if not path.startswith("/") or "\0" in path:
        raise CallError(f"{path}: a mount point must begin with /")
    return os.fsencode(path)


@handles(procedures.MKMOUNTPOINT)
def mkmountpoint(session: Session, args: MkmountpointArgs) -> None:
    """Make a directory, which needs nothing mounted: in the daemon's root if nothing is."""
    path = _checked(args.exemptpath)
    with session.sysroot:
        os.mkdir(path)


@handles(procedures.RMMOUNTPOINT)
def rmmountpoint(session: Session, args: MkmountpointArgs) -> None:
    """Remove a directory that ``mkmountpoint`` made."""
    path = _checked(args.exemptpath)
    with session.sysroot:
        os.rmdir(path)


@handles(procedures.COVER)
def cover(session: Session, args: PathArgs) -> None:
    """Have an empty directory in the place of another one, until it is unmounted like what is on a device."""
    words = f"ro,mode=755,nr_inodes=1,{_SAFE}"
    run(["mount", "-t", "tmpfs", "-o", words, "--", "/dev/null", session.sysroot.outside(args.path)])
