"""btrfs: subvolumes and devices; btrfs(8) does the work."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl
from typing import Final, NamedTuple

from daemon.command import lines_of, option, run, text_of
from daemon.devices import names_device, wire_name
from daemon.mountables import checked_mountable, subvolume_option
from daemon.mounts import run_mount
from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import procedures
from rpc.arguments import DeviceArgs
from rpc.codec import MountableOrPath, Pairs
from rpc.mountables import SUBVOLUME, TOP_LEVEL, TOP_LEVEL_ID, TOP_LEVEL_OPTION, Volume, volume_of
from rpc.procedures.btrfs import Btrfssubvolume as Subvolume
from rpc.procedures.btrfs import (
    BtrfsSubvolumeCreateArgs,
    BtrfsSubvolumeDeleteArgs,
    BtrfsSubvolumeListArgs,
    BtrfsSubvolumeSetDefaultArgs,
    BtrfsSubvolumeSnapshotArgs,
)

_GET_SUBVOL_INFO: Final = 0x81F8943C
_INFO_BYTES: Final = 504
_INFO_UUID_AT: Final = 296
"""BTRFS_IOC_GET_SUBVOL_INFO of Linux (linux/btrfs.h): btrfs(8) does not list the one that all others are below."""


@contextmanager
def place_of(session: Session, fs: MountableOrPath, *options: str) -> Iterator[bytes]:
    """Own a directory of a filesystem, as programs outside the guest's root need it; a device is mounted meanwhile."""
    if not fs.startswith(SUBVOLUME.encode()) and not names_device(fs):
        if not fs.startswith(b"/"):
            raise CallError(f"{os.fsdecode(fs)}: neither a device nor a path")
        session.must_be_mounted()
        yield session.sysroot.outside(fs)
        return
    with _mounted(checked_mountable(os.fsdecode(fs)), *options) as place:
        yield place


@contextmanager
def _mounted(mountable: str, *options: str) -> Iterator[bytes]:
    volume = volume_of(mountable)
    words = [*options, subvolume_option(volume) or TOP_LEVEL_OPTION, "nodev", "nosuid"]
    place = b"/tmp/btrfs.%d" % os.getpid()
    os.mkdir(place, 0o700)
    try:
        run_mount(["mount", "-t", "btrfs", "-o", ",".join(words), "--", volume.device, place], volume.device)
        try:
            yield place
        finally:
            run(["umount", "--", place])
    finally:
        os.rmdir(place)


class Listed(NamedTuple):
    """A subvolume: its number, that of the one that holds it, its UUID, that of what it is a snapshot of, its path."""

    number: int
    above: int
    uuid: str
    parent_uuid: str
    path: str

    @property
    def is_snapshot(self) -> bool:
        """Tell whether it is the state of another subvolume at some time, which need not be there any more."""
        return bool(self.parent_uuid)


def _listed(place: bytes) -> list[Listed]:
    """Return what ``btrfs subvolume list -qu`` prints: ``ID 256 gen 7 top level 5 parent_uuid - uuid 0a path sv1``."""
    text = text_of([b"btrfs", b"subvolume", b"list", b"-qu", place])
    line = r"^ID (\d+) gen \d+ top level (\d+) parent_uuid (\S+) +uuid (\S+) +path (.+)$"
    rows = (match.groups() for match in re.finditer(line, text, re.MULTILINE))
    return [
        Listed(int(number), int(above), uuid.strip("-"), parent.strip("-"), path)
        for number, above, parent, uuid, path in rows
    ]


def _default_id(place: bytes) -> int:
    """Return the number in what ``btrfs subvolume get-default`` prints: ``ID 5 (FS_TREE)``."""
    return int(text_of([b"btrfs", b"subvolume", b"get-default", place]).split()[1])


def mountable_subvolumes(device: str) -> list[Listed]:
    """Return the subvolumes of a device; the first one is that which is mounted when none is named."""
    with _mounted(device, "ro") as place:
        default = _default_id(place)
        rows = _listed(place)
        if default == TOP_LEVEL_ID:
            return [Listed(default, 0, _uuid_of(place), "", TOP_LEVEL), *rows]
    nothing = Listed(default, 0, "", "", "")  # it was removed
    others = [row for row in rows if row.number != default]
    return [next((row for row in rows if row.number == default), nothing), *others]


