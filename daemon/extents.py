"""The extension ``map_files``: where the bytes of many files lie, as the kernel tells it.

Nothing is packed per file: the kernel writes each ``struct fiemap`` where it is sent from.
"""

import os
import sys
from collections.abc import Generator, Iterator, Sequence
from errno import EIO, ENODATA
from fcntl import ioctl
from functools import cache
from itertools import repeat
from struct import Struct
from typing import Any, Final, NamedTuple

from daemon.registry import streams
from daemon.session import CallError, Pieces, Session
from rpc import procedures
from rpc.procedures.extensions import MapFilesArgs

FIEMAP: Final = 0xC020660B
"""FS_IOC_FIEMAP of Linux (linux/fs.h), whose structures are in linux/fiemap.h."""
_SYNC: Final = 1
_LAST: Final = 1
_TO_THE_END: Final = (1 << 64) - 1
_HEAD: Final = Struct("=QQIIII")
"""struct fiemap: start, length, flags, extents mapped, room for so many, reserved."""
_EXTENT: Final = Struct("=QQQ16xI12x")
"""struct fiemap_extent: logical, physical, length, flags."""
_COUNT: Final = Struct("=I")
_COUNT_OFFSET: Final = 20
_FOLLOWS_OFFSET: Final = 28
"""The reserved word; 1 here if all extents of the file follow."""
_FLAGS_OFFSET: Final = 32 + 40
_SLOT_BYTES: Final = _HEAD.size + _EXTENT.size
_REFUSED: Final = bytes(_SLOT_BYTES)
_FILES_AT_ONCE: Final = 256
_FILES_FIRST: Final = 16
"""Somebody may be waiting for one of the first."""
_PIECE_BYTES: Final = 64 << 10
_EXTENTS_AT_ONCE: Final = 1024

_PART: Final = Struct(">QI")
_BLOCK: Final = Struct(">I")
_END: Final = _BLOCK.pack(0)
_BROKEN: Final = _BLOCK.pack((1 << 32) - 1)

_OPEN_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_AT_FDCWD: Final = -100
_STATX_MNT_ID: Final = 0x1000
_STATX: Final = Struct("=I140xQ")
"""struct statx (linux/stat.h): stx_mask, and stx_mnt_id, which is the number in fdinfo too."""


def mount_number(descriptor: int) -> int:
    """Return the kernel's number of the mount that an open file is on (proc(5), fdinfo)."""
    with open(f"/proc/self/fdinfo/{descriptor}", "rb") as file:
        for line in file:
            if line.startswith(b"mnt_id:"):
                return int(line[7:])
    raise OSError(ENODATA, "the kernel does not tell the number of the mount")


class Fiemap(NamedTuple):
    """The C library's ioctl(2) and where FIEMAP writes.

    Attributes:
        call: as ``call(descriptor, FIEMAP, slot)``; 0, or -1 for an error.
        slots: where each file's ``struct fiemap`` goes, with room for one extent.
        data: all slots.
        statx, stat_slot, stat: statx(2) likewise, and where it writes.
        mapped, follows, flags: of all slots, how many extents there are, the reserved word, the flags of the extent.
    """

    call: Any
    slots: Sequence[Any]
    data: memoryview
    mapped: memoryview
    follows: memoryview
    flags: memoryview
    statx: Any
    stat_slot: Any
    stat: memoryview


