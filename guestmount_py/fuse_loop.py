"""The only caller of pyfuse3's module-wide functions."""

import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pyfuse3
import trio

from guestmount_py.fuse_channel import Handler, opened_channel
from guestmount_py.hot_operations import HotOperations
from guestmount_py.hot_writing import HotWriting
from guestmount_py.operations import ReadOnlyOperations
from guestmount_py.serving import find_mount
from guestmount_py.tree import Tree
from guestmount_py.writing import WritingOperations
from rpc.errors import GuestmountError


def mount_words(options: Sequence[str], source: str, *, writable: bool = False) -> set[str]:
    """Return the words of ``-o`` for libfuse: what the user gave, and ours where they do not say otherwise.

    Read-only or not it is as ``writable`` says, whatever they say.
    """
    names = {word.partition("=")[0] for word in options}
    ours = {"rw" if writable else "ro", "nosuid", "nodev"} - {f"no{name}" for name in names}
    if "allow_other" in names or writable:
        ours.add("default_permissions")  # the process that serves root's mount may read all: others may not
    if "subtype" not in names:
        ours.add("subtype=guestmount-py")
    if "fsname" not in names:
        ours.add(f"fsname={_escaped(source)}")
    return ours | set(options) - {"ro", "rw"}


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
    operations, handlers = ReadOnlyOperations(tree), HotOperations(tree).handlers
    async with _served(operations, handlers, mountpoint, mount_words(options, source)) as nursery:
        yield nursery


@asynccontextmanager
async def fuse_mounted_writable(
    operations: WritingOperations, mountpoint: Path, options: Sequence[str], source: str
) -> AsyncIterator[trio.Nursery]:
    """Own a mount that can be written to; else as ``fuse_mounted``."""
    words = mount_words(options, source, writable=True)
    async with _served(operations, HotWriting(operations).handlers, mountpoint, words) as nursery:
        yield nursery


@asynccontextmanager
async def _served(
    operations: pyfuse3.Operations, handlers: Mapping[int, Handler], mountpoint: Path, words: set[str]
) -> AsyncIterator[trio.Nursery]:
    with (
        _mounted(operations, mountpoint, words) as mounted,
        opened_channel(mounted.descriptor, handlers) as channel,
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_serve, channel.serve, nursery)
            nursery.start_soon(pyfuse3.main, 2, channel.pyfuse3_tasks)
            try:
                yield nursery
            finally:
                mounted.is_aborted = channel.is_aborted


@dataclass
class _Mounted:
    """What pyfuse3 has mounted.

    Attributes:
        descriptor: of ``/dev/fuse``, from which nobody reads yet.
        is_aborted: the kernel gave the connection up, and the mount may still be there.
    """

    descriptor: int
    is_aborted: bool = False


@contextmanager
def _mounted(operations: pyfuse3.Operations, mountpoint: Path, words: set[str]) -> Iterator[_Mounted]:
    """Own a mount of pyfuse3's."""
    before = _fuse_descriptors()
    with _captured_stderr() as captured:
        try:
            pyfuse3.init(operations, str(mountpoint), words)
        except RuntimeError as exc:
            said = captured().strip().replace("\n", "; ") or exc
            raise GuestmountError(f"{mountpoint}: cannot be mounted: {said}") from exc
    mounted = None
    try:
        (descriptor,) = _fuse_descriptors() - before
        mounted = _Mounted(descriptor)
        yield mounted
    finally:
        pyfuse3.close(unmount=True)
        if mounted is not None and mounted.is_aborted:
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


async def _serve(answer: Callable[[], Awaitable[None]], nursery: trio.Nursery) -> None:
    """Answer until there is nothing more to answer, then end all else."""
    await answer()
    nursery.cancel_scope.cancel()
