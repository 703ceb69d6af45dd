"""XFS: the programs of xfsprogs describe, grow, tune and repair it."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from daemon.command import option, run, run_status, text_of
from daemon.devices import checked_device, names_device
from daemon.files import opened
from daemon.registry import handles
from daemon.session import Session
from rpc import procedures
from rpc.codec import GuestPath
from rpc.procedures.xfs import XfsAdminArgs, XfsGrowfsArgs, Xfsinfo, XfsInfoArgs, XfsRepairArgs

_SECTIONS: Final = (
    ("meta-data", ("=", "isize", "agcount", "agsize", "sectsz", "attr")),
    ("data", ("bsize", "blocks", "imaxpct", "sunit", "swidth")),
    ("naming", ("=", "bsize", "ascii-ci")),
    ("log", ("=", "bsize", "blocks", "version", "sectsz", "sunit", "lazy-count")),
    ("realtime", ("=", "extsz", "blocks", "rtextents")),
)
"""Where the fields of ``xfsinfo`` stand in the words of xfs_info(8), in order; ``=`` is what follows the section."""
_TEXTS: Final = frozenset((("meta-data", "="), ("log", "="), ("realtime", "=")))


def _fields(text: str) -> dict[tuple[str, str], str]:
    """Take the output of xfs_info apart: sections, some of several lines, with ``key=value`` in them."""
    found = {}
    section = ""
    for line in text.splitlines():
        name, _, rest = line.partition("=")
        section = name.strip() or section
        if name.strip():
            found[section, "="] = rest.split("  ")[0].strip()
        for key, value in re.findall(r"([a-z0-9-]+)=(\S+?),?(?=\s|$)", rest):
            found[section, key] = value
    return found


@handles(procedures.XFS_INFO)
def xfs_info(session: Session, args: XfsInfoArgs) -> Xfsinfo:
    """Describe a filesystem, named by its device or by where it is mounted."""
    if names_device(args.pathordevice):
        target: str | bytes = checked_device(os.fsdecode(args.pathordevice))
    else:
        session.must_be_mounted()
        target = session.sysroot.outside(args.pathordevice)
    found = _fields(text_of(["xfs_info", target]))
    found["meta-data", "="] = os.fsdecode(args.pathordevice)
    values: list[str | int] = []
    for section, keys in _SECTIONS:
        for key in keys:
            value = found.get((section, key), "0")
            number = re.search(r"\d+", value)
            values.append(value if (section, key) in _TEXTS else int(number[0]) if number else 0)
    return Xfsinfo._make(values)


@handles(procedures.XFS_GROWFS)
def xfs_growfs(session: Session, args: XfsGrowfsArgs) -> None:
    """Make a mounted filesystem larger; sizes in blocks of it."""
    sections = (("-d", args.datasec), ("-l", args.logsec), ("-r", args.rtsec))
    words = [flag for flag, wanted in sections if wanted]
    words += [*option("-D", args.datasize), *option("-L", args.logsize), *option("-R", args.rtsize)]
    words += [*option("-e", args.rtextsize), *option("-m", args.maxpct)]
    with _bound(session.sysroot.outside(args.path)) as place:
        run(["xfs_growfs", *words, place])


@contextmanager
def _bound(directory: bytes) -> Iterator[bytes]:
    """Own another place of a directory: xfs_growfs takes the first mount of a path, for /sysroot that is no XFS."""
    place = b"/tmp/xfs.%d" % os.getpid()
    os.mkdir(place, 0o700)
    try:
        run(["mount", "--bind", directory, place])
        try:
            yield place
        finally:
            run(["umount", place])
    finally:
        os.rmdir(place)


@handles(procedures.XFS_ADMIN)
def xfs_admin(_session: Session, args: XfsAdminArgs) -> None:
    """Change parameters of a filesystem that is not mounted; an empty label removes it."""
    flags = (("-e", args.extunwritten), ("-f", args.imgfile), ("-j", args.v2log), ("-p", args.projid32bit))
    words = [flag for flag, wanted in flags if wanted]
    words += option("-c", None if args.lazycounter is None else int(args.lazycounter))
    words += option("-L", "--" if args.label == "" else args.label)
    words += option("-U", args.uuid)
    run(["xfs_admin", *words, args.device])


@handles(procedures.XFS_REPAIR)
def xfs_repair(session: Session, args: XfsRepairArgs) -> int:
    """Repair a filesystem on a device or in a file of the guest; return the exit status of the program."""
    flags = (("-L", args.forcelogzero), ("-n", args.nomodify), ("-P", args.noprefetch))
    words = [flag for flag, wanted in flags if wanted]
    words += ["-o", "force_geometry"] if args.forcegeometry else []
    hashes = (("ihash", args.ihashsize), ("bhash", args.bhashsize), ("ag_stride", args.agstride))
    for name, value in hashes:
        words += [] if value is None else ["-o", f"{name}={value}"]
    words += [*option("-m", args.maxmem), *option("-l", args.logdev), *option("-r", args.rtdev)]
    if names_device(args.device):
        return run_status(["xfs_repair", *words, checked_device(os.fsdecode(args.device))])[0]
    with opened(session, GuestPath(args.device)) as descriptor:
        file = os.readlink(b"/proc/self/fd/%d" % descriptor)
    return run_status(["xfs_repair", *words, "-f", file])[0]