@cache
def fiemap() -> Fiemap:
    """Return what FIEMAP is asked with; the same each time."""
    import ctypes  # too slow to import at each boot

    data = (ctypes.c_char * (_SLOT_BYTES * _FILES_AT_ONCE))()
    view = memoryview(data).cast("B")
    words = view.cast("I")
    stat = (ctypes.c_char * 256)()
    library = ctypes.CDLL(None)
    return Fiemap(
        library.ioctl,
        [ctypes.byref(data, _SLOT_BYTES * index) for index in range(_FILES_AT_ONCE)],
        view,
        words[_COUNT_OFFSET // 4 :: _SLOT_BYTES // 4],
        words[_FOLLOWS_OFFSET // 4 :: _SLOT_BYTES // 4],
        words[_FLAGS_OFFSET // 4 :: _SLOT_BYTES // 4],
        library.statx,
        ctypes.byref(stat),
        memoryview(stat).cast("B"),
    )


@streams(procedures.MAP_FILES)
def map_files(session: Session, args: MapFilesArgs) -> Pieces:
    """Stream where files lie, directory by directory, a part for up to 256 files."""
    if sys.byteorder != "little":
        raise CallError("the extents would be in big-endian order")
    groups = [group.split(b"\0") if group else [] for group in args.names.split(b"/")] if args.paths else []
    if len(groups) != len(args.paths):
        raise CallError(f"names in {len(groups)} directories where {len(args.paths)} are given")
    if any(b".." in names for names in groups):
        raise CallError("a name must not be ..")
    mapper = _Mapper(args.paths, groups)
    limit = _FILES_FIRST * _SLOT_BYTES
    try:
        while True:
            with session.sysroot:
                piece = mapper.piece(limit)
            if not piece:
                return
            yield piece
            limit = min(limit * 4, _PIECE_BYTES)
    finally:
        mapper.close()


class _Mapper:
    """One call under way; used in the guest's root only."""

    def __init__(self, paths: Sequence[bytes], groups: Sequence[Sequence[bytes]]) -> None:
        self._fiemap = fiemap()
        self._mounts: dict[int, tuple[int, bytes]] = {}
        self._parts = self._map(paths, groups)

    def piece(self, limit: int) -> bytes:
        """Return what comes next, as soon as that exceeds a limit in bytes; nothing at the end."""
        found: list[bytes] = []
        size_bytes = 0
        for data in self._parts:
            found.append(data)
            size_bytes += len(data)
            if size_bytes >= limit:
                break
        return b"".join(found)

    def close(self) -> None:
        """Close what is open."""
        self._parts.close()

    def _map(self, paths: Sequence[bytes], groups: Sequence[Sequence[bytes]]) -> Generator[bytes, None, None]:
        at_once = _FILES_FIRST
        for path, names in zip(paths, groups, strict=True):
            start = 0
            while start < len(names):
                some = names[start : start + at_once]
                start += len(some)
                at_once = _FILES_AT_ONCE
                try:
                    os.chdir(path)  # the last piece has gone out meanwhile
                    filesystem, flags, blank = self._mount()
                except OSError:
                    yield _PART.pack(0, len(some)) + _REFUSED * len(some)
                    continue
                yield from self._part(_opened(some), filesystem, flags, blank)

    def _mount(self) -> tuple[int, int, bytes]:
        """Return the number of the working directory's mount, the flags to ask with, and empty slots."""
        asking = self._fiemap
        if asking.statx(_AT_FDCWD, b".", 0, _STATX_MNT_ID, asking.stat_slot):
            raise OSError(EIO, "the working directory tells nothing")
        mask: int
        number: int
        mask, number = _STATX.unpack_from(asking.stat)
        if not mask & _STATX_MNT_ID:
            raise OSError(ENODATA, "the kernel does not tell the number of the mount")
        if number not in self._mounts:
            flags = 0 if os.statvfs(".").f_flag & os.ST_RDONLY else _SYNC
            blank = _HEAD.pack(0, _TO_THE_END, flags, 0, 1, 0) + bytes(_EXTENT.size)
            self._mounts[number] = flags, blank * _FILES_AT_ONCE
        return number, *self._mounts[number]

    def _part(self, opened: Sequence[int], filesystem: int, flags: int, blank: bytes) -> Iterator[bytes]:
        """Yield what there is to say of up to 256 files, and close them."""
        asking = self._fiemap
        count = len(opened)
        size_bytes = count * _SLOT_BYTES
        try:
            asking.data[:size_bytes] = blank[:size_bytes]
            failed = list(map(asking.call, opened, repeat(FIEMAP), asking.slots))
            more: list[int] = []
            if any(failed) or asking.flags[:count].tolist().count(_LAST) != count:
                more = self._exceptions(failed)
            yield _PART.pack(filesystem, count) + asking.data[:size_bytes]
            for index in more:
                yield from _all_extents(opened[index], flags)
        finally:
            _close(opened)

    def _exceptions(self, failed: Sequence[int]) -> list[int]:
        """Blank the slots of files that FIEMAP refused, and return those of more than one extent, marked as such."""
        asking = self._fiemap
        for index, status in enumerate(failed):
            if status:
                asking.data[index * _SLOT_BYTES : (index + 1) * _SLOT_BYTES] = _REFUSED
        mapped, flags = asking.mapped[: len(failed)].tolist(), asking.flags.tolist()
        more = [index for index, found in enumerate(mapped) if found and not flags[index] & _LAST]
        for index in more:
            asking.follows[index] = 1
        return more


def _opened(names: Sequence[bytes]) -> list[int]:
    """Open files of the working directory, of which no link is followed; -1 where that fails."""
    opened: list[int] = []
    rest = iter(names)
    while len(opened) < len(names):
        try:
            opened.extend(map(os.open, rest, repeat(_OPEN_FLAGS)))  # what was opened before one fails stays
        except OSError:
            opened.append(-1)
    return opened


def _close(opened: Sequence[int]) -> None:
    """Close what ``_opened`` returned: in one system call if the kernel numbered it without gaps, as it mostly does."""
    first, last = min(opened), max(opened)
    if first >= 0 and last - first + 1 == len(opened):
        os.closerange(first, last + 1)
        return
    for descriptor in opened:
        if descriptor >= 0:
            os.close(descriptor)


def _all_extents(descriptor: int, flags: int) -> Iterator[bytes]:
    """Yield all extents of a file, some at a time."""
    request = bytearray(_HEAD.size + _EXTENTS_AT_ONCE * _EXTENT.size)
    start = last = 0
    try:
        while True:
            _HEAD.pack_into(request, 0, start, _TO_THE_END, flags, 0, _EXTENTS_AT_ONCE, 0)
            ioctl(descriptor, FIEMAP, request)
            (count,) = _COUNT.unpack_from(request, _COUNT_OFFSET)
            if count:
                end = _HEAD.size + count * _EXTENT.size
                yield _BLOCK.pack(count) + request[_HEAD.size : end]
                logical, _, length, last = _EXTENT.unpack_from(request, end - _EXTENT.size)
                if logical + length <= start:
                    raise OSError(EIO, "the extents go round in circles")
                start = logical + length
            if count < _EXTENTS_AT_ONCE or last & _LAST:
                yield _END
                return
    except OSError:
        yield _BROKEN
