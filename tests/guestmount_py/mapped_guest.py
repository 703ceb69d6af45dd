"""A guest whose files lie in a raw image of this machine: all of the direct plane but the virtual machine."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

from appliance.blocks import Blocks
from appliance.control import Control
from appliance.drives import CheckedDrive
from appliance.qmp import Qmp
from guestmount_py.direct import DirectPlane, Images
from guestmount_py.disk_readers import DirectDrive
from guestmount_py.fuse_wire import FORGET, FORGET_IN, READ, Request
from guestmount_py.guest_files import GuestFiles
from guestmount_py.hot_operations import HotOperations
from guestmount_py.image_file import ImageFile
from guestmount_py.inodes import ROOT, InodeTable
from guestmount_py.mapping import GuestMapping
from guestmount_py.raw_reader import RawReader
from guestmount_py.statistics import Statistics
from guestmount_py.tree import Tree
from rpc import procedures
from rpc.extents import EXTENT
from rpc.procedures.extensions import DeviceMap, DeviceSegment, MapFilesArgs
from rpc.types import Statns
from tests.fakes import FakeDaemon, directory_entry, fake_guest, listing_chunks, statns
from tests.guestmount_py.kernel import ask, list_plus
from tests.rpc.extents import stream_of

DIRECTORY: Final = statns(st_ino=2, st_mode=0o40755, st_size=4096)
DRIVE: Final = "drive0"
FILESYSTEM_NUMBER: Final = 39
LAST: Final = 1

Extent = tuple[int, int, int, int]
"""Logical and physical address, length, flags of linux/fiemap.h."""


@dataclass
class MappedGuest:
    """What the daemon tells, for a test to change. What it reads itself is all ``G``.

    Attributes:
        image: the drive; only its first ``size_bytes`` belong to it.
        files: attributes and extents by name; None for a file that cannot be mapped.
        told: where the filesystem lies.
        filesystem: its number.
        has_reader: the host may read the drive.
        watched: the image is looked at again while it is read.
    """

    image: Path
    size_bytes: int
    files: dict[bytes, tuple[Statns, Sequence[Extent] | None]] = field(default_factory=dict)
    told: DeviceMap | None = None
    filesystem: int = FILESYSTEM_NUMBER
    has_reader: bool = True
    watched: bool = False
    daemon: FakeDaemon = field(default_factory=FakeDaemon)
    statistics: Statistics = field(default_factory=Statistics)
    gone: trio.Event = field(default_factory=trio.Event)

    def add(self, name: bytes, size_bytes: int, *extents: Extent, ino: int = 0) -> None:
        """Add a file."""
        self.files[name] = statns(st_ino=ino or 10 + len(self.files), st_size=size_bytes), extents

    def refuse(self, name: bytes, size_bytes: int) -> None:
        """Add a file that cannot be mapped."""
        self.files[name] = statns(st_ino=10 + len(self.files), st_size=size_bytes), None

    def count(self, procedure: str) -> int:
        """Return how often a procedure was called."""
        return sum(name == procedure for name, _ in self.daemon.calls)

    def planes(self) -> dict[str, int]:
        """Return how many bytes came by each plane."""
        return {name: each["bytes"] for name, each in self.statistics.as_dict()["planes"].items()}

    @asynccontextmanager
    async def served(self) -> AsyncIterator[tuple[GuestFiles, InodeTable, Images, trio.Nursery]]:
        """Own what a mount of it stands on."""
        whole = [DeviceSegment(0, self.size_bytes, DRIVE, 0)]
        records = (directory_entry(name, stat) for name, (stat, _) in self.files.items())
        listing = listing_chunks((directory_entry(b".", DIRECTORY), *records))
        self.daemon.answer(procedures.LSTATNS, lambda _args: DIRECTORY)
        self.daemon.answer(procedures.LIST_DIRECTORY, lambda _args: listing)
        self.daemon.answer(
            procedures.DEVICE_MAP, lambda _args: self.told or DeviceMap(self.filesystem, "ext4", "", 4096, whole)
        )
        self.daemon.answer(procedures.MAP_FILES, self._extents)
        self.daemon.answer(procedures.READ_FILES, lambda args: [bytes(8 * len(args.names))])  # none comes whole
        self.daemon.answer(procedures.PREAD, lambda args: b"G" * args.count)
        file = ImageFile(self.image)
        reader = RawReader(file, self.size_bytes)
        try:
            async with fake_guest(self.daemon) as (guest, nursery):
                inodes = InodeTable(await guest.lstat(b"/", b""), [])
                readers = {DRIVE: reader if self.has_reader else None}
                drives = {DRIVE: self._drive(file, reader)} if self.watched else {}
                plane = DirectPlane(readers, {DRIVE: self.size_bytes}, self.statistics, self.gone, drives)
                images = Images(plane, GuestMapping(guest._pool))
                yield guest, inodes, images, nursery
                inodes.check_invariants()
        finally:
            reader.close()

    @asynccontextmanager
    async def mounted(self) -> AsyncIterator[HotOperations]:
        """Own the handlers of a mount of it."""
        async with self.served() as (guest, inodes, images, nursery):
            yield HotOperations(Tree(guest, inodes, nursery, self.statistics, images))

    def _drive(self, file: ImageFile, reader: RawReader) -> DirectDrive:
        ours, theirs = trio.socket.socketpair()
        theirs.close()
        ours.close()
        control = Control(Qmp(trio.SocketStream(ours)))  # nobody is asked
        checked = CheckedDrive(self.image, "raw", False, self.size_bytes, None)
        return DirectDrive(Blocks(control, [checked]), 0, [file], reader, "")

    def _extents(self, args: MapFilesArgs) -> list[bytes]:
        stream = []
        for names in args.names.split(b"/"):
            files = [self.files[name][1] for name in names.split(b"\0")]
            stream.append(
                stream_of(self.filesystem, *(_packed(extents) if extents is not None else None for extents in files))
            )
        joined = b"".join(stream)
        return [joined[start : start + 8000] for start in range(0, len(joined), 8000)]


def _packed(extents: Sequence[Extent]) -> bytes:
    return b"".join(EXTENT.pack(*extent) for extent in extents)


async def read(operations: HotOperations, name: bytes, offset: int = 0, count: int = 1 << 20) -> bytes:
    """Find a file in the listing of its directory and read it once."""
    listed = await list_plus(operations, ROOT)
    (node,) = (each.node for each in listed if each.name == name)
    try:
        return await ask(operations, READ, node, offset, count)
    finally:
        for each in listed[2:]:
            operations.handlers[FORGET](Request(FORGET, 1, each.node, memoryview(FORGET_IN.pack(1))))
