"""The only caller of pyfuse3's module-wide functions."""

import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pyfuse3
import trio

from guestmount_py.fuse_channel import FuseChannel, opened_channel
from guestmount_py.hot_operations import HotOperations
from guestmount_py.operations import ReadOnlyOperations
from guestmount_py.serving import find_mount
from guestmount_py.tree import Tree
from rpc.errors import GuestmountError


def mount_words(options: Sequence[str], source: str) -> set[str]:
    """Return the words of ``-o`` for libfuse: what the user gave, and ours where they do not say otherwise.

    Read-only it is whatever they say.
    """
    names = {word.partition("=")[0] for word in options}
    ours = {"ro", "nosuid", "nodev"} - {f"no{name}" for name in names}
    if "allow_other" in names:
        ours.add("default_permissions")  # the process that serves root's mount may read all: others may not
    if "subtype" not in names:
        ours.add("subtype=guestmount-py")
    if "fsname" not in names:
        ours.add(f"fsname={_escaped(source)}")
    return ours | set(options) - {"rw"}


def _escaped(text: str) -> str:
    """Return text as a value for libfuse's option parser: ASCII, with what is special to it in octal (fuse_opt.c)."""
    return "".join(
        chr(byte) if 0x20 < byte < 0x7F and byte not in b",\\" else f"\\{byte:03o}" for byte in os.fsencode(text)
    )


@contextmanager
def _captured_stderr() -> Iterator[Callable[[], str]]:
    """Keep what libfuse and fusermount3 write to standard error, so that a failure is one line of ours."""
    with tempfile.TemporaryFile() as file:
        ours = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield lambda: os.pread(file.fileno(), 4096, 0).decode("utf-8", "replace")
        finally:
            os.dup2(ours, 2)
            os.close(ours)


@asynccontextmanager
async def fuse_mounted(
    tree: Tree, mountpoint: Path, options: Sequence[str], source: str
) -> AsyncIterator[trio.Nursery]:
    """Own a mount of a tree that answers requests until it is unmounted; then the body is cancelled.

    At the end it is unmounted if it still is mounted.

    Raises:
        GuestmountError: the kernel or fusermount3 refused.
    """
    before = _fuse_descriptors()
    with _captured_stderr() as captured:
        try:
            pyfuse3.init(ReadOnlyOperations(tree), str(mountpoint), mount_words(options, source))
        except RuntimeError as exc:
            said = captured().strip().replace("\n", "; ") or exc
            raise GuestmountError(f"{mountpoint}: cannot be mounted: {said}") from exc
    is_aborted = False
    try:
        (descriptor,) = _fuse_descriptors() - before
        with opened_channel(descriptor, HotOperations(tree).handlers) as channel:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_serve, channel, nursery)
                nursery.start_soon(pyfuse3.main, 2, channel.pyfuse3_tasks)
                try:
                    yield nursery
                finally:
                    is_aborted = channel.is_aborted
    finally:
        pyfuse3.close(unmount=True)
        if is_aborted:
            _remove_aborted(mountpoint)


def _remove_aborted(mountpoint: Path) -> None:
    """Unmount what libfuse took for unmounted; not after an unmount, for another may be mounted there by now."""
    if find_mount(mountpoint) is not None:
        subprocess.run(["fusermount3", "-u", "-z", "--", mountpoint], check=False)


def _fuse_descriptors() -> set[int]:
    """Return the open descriptors of /dev/fuse: pyfuse3 keeps libfuse's to itself."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the directory's own
            if link.readlink() == Path("/dev/fuse"):
                found.add(int(link.name))
    return found


async def _serve(channel: FuseChannel, nursery: trio.Nursery) -> None:
    await channel.serve()
    nursery.cancel_scope.cancel()
