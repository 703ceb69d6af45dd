"""Calls about the daemon itself."""

import os
import time

from daemon.command import run, text_of
from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import procedures
from rpc.arguments import NoArgs
from rpc.procedures.control import (
    DebugArgs,
    DropCachesArgs,
    EchoDaemonArgs,
    ModprobeArgs,
    SleepArgs,
    Utsname,
)
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


@handles(procedures.ECHO_DAEMON)
def echo_daemon(_session: Session, args: EchoDaemonArgs) -> str:
    """Return the words with blanks between them."""
    return " ".join(args.words)


@handles(procedures.DROP_CACHES)
def drop_caches(_session: Session, args: DropCachesArgs) -> None:
    """Make the kernel forget cached file data (1), names and inodes (2) or both (3), once they are written."""
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write(str(args.whattodrop))


@handles(procedures.DMESG)
def dmesg(_session: Session, _args: NoArgs) -> str:
    """Return the messages of the appliance's kernel."""
    return text_of(["dmesg"]) + "\n"


@handles(procedures.MODPROBE)
def modprobe(_session: Session, args: ModprobeArgs) -> None:
    """Load a module of the appliance's kernel."""
    run(["modprobe", "--", args.modulename])


@handles(procedures.SLEEP)
def sleep(_session: Session, args: SleepArgs) -> None:
    """Wait."""
    if args.secs < 0:
        raise CallError(f"{args.secs} seconds are past")
    time.sleep(args.secs)


@handles(procedures.DEBUG)
def debug(session: Session, args: DebugArgs) -> str:
    """Help to test and to look around: ``progress SECONDS``; ``sh WORD…`` in the appliance."""
    if args.subcmd == "sh" and args.extraargs:
        return text_of(["sh", "-c", " ".join(args.extraargs)])
    if args.subcmd != "progress" or len(args.extraargs) != 1 or not args.extraargs[0].isdecimal():
        raise CallError("only 'progress SECONDS' and 'sh WORD…' are known")
    end = int(args.extraargs[0]) * 10
    for position in range(end):
        session.progress(position, end)
        time.sleep(0.1)
    return "ok"
