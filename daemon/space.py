"""Room on the mounted filesystems: how much there is, and giving back what is unused."""

from daemon.command import option, run, text_of
from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import procedures
from rpc.arguments import NoArgs
from rpc.procedures.filesystems import FilesystemAvailableArgs, FstrimArgs


def _df(session: Session, *words: str) -> str:
    """Run df(1) on the guest's filesystems; it names their places in the appliance."""
    session.must_be_mounted()
    places = [session.sysroot.path + mount.guest_path for mount in session.sysroot.mount_points()]
    return text_of(["df", *words, "--", *places]) + "\n"


@handles(procedures.DF)
def df(session: Session, _args: NoArgs) -> str:
    """Tell how full the guest's filesystems are, in the program's words and KiB."""
    return _df(session)


@handles(procedures.DF_H)
def df_h(session: Session, _args: NoArgs) -> str:
    """Tell how full the guest's filesystems are, in the program's words and readable units."""
    return _df(session, "-h")


@handles(procedures.FSTRIM)
def fstrim(session: Session, args: FstrimArgs) -> None:
    """Discard the unused blocks of a mounted filesystem; lengths in bytes."""
    words = [
        *option("--offset", args.offset),
        *option("--length", args.length),
        *option("--minimum", args.minimumfreeextent),
    ]
    run(["fstrim", *words, session.sysroot.outside(args.mountpoint)])


@handles(procedures.FILESYSTEM_AVAILABLE)
def filesystem_available(_session: Session, args: FilesystemAvailableArgs) -> bool:
    """Tell whether the kernel has the driver of a type of filesystem on devices, built in or as a module."""
    if not args.filesystem.replace("_", "").isalnum() or not args.filesystem.isascii():
        raise CallError(f"{args.filesystem}: only letters, digits and _ are allowed")
    if _is_registered(args.filesystem):
        return True
    run(["modprobe", "--quiet", args.filesystem], accept=(0, 1))
    return _is_registered(args.filesystem)


def _is_registered(filesystem: str) -> bool:
    with open("/proc/filesystems") as file:
        return any(line.split() == [filesystem] for line in file)
