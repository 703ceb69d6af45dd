"""Extensions of ours, for a client that asks ``hello`` first: docs/architecture.md has their meaning."""

from enum import IntEnum
from typing import Final, NamedTuple

from rpc.arguments import PathArgs
from rpc.codec import STRING_LIST, VOID, FileName, GuestPath, UInt32, UInt64, codec_of
from rpc.procedure import Procedure, Transfer
from rpc.types import Hello


class HelloArgs(NamedTuple):
    """Carry the arguments of ``hello``: what the client speaks and the longest FileOut chunk it takes."""

    version: UInt32
    chunk_max_bytes: UInt32


class ReadFilesArgs(NamedTuple):
    """Carry the arguments of ``read_files``: names in one directory and the most bytes wanted of each."""

    path: GuestPath
    names: list[FileName]
    max_bytes: UInt32


class ResumeArgs(NamedTuple):
    """Carry the arguments of ``resume``.

    ``clock_ns`` is the time since 1970; ``entropy`` is secret random data; ``serials`` are the drives' serial numbers.
    """

    clock_ns: UInt64
    entropy: bytes
    serials: list[str]


class MapFilesArgs(NamedTuple):
    """Carry the arguments of ``map_files``: directories, and names in each.

    Names have NUL between them, and those of two directories a slash: ten thousand items of a list would take the
    daemon longer than to open the files.
    """

    paths: list[GuestPath]
    names: bytes


class DeviceSegment(NamedTuple):
    """One run of a filesystem's address space.

    Attributes:
        start: its first address, in bytes as FIEMAP gives them.
        length: in bytes.
        serial: serial number of the drive that holds it.
        offset: where in that drive, in bytes.
    """

    start: UInt64
    length: UInt64
    serial: str
    offset: UInt64


class DeviceMap(NamedTuple):
    """Where a filesystem lies on the drives.

    Attributes:
        filesystem: the kernel's number of the mount, as in the stream of ``map_files``.
        fstype: the kernel's name of its type.
        reason: why its files cannot be mapped, in words; empty if they can.
        block_bytes: its block size.
        segments: in the order of their addresses; none if there is a reason.
    """

    filesystem: UInt64
    fstype: str
    reason: str
    block_bytes: UInt32
    segments: list[DeviceSegment]


class WalkArgs(NamedTuple):
    """Carry the arguments of ``walk``.

    Attributes:
        paths: directories.
        max_entries: number of entries after which no further directory is listed.
        by_name: take the directories within one by name, otherwise in the order in which it lists them.
    """

    paths: list[GuestPath]
    max_entries: UInt32
    by_name: bool


class WalkState(IntEnum):
    """Tell what a part of the stream of ``walk`` is."""

    UNREADABLE = 0
    """A directory that cannot be listed."""
    COMPLETE = 1
    """The only or the last part of a directory."""
    CONTINUED = 2


HELLO: Final = Procedure(number=10000, name="hello", args=HelloArgs, result=codec_of(Hello))
LIST_DIRECTORY: Final = Procedure(
    number=10001, name="list_directory", args=PathArgs, result=VOID, transfer=Transfer.FILE_OUT
)
READ_FILES: Final = Procedure(
    number=10002, name="read_files", args=ReadFilesArgs, result=VOID, transfer=Transfer.FILE_OUT
)
RESUME: Final = Procedure(number=10004, name="resume", args=ResumeArgs, result=STRING_LIST)
MAP_FILES: Final = Procedure(number=10005, name="map_files", args=MapFilesArgs, result=VOID, transfer=Transfer.FILE_OUT)
DEVICE_MAP: Final = Procedure(number=10006, name="device_map", args=PathArgs, result=codec_of(DeviceMap))
WALK: Final = Procedure(number=10007, name="walk", args=WalkArgs, result=VOID, transfer=Transfer.FILE_OUT)
