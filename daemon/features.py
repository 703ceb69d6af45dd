"""Optional groups of calls, and whether they are there: every call of a group has a handler, and its program exists."""

import os
from collections.abc import Iterator
from typing import Final

from daemon.index import NUMBERS
from daemon.registry import handles
from daemon.session import Session
from rpc import procedures
from rpc.arguments import NoArgs
from rpc.procedures.control import InternalFeatureAvailableArgs

_PLACES: Final = ("/usr/sbin", "/usr/bin", "/sbin", "/bin")
_GROUPS: Final = {
    "acl": "375-377 getfacl",
    "augeas": "16-28 239 411 412 469 augtool",
    "blkdiscard": "417 blkdiscard",
    "blkdiscardzeroes": "418",
    "btrfs": "289 317 322-332 425-440 443-445 448-453 455 465 btrfs btrfstune",
    "extlinux": "400 extlinux",
    "f2fs": "505 resize.f2fs",
    "fstrim": "334 fstrim",
    "gdisk": "392 393 446 447 459-462 503 504 sgdisk",
    "grub": "86 grub-install",
    "hivex": "350-365 478 479",
    "inotify": "179-184",
    "journal": "404-410 420",
    "ldm": "380-391 ldmtool",
    "libtsk": "466 470",
    "libyara": "472-474",
    "linuxcaps": "378 379",
    "linuxfsuuid": "132 176 177 190 193",
    "linuxmodules": "194 modprobe",
    "linuxxattrs": "141-146 205 279 280",
    "luks": "257-263 507-509 cryptsetup",
    "lvm2": "9-14 39-41 48 77-79 98 103-105 238 249 255 312 315 338-341 lvm",
    "mdadm": "299 301 302 316 mdadm",
    "mknod": "133-136",
    "ntfs3g": "110 307-309 ntfs-3g.probe ntfsfix ntfsclone",
    "ntfsprogs": "250 288 ntfsresize",
    "realpath": "163",
    "rsync": "344-346 rsync",
    "scrub": "114-116 scrub",
    "selinux": "185 186",
    "selinuxrelabel": "467 setfiles",
    "sleuthkit": "464 468 icat",
    "squashfs": "471 mksquashfs",
    "syslinux": "399 syslinux",
    "wipefs": "306 wipefs",
    "xfs": "337 343 349 366 xfs_admin xfs_growfs xfs_info xfs_repair",
    "xz": "229 230 xz",
    "zerofree": "97 zerofree",
}
"""Names, calls and programs of the groups of libguestfs 1.48 (guestfs-procedures.tsv): numbers, ranges, programs."""


def members(group: str) -> Iterator[int]:
    """Yield the numbers of a group's calls."""
    for word in _GROUPS[group].split():
        first, _, last = word.partition("-")
        if first.isdigit():
            yield from range(int(first), int(last or first) + 1)


def programs(group: str) -> list[str]:
    """Name the programs that a group needs."""
    return [word for word in _GROUPS[group].split() if not word[0].isdigit()]


@handles(procedures.AVAILABLE_ALL_GROUPS)
def available_all_groups(_session: Session, _args: NoArgs) -> list[str]:
    """Name the optional groups, available or not."""
    return sorted(_GROUPS)


@handles(procedures.INTERNAL_FEATURE_AVAILABLE)
def internal_feature_available(_session: Session, args: InternalFeatureAvailableArgs) -> int:
    """Return 0 if a group is available, 1 if it is not, 2 if its name is unknown."""
    if args.group not in _GROUPS:
        return 2
    known = {number for numbers in NUMBERS.values() for number in numbers}
    present = all(any(os.access(f"{place}/{name}", os.X_OK) for place in _PLACES) for name in programs(args.group))
    return 0 if present and known.issuperset(members(args.group)) else 1