def _uuid_of(place: bytes) -> str:
    """Return the UUID of the subvolume that a directory is in; empty if it has none, or if the kernel does not tell."""
    directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        told = bytearray(_INFO_BYTES)
        ioctl(directory, _GET_SUBVOL_INFO, told)
    except OSError:
        return ""
    finally:
        os.close(directory)
    uuid = told[_INFO_UUID_AT : _INFO_UUID_AT + 16].hex()
    return "-".join((uuid[:8], uuid[8:12], uuid[12:16], uuid[16:20], uuid[20:])) if uuid.strip("0") else ""


def number_of(volume: Volume) -> int:
    """Return the number of a subvolume."""
    with _mounted(volume.device, "ro") as place:
        for row in _listed(place):
            if row.path == volume.subvolume:
                return row.number
    raise CallError(f"{volume.subvolume}: there is no such subvolume")


@handles(procedures.BTRFS_SUBVOLUME_LIST)
def btrfs_subvolume_list(session: Session, args: BtrfsSubvolumeListArgs) -> list[Subvolume]:
    """Return the subvolumes of a filesystem."""
    with place_of(session, args.fs, "ro") as place:
        return [Subvolume(row.number, row.above, row.path) for row in _listed(place)]


@handles(procedures.BTRFS_SUBVOLUME_GET_DEFAULT)
def btrfs_subvolume_get_default(session: Session, args: BtrfsSubvolumeListArgs) -> int:
    """Return the number of the subvolume that is mounted when none is named."""
    with place_of(session, args.fs, "ro") as place:
        return _default_id(place)


@handles(procedures.BTRFS_SUBVOLUME_SET_DEFAULT)
def btrfs_subvolume_set_default(session: Session, args: BtrfsSubvolumeSetDefaultArgs) -> None:
    """Choose the subvolume that is mounted when none is named."""
    run(["btrfs", "subvolume", "set-default", str(args.id), session.sysroot.outside(args.fs)])


def _new_place(session: Session, path: bytes) -> bytes:
    """Return where a new name of the guest will be, for programs outside the guest's root."""
    parent, _, name = path.rstrip(b"/").rpartition(b"/")
    if not name:
        raise CallError("/: there is something already")
    return session.sysroot.outside(parent or b"/").rstrip(b"/") + b"/" + name


@handles(procedures.BTRFS_SUBVOLUME_CREATE)
def btrfs_subvolume_create(session: Session, args: BtrfsSubvolumeCreateArgs) -> None:
    """Make a subvolume."""
    run(["btrfs", "subvolume", "create", *option("-i", args.qgroupid), _new_place(session, args.dest)])


@handles(procedures.BTRFS_SUBVOLUME_DELETE)
def btrfs_subvolume_delete(session: Session, args: BtrfsSubvolumeDeleteArgs) -> None:
    """Remove a subvolume."""
    run(["btrfs", "subvolume", "delete", session.sysroot.outside(args.subvolume)])


@handles(procedures.BTRFS_SUBVOLUME_SNAPSHOT)
def btrfs_subvolume_snapshot(session: Session, args: BtrfsSubvolumeSnapshotArgs) -> None:
    """Make a snapshot of a subvolume."""
    words = [*(["-r"] if args.ro else []), *option("-i", args.qgroupid)]
    source = session.sysroot.outside(args.source)
    run(["btrfs", "subvolume", "snapshot", *words, source, _new_place(session, args.dest)])


@handles(procedures.BTRFS_SUBVOLUME_SHOW)
def btrfs_subvolume_show(session: Session, args: BtrfsSubvolumeDeleteArgs) -> Pairs:
    """Describe a subvolume as ``btrfs subvolume show`` does; the snapshots are joined by commas."""
    lines = lines_of(["btrfs", "subvolume", "show", session.sysroot.outside(args.subvolume)])
    rows: list[tuple[str, list[str]]] = []
    for line in lines[1:]:
        key, colon, value = line.partition(":")
        if colon:
            rows.append((key, [value.strip()] if value.strip() else []))
        elif rows:
            rows[-1][1].append(line)
    return [(key, ",".join(values)) for key, values in rows]


@handles(procedures.BTRFS_FILESYSTEM_SHOW)
def btrfs_filesystem_show(_session: Session, args: DeviceArgs) -> list[str]:
    """Name the devices of the filesystem that a device is part of."""
    lines = lines_of(["btrfs", "filesystem", "show", args.device])
    return sorted(wire_name(line.rpartition(" path ")[2]) for line in lines if line.startswith("devid "))
