"""The extension ``walk``: the listings of a whole subtree, with attributes and link targets, in one transfer.

Nothing is packed per file: the kernel writes each ``struct statx`` where it is sent from, and names go joined. Under
emulation that takes a third of the time that ``list_directory`` takes.
"""

import fcntl
import os
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from struct import Struct
from time import monotonic
from typing import Final

from daemon.registry import streams
from daemon.session import CallError, Pieces, Session
from daemon.statx import NAMES_AT_ONCE, Statx, statx_buffer
from rpc import procedures
from rpc.constants import STATX_BYTES
from rpc.procedures.extensions import WalkArgs, WalkState

_HEAD: Final = Struct(">5I")
_DIRECTORY_TYPE: Final = 0o4
_LINK_TYPE: Final = 0o12
_FIRST_PIECE_BYTES: Final = 8 << 10
_PIECE_BYTES: Final = 128 << 10
"""The first pieces are short, so that the host can begin; longer ones would only keep it waiting."""
_LARGE_DIRECTORY_BYTES: Final = 1 << 20
"""A directory file longer than this is not listed unasked."""
_SLOW_S: Final = 0.0007
_WINDOW_BYTES: Final = 1 << 20
_INODE_BLOCKS: Final = b"1024"
"""What ext4 reads ahead of an inode, in blocks, never beyond its group's table (the kernel's ext4.rst)."""
_FS_IOC_FIEMAP: Final = 0xC020660B
_FIEMAP: Final = Struct("=QQIIIIQQQ32x")
"""struct fiemap with room for one extent, up to its fe_length (linux/fiemap.h)."""


@streams(procedures.WALK)
def walk(session: Session, args: WalkArgs) -> Pieces:
    """Stream the listings of directories and of what is below each, depth first, up to a number of entries."""
    if sys.byteorder != "little":
        raise CallError("the walk's attributes would be in big-endian order")
    statx = statx_buffer()
    ahead = _ReadAhead(session)
    try:
        walker = _Walker(args, statx, ahead)
        limit = _FIRST_PIECE_BYTES
        most = min(session.chunk_max_bytes, _PIECE_BYTES)
        while True:
            with session.sysroot:
                piece = walker.piece(min(limit, most))
            if not piece:
                return
            yield piece
            limit *= 2
    finally:
        ahead.close()


class _Walker:
    """A walk under way; used in the guest's root only."""

    def __init__(self, args: WalkArgs, statx: Statx, ahead: "_ReadAhead") -> None:
        self._queue: deque[bytes] = deque(args.paths)
        self._left: int = args.max_entries
        self._by_name = args.by_name
        self._statx = statx
        self._ahead = ahead
        self._parts: Iterator[list[bytes]] = self._walk()

    def piece(self, limit: int) -> bytes:
        """Return whole parts of listings, as soon as they exceed a limit in bytes; nothing at the end."""
        found: list[bytes] = []
        size_bytes = 0
        for part in self._parts:
            found += part
            size_bytes += sum(map(len, part))
            if size_bytes > limit:
                break
        return b"".join(found)

    def _walk(self) -> Iterator[list[bytes]]:
        while self._queue and self._left > 0:
            path = self._queue.popleft()
            start_s = monotonic()
            try:
                os.chdir(path)
                names = os.listdir(b".")
            except OSError:
                yield [_HEAD.pack(len(path), WalkState.UNREADABLE, 0, 0, 0), path]
                continue
            if monotonic() - start_s > _SLOW_S:
                self._ahead.around(path)
            self._left -= len(names) + 1
            below: list[bytes] = []
            starts = range(0, len(names), NAMES_AT_ONCE) or (0,)
            for start in starts:
                if start:
                    os.chdir(path)  # a part has gone out meanwhile
                is_last = start == starts[-1]
                yield self._part(path, names[start : start + NAMES_AT_ONCE], below, is_last=is_last)
            if self._by_name:
                below.sort()
            self._queue.extendleft(reversed(below))

    def _part(self, path: bytes, names: list[bytes], below: list[bytes], *, is_last: bool) -> list[bytes]:
        """Return up to 256 entries of the working directory, and note those that are directories of its filesystem."""
        statx = self._statx
        count = len(names)
        statx.look(names)
        types = [mode >> 12 for mode in statx.modes[:count].tolist()]
        targets = [_target(name) for name, kind in zip(names, types, strict=True) if kind == _LINK_TYPE]
        if _DIRECTORY_TYPE in types:
            prefix = path if path.endswith(b"/") else path + b"/"
            device = os.stat(".").st_dev
            own = os.major(device) | os.minor(device) << 32
            found = zip(names, types, statx.sizes[:count], statx.devices[:count], strict=True)
            below += [
                prefix + name
                for name, kind, size_bytes, its in found
                if kind == _DIRECTORY_TYPE and its == own and size_bytes <= _LARGE_DIRECTORY_BYTES
            ]
        joined, links = b"\0".join(names), b"\0".join(targets)
        state = WalkState.COMPLETE if is_last else WalkState.CONTINUED
        head = _HEAD.pack(len(path), state, count, len(joined), len(links))
        return [head, path, joined, links, bytes(statx.data[: count * STATX_BYTES])]


def _target(name: bytes) -> bytes:
    try:
        return os.readlink(name)
    except OSError:
        return b""


class _ReadAhead:
    """Read what lies around directories that were slow to list: ext4 puts directories next to each other.

    Its directories are in the cache of the block device, so that reading that one is enough; it would take a request of
    its own for each directory otherwise. FIEMAP tells where they are. Inodes it reads ahead itself, more of them for as
    long as the walk takes.
    """

    def __init__(self, session: Session) -> None:
        self._devices: dict[int, int] = {}
        self._settings: dict[str, bytes] = {}
        self._done: set[tuple[int, int]] = set()
        for mount in session.sysroot.mount_points():
            with suppress(OSError):
                number = os.stat(mount.device).st_rdev
                block = os.readlink(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
                setting = f"/sys/fs/ext4/{os.path.basename(block)}/inode_readahead_blks"
                if os.path.exists(setting):
                    self._devices[number] = os.open(mount.device, os.O_RDONLY | os.O_CLOEXEC)
                    self._settings[setting] = _exchanged(setting, _INODE_BLOCKS)

    def around(self, path: bytes) -> None:
        """Have the kernel read the piece of the device that a directory lies in."""
        if not self._devices:
            return
        with suppress(OSError):
            directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                device = self._devices.get(os.fstat(directory).st_dev)
                if device is None:
                    return
                ask = _FIEMAP.pack(0, (1 << 64) - 1, 0, 0, 1, 0, 0, 0, 0)
                found = _FIEMAP.unpack(fcntl.ioctl(directory, _FS_IOC_FIEMAP, ask))
            finally:
                os.close(directory)
            window = found[7] // _WINDOW_BYTES
            if found[3] and (device, window) not in self._done:
                self._done.add((device, window))
                os.posix_fadvise(device, window * _WINDOW_BYTES, _WINDOW_BYTES, os.POSIX_FADV_WILLNEED)

    def close(self) -> None:
        """Close the devices, and leave their settings as they were."""
        for setting, value in self._settings.items():
            with suppress(OSError):  # it is no longer mounted
                _exchanged(setting, value)
        for device in self._devices.values():
            os.close(device)


def _exchanged(setting: str, value: bytes) -> bytes:
    """Write a file of sysfs; return what it said before."""
    file = os.open(setting, os.O_RDWR | os.O_CLOEXEC)
    try:
        before = os.read(file, 64)
        os.pwrite(file, value, 0)
    finally:
        os.close(file)
    return before
