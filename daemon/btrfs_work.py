"""btrfs: balance and scrub, which take their time."""

import re
from typing import Final

from daemon.btrfs_upkeep import run_on
from daemon.command import run
from daemon.registry import handles
from daemon.session import Session
from rpc import procedures
from rpc.arguments import PathArgs
from rpc.procedures.btrfs_upkeep import Btrfsbalance as Balance
from rpc.procedures.btrfs_upkeep import BtrfsFilesystemBalanceArgs, BtrfsScrubFullArgs
from rpc.procedures.btrfs_upkeep import Btrfsscrub as Scrub

_PREFIX: Final = "btrfsscrub_"


@handles(procedures.BTRFS_FILESYSTEM_BALANCE)
def btrfs_filesystem_balance(session: Session, args: BtrfsFilesystemBalanceArgs) -> None:
    """Spread the data evenly over the devices, to the end."""
    run_on(session, args.fs, "balance", "start", "--full-balance")


@handles(procedures.BTRFS_BALANCE_PAUSE)
def btrfs_balance_pause(session: Session, args: PathArgs) -> None:
    """Pause the balancing under way."""
    run_on(session, args.path, "balance", "pause")


@handles(procedures.BTRFS_BALANCE_RESUME)
def btrfs_balance_resume(session: Session, args: PathArgs) -> None:
    """Go on with the balancing that was paused, to the end."""
    run_on(session, args.path, "balance", "resume")


@handles(procedures.BTRFS_BALANCE_CANCEL)
def btrfs_balance_cancel(session: Session, args: PathArgs) -> None:
    """Give up the balancing that is under way or paused."""
    run_on(session, args.path, "balance", "cancel")


@handles(procedures.BTRFS_BALANCE_STATUS)
def btrfs_balance_status(session: Session, args: PathArgs) -> Balance:
    """Tell how far the balancing is: ``none``, or what btrfs says it is and counts of chunks.

    It says ``Balance on 'X' is running``, then ``1 out of about 3 chunks balanced (2 considered),  67% left``, and ends
    with 1 if there is one (btrfs-balance(8)).
    """
    command: list[str | bytes] = ["btrfs", "balance", "status", session.sysroot.outside(args.path)]
    text = run(command, accept=(0, 1)).decode("utf-8", "surrogateescape")
    told = re.search(r" is ([a-z, ]+)", text)
    if text.startswith("No balance") or told is None:
        return Balance("none", 0, 0, 0, 0)
    counts = re.search(r"(\d+) out of about (\d+) chunks balanced \((\d+) considered\), +(\d+)% left", text)
    done, total, considered, left = (int(number) for number in counts.groups()) if counts else (0, 0, 0, 0)
    return Balance(told[1].strip(), total, done, considered, left)


def _run_scrub(session: Session, args: PathArgs, how: str) -> None:
    """Have btrfs begin; the process that goes on keeps its standard output, whose end would be the scrub's."""
    run(["sh", "-c", 'exec "$@" >/dev/null', "sh", "btrfs", "scrub", how, session.sysroot.outside(args.path)])


@handles(procedures.BTRFS_SCRUB_START)
def btrfs_scrub_start(session: Session, args: PathArgs) -> None:
    """Begin to read and verify everything."""
    _run_scrub(session, args, "start")


@handles(procedures.BTRFS_SCRUB_CANCEL)
def btrfs_scrub_cancel(session: Session, args: PathArgs) -> None:
    """Give up the scrub under way."""
    run_on(session, args.path, "scrub", "cancel")


@handles(procedures.BTRFS_SCRUB_RESUME)
def btrfs_scrub_resume(session: Session, args: PathArgs) -> None:
    """Go on with the scrub that was given up."""
    _run_scrub(session, args, "resume")


@handles(procedures.BTRFS_SCRUB_FULL)
def btrfs_scrub_full(session: Session, args: BtrfsScrubFullArgs) -> None:
    """Read and verify everything, to the end; correct what can be corrected unless ``readonly``."""
    run_on(session, args.path, "scrub", "start", "-B", *(["-r"] if args.readonly else []))


@handles(procedures.BTRFS_SCRUB_STATUS)
def btrfs_scrub_status(session: Session, args: PathArgs) -> Scrub:
    """Tell how far the last scrub is or was; zeros if there was none."""
    text = run(["btrfs", "scrub", "status", "-R", session.sysroot.outside(args.path)]).decode("utf-8", "replace")
    counts = dict(re.findall(r"^\s+(\w+): (\d+)$", text, re.MULTILINE))
    return Scrub._make(int(counts.get(name.removeprefix(_PREFIX), 0)) for name in Scrub._fields)
