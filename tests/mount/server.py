"""Serve a directory of this machine by FUSE through real daemons: everything of a mount but qemu.

python -m tests.mount.server SYSROOT MOUNTPOINT --log FILE [--standard] [--rw] [--channels N] [--daemon MODULE]
    [--image FILE]

Prints the process ids of the daemons, one for each channel, when the mount is ready; ends when it is unmounted.
With an image the guest has one drive, of DRIVE_BYTES, which is read directly; statistics then go to the file --stats.
"""

import argparse
import math
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from guestmount_py.direct import DirectPlane, Images
from guestmount_py.entries import Entry
from guestmount_py.fuse_loop import fuse_mounted, fuse_mounted_writable
from guestmount_py.guest_files import GuestFiles
from guestmount_py.guest_writing import GuestWriting
from guestmount_py.image_file import ImageFile
from guestmount_py.inodes import InodeTable
from guestmount_py.log import open_log
from guestmount_py.mapping import GuestMapping
from guestmount_py.node_table import NodeTable
from guestmount_py.raw_reader import RawReader
from guestmount_py.serving import serving_record
from guestmount_py.standard_writing import standard_writing
from guestmount_py.statistics import Statistics
from guestmount_py.tree import Tree
from guestmount_py.writing import WritingOperations
from rpc.client import open_channel
from rpc.pool import ChannelPool


def start_daemon(sysroot: str, module: str) -> tuple["subprocess.Popen[bytes]", trio.SocketStream]:
    """Start guestfsd on a directory; return it and our end of its channel."""
    ours, theirs = socket.socketpair()
    with theirs:
        descriptor = theirs.fileno()
        command = [sys.executable, "-m", module, "--channel", f"fd:{descriptor}", "--sysroot", sysroot]
        daemon = subprocess.Popen(command, pass_fds=[descriptor], stdin=subprocess.DEVNULL)
    return daemon, trio.SocketStream(trio.socket.from_stdlib_socket(ours))


async def serve(
    sysroot: str,
    mountpoint: Path,
    *,
    standard: bool,
    writable: bool,
    channel_count: int,
    module: str,
    image: Path | None,
    stats: Path | None,
) -> None:
    """Serve until the directory is unmounted."""
    statistics = Statistics()
    async with AsyncExitStack() as stack:
        daemons = []
        channels = []
        for _ in range(channel_count):
            daemon, stream = start_daemon(sysroot, module)
            stack.callback(daemon.wait)
            daemons.append(daemon)
            channels.append(await stack.enter_async_context(open_channel(stream)))
        for channel in channels:
            await channel.wait_launch()
            if not standard:
                await channel.hello()
        pool = ChannelPool(channels)
        guest = GuestFiles(pool, extended=not standard)
        images = None
        if image is not None:
            reader = RawReader(ImageFile(image), int(os.environ["DRIVE_BYTES"]))
            stack.callback(reader.close)
            plane = DirectPlane({"drive0": reader}, {"drive0": reader.size_bytes}, statistics, trio.Event())
            images = Images(plane, GuestMapping(pool))
        root = await guest.lstat(b"/", b"")
        serving = _serving_writable(guest, pool, root, mountpoint, sysroot, statistics) if writable else None
        async with serving or _serving(guest, root, mountpoint, sysroot, statistics, images):
            with serving_record(mountpoint, Path(os.devnull)):
                print(*(daemon.pid for daemon in daemons), flush=True)
                await trio.sleep(math.inf)
        if stats is not None:
            statistics.write(stats)


@asynccontextmanager
async def _serving(
    guest: GuestFiles, root: Entry, mountpoint: Path, sysroot: str, statistics: Statistics, images: Images | None
) -> AsyncIterator[None]:
    inodes = InodeTable(root, [])
    async with trio.open_nursery() as nursery:
        tree = Tree(guest, inodes, nursery, statistics, images)
        async with fuse_mounted(tree, mountpoint, [], sysroot):
            yield
        nursery.cancel_scope.cancel()
    inodes.check_invariants()


@asynccontextmanager
async def _serving_writable(
    guest: GuestFiles, pool: ChannelPool, root: Entry, mountpoint: Path, sysroot: str, statistics: Statistics
) -> AsyncIterator[None]:
    inodes = NodeTable(root, [])
    async with trio.open_nursery() as nursery:
        writing = GuestWriting(pool, None) if guest.extended else await standard_writing(pool)
        operations = WritingOperations(guest, writing, inodes, nursery, statistics)
        nursery.start_soon(operations.behind.run)
        async with fuse_mounted_writable(operations, mountpoint, ["allow_other"], sysroot):
            yield
        await operations.finish()
        nursery.cancel_scope.cancel()
    inodes.check_invariants()


def main() -> None:
    """Take the command line apart and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sysroot")
    parser.add_argument("mountpoint", type=Path)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--standard", action="store_true")
    parser.add_argument("--rw", action="store_true")
    parser.add_argument("--channels", type=int, default=4)
    parser.add_argument("--daemon", default="daemon")
    parser.add_argument("--image", type=Path)
    parser.add_argument("--stats", type=Path)
    options = parser.parse_args()
    open_log(options.log, verbose=False, trace=False, echo=False)
    run = partial(
        serve,
        standard=options.standard,
        writable=options.rw,
        channel_count=options.channels,
        module=options.daemon,
        image=options.image,
        stats=options.stats,
    )
    trio.run(run, options.sysroot, options.mountpoint)


if __name__ == "__main__":
    main()
