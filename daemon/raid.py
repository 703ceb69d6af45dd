"""MD arrays: mdadm(8) makes and describes them, ``/proc/mdstat`` (md(4)) tells how their members are."""

import os
import re
from errno import ENOENT
from os import strerror

from daemon.command import lines_of, option, run
from daemon.devices import wire_name
from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import procedures
from rpc.codec import Pairs
from rpc.procedures.raid import MdCreateArgs, MdDetailArgs, Mdstat


def _members(args: MdCreateArgs) -> list[str]:
    """Return the words that name the members: ``missing`` for each bit of the bitmap, a device for each other place."""
    devices = list(args.devices)
    missing = args.missingbitmap or 0
    if missing < 0:
        raise CallError(f"missingbitmap {missing} is negative")
    words = []
    place = 0
    while devices or missing >> place:
        if missing >> place & 1:
            words.append("missing")
        elif devices:
            words.append(devices.pop(0))
        else:
            raise CallError(f"missingbitmap 0x{missing:x} leaves places without a device")
        place += 1
    return words


@handles(procedures.MD_CREATE)
def md_create(_session: Session, args: MdCreateArgs) -> None:
    """Make an array, RAID1 unless told otherwise; ``chunk`` is in bytes."""
    members = _members(args)
    spares = args.spare or 0
    count = args.nrdevices if args.nrdevices is not None else len(members) - spares
    if args.chunk is not None and (args.chunk < 1024 or args.chunk % 1024):
        raise CallError(f"chunk {args.chunk}: multiples of 1024 bytes are allowed")
    if not args.name or args.name.startswith("-"):
        raise CallError(f"{args.name}: not the name of an array")
    words = [
        *("--level", args.level or "raid1", "--raid-devices", str(count)),
        *option("--spare-devices", args.spare),
        *option("--chunk", None if args.chunk is None else args.chunk // 1024),
    ]
    run(["mdadm", "--create", args.name, "--run", *words, *members])


@handles(procedures.MD_DETAIL)
def md_detail(_session: Session, args: MdDetailArgs) -> Pairs:
    """Describe an array, in the words of ``mdadm --detail --export`` without their ``MD_`` and in small letters.

    Of each member it says ``MD_DEVICE_dev_sda_DEV=/dev/sda``: the disk is called what the caller calls it, twice.
    """
    pairs = [line.partition("=") for line in lines_of(["mdadm", "--detail", "--export", args.md])]
    rows = [(key.removeprefix("MD_").lower(), value) for key, _, value in pairs]
    members = {_member_key(value): _member_key(wire_name(value)) for key, value in rows if _is_member(key)}
    return [(_renamed(key, members), wire_name(value) if _is_member(key) else value) for key, value in rows]


def _is_member(key: str) -> bool:
    return key.startswith("device_") and key.endswith("_dev")


def _member_key(device: str) -> str:
    return "device" + device.replace("/", "_").lower()


def _renamed(key: str, members: dict[str, str]) -> str:
    member, _, field = key.rpartition("_")
    return f"{members[member]}_{field}" if member in members else key


@handles(procedures.MD_STAT)
def md_stat(_session: Session, args: MdDetailArgs) -> list[Mdstat]:
    """Name an array's members as ``/proc/mdstat`` has them: ``sdd[0] sdc[1](F)``."""
    name = os.path.basename(os.path.realpath(args.md))
    with open("/proc/mdstat") as file:
        for line in file:
            if line.split()[:2] == [name, ":"]:
                found = re.findall(r"(\S+)\[(\d+)\]((?:\([A-Z]\))*)", line)
                return [
                    Mdstat(wire_name(f"/dev/{member}"), int(index), re.sub(r"[()]", "", flags))
                    for member, index, flags in found
                ]
    raise FileNotFoundError(ENOENT, strerror(ENOENT), args.md)


@handles(procedures.MD_STOP)
def md_stop(_session: Session, args: MdDetailArgs) -> None:
    """Stop an array; its members stay as they are.

    Its nodes, which nobody else takes away, have to go: who opens one makes a new and empty array (md(4)).
    """
    name = os.path.basename(os.path.realpath(args.md))
    run(["mdadm", "--stop", args.md])
    for node in os.listdir("/dev"):
        if re.fullmatch(rf"{re.escape(name)}(p\d+)?", node):
            os.unlink(f"/dev/{node}")
