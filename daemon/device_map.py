"""The extension ``device_map``: where a filesystem's addresses, as FIEMAP gives them, lie on the drives."""

import os
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from daemon.btrfs_chunks import data_chunks
from daemon.devices import labelled_disks
from daemon.extents import mount_number
from daemon.registry import handles
from daemon.session import CallError, Session
from daemon.stacks import NotMappableError, Part, Stacks, cut
from rpc import procedures
from rpc.arguments import PathArgs
from rpc.procedures.extensions import DeviceMap, DeviceSegment

_ONE_DEVICE: Final = frozenset(("ext2", "ext3", "ext4", "xfs"))
"""Filesystems whose FIEMAP gives offsets in the device that is mounted; tests compare what they say byte for byte."""


class Mount(NamedTuple):
    """One line of the mount table; ``number`` is the device's ``MAJOR:MINOR``, of little use for btrfs."""

    number: str
    fstype: str
    options: tuple[str, ...]


@handles(procedures.DEVICE_MAP)
def device_map(session: Session, args: PathArgs) -> DeviceMap:
    """Tell where the filesystem of a directory lies, or why that cannot be told."""
    with session.sysroot:
        directory = os.open(args.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        filesystem = mount_number(directory)
        mount = mount_of(filesystem)
        reason = ""
        segments: list[DeviceSegment] = []
        try:
            segments = list(_on_drives(layout(directory, mount)))
            if not segments:
                raise NotMappableError(f"this {mount.fstype} has no space for data yet")
        except NotMappableError as exc:
            reason = str(exc)
        return DeviceMap(filesystem, mount.fstype, reason, os.fstatvfs(directory).f_bsize, segments)
    finally:
        os.close(directory)


def mount_of(filesystem: int) -> Mount:
    """Return a line of the mount table by its number (proc(5), mountinfo)."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            words = line.split()
            if int(words[0]) == filesystem:
                fstype, _, options = words[words.index("-", 6) + 1 :][:3]
                return Mount(words[2], fstype, tuple(options.split(",")))
    raise CallError(f"the mount table has no mount {filesystem}")


def layout(directory: int, mount: Mount) -> Iterator[tuple[int, Part]]:
    """Yield addresses of a filesystem and the parts of disks that they stand for.

    Args:
        directory: an open directory of the filesystem.
        mount: its mount.

    Raises:
        NotMappableError: that cannot be told; the text says why.
    """
    stacks = Stacks()
    if mount.fstype == "btrfs":
        for start, size_bytes, number, offset in data_chunks(directory):
            yield from _addressed(start, cut(stacks.parts(number), offset, size_bytes))
        return
    if mount.fstype not in _ONE_DEVICE:
        raise NotMappableError(f"{mount.fstype} is not a filesystem that can be mapped")
    if any(option.startswith("rtdev=") for option in mount.options):
        raise NotMappableError("xfs with a realtime device")
    yield from _addressed(0, stacks.parts(mount.number))


def _addressed(start: int, parts: Iterable[Part]) -> Iterator[tuple[int, Part]]:
    for part in parts:
        yield start, part
        start += part.size_bytes


def _on_drives(parts: Iterator[tuple[int, Part]]) -> Iterator[DeviceSegment]:
    """Yield the segments with their drives called by serial number."""
    serials = {name: serial for serial, name in labelled_disks().items()}
    for start, (disk, offset, size_bytes) in parts:
        if disk not in serials:
            raise NotMappableError(f"{disk} is not a drive with a serial number")
        yield DeviceSegment(start, size_bytes, serials[disk], offset)
