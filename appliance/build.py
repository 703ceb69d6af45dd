"""Build an appliance: tree, kernel, initrd, root, each into a staging directory that is renamed when it is whole."""

import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import trio

from appliance.cache import RESUMABLE, build_lock, cache_directory, content_key, files_in, make_private, prune, tree_key
from appliance.config import ApplianceFiles
from appliance.initrd import write_initrd
from appliance.kernel import extract_kernel
from appliance.packages import Log, PackageCache, PackageList, package_list
from appliance.root_image import write_root
from appliance.tree import make_tree
from rpc.errors import ImageError

_DISK_FULL: Final = ("No space left", "enough free space", "quota exceeded")
"""How the programs that build say it."""
README_FIXED: Final = f"""\
This is a fixed appliance of guestmount-py: kernel, initrd and root of a small virtual machine.
Set LIBGUESTFS_PATH to this directory to use it. {RESUMABLE}
"""


async def cached_appliance(log: Log) -> ApplianceFiles:
    """Return the appliance of this version from the cache, built first if it is not there.

    Cancellation: what was built so far is removed; finished downloads stay.

    Raises:
        ImageError: the cache cannot be written, a download failed, the disk is full.
    """
    packages = package_list()
    directory = cache_directory()
    make_private(directory)
    target = _target(packages)
    found = files_in(target)
    if found is not None:
        os.utime(target)
        return found
    async with build_lock(directory, log):
        while (found := files_in(target := _target(packages))) is None:  # unless another process has built it meanwhile
            prune(directory, {target.name, f"tree-{tree_key(packages)}"})
            with _disk_errors(directory, "set LIBGUESTFS_CACHEDIR to another directory"):
                tree = await _cached_tree(packages, directory, log)
                await _build(tree, target, lambda: target == _target(packages), log)
    return found


def _target(packages: PackageList) -> Path:
    return cache_directory() / f"appliance-{content_key(packages)}"


async def build_fixed(destination: Path, log: Log) -> None:
    """Write kernel, initrd, root and README.fixed into a directory.

    Raises:
        ImageError: see ``cached_appliance``; or the destination cannot be written.
    """
    files = await cached_appliance(log)
    with _disk_errors(destination, "name another directory"):
        destination.mkdir(parents=True, exist_ok=True)
        for source in (files.kernel, files.initrd, files.root):
            partial = destination / f".{source.name}.{os.getpid()}"
            try:
                await trio.to_thread.run_sync(_copy_sparse, source, partial)
                partial.rename(destination / source.name)  # a running qemu keeps what it has opened
            finally:
                partial.unlink(missing_ok=True)
        (destination / "README.fixed").write_text(README_FIXED)


def _copy_sparse(source: Path, destination: Path) -> None:
    """Copy a file without writing its holes."""
    with source.open("rb") as reader, destination.open("wb") as writer:
        while block := reader.read(1 << 20):
            if block.strip(b"\0"):
                writer.write(block)
            else:
                writer.seek(len(block), os.SEEK_CUR)
        writer.truncate(source.stat().st_size)


async def _cached_tree(packages: PackageList, directory: Path, log: Log) -> Path:
    tree = directory / f"tree-{tree_key(packages)}"
    if tree.is_dir():
        os.utime(tree)
        return tree
    downloads = directory / f"packages-{packages.distribution}"
    async with _staging(directory) as staging:
        await make_tree(packages, PackageCache(downloads, log), staging / "tree", log)
        (staging / "tree").rename(tree)
    shutil.rmtree(downloads, ignore_errors=True)
    return tree


async def _build(tree: Path, target: Path, is_current: Callable[[], bool], log: Log) -> None:
    """Build into ``target``, or nothing if the daemon's sources were edited meanwhile."""
    async with _staging(target.parent) as staging:
        log("building the appliance")
        made = staging / "appliance"
        made.mkdir()
        await trio.to_thread.run_sync(extract_kernel, tree, made / "kernel")
        await trio.to_thread.run_sync(write_initrd, tree, made / "initrd")
        await write_root(tree, staging / "root-tree", made / "root")
        (made / "README.fixed").write_text(README_FIXED)
        if is_current():
            shutil.rmtree(target, ignore_errors=True)
            made.rename(target)
            log(f"the appliance is in {target}")


@asynccontextmanager
async def _staging(directory: Path) -> AsyncIterator[Path]:
    path = directory / f"building-{os.getpid()}"
    path.mkdir(mode=0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _disk_errors(directory: Path, alternative: str) -> Iterator[None]:
    """Turn an OSError into an ImageError that names the directory; say what helps against a full disk."""
    try:
        yield
    except (OSError, ImageError) as exc:
        text = str(exc)
        if isinstance(exc, OSError):
            # copytree's Error is a list of source, destination and reason.
            reason = exc.args[0][0][2] if isinstance(exc, shutil.Error) else exc.strerror
            text = f"cannot build the appliance in {directory}: {reason}"
        if any(words in text for words in _DISK_FULL):
            text += f": make room in {directory}, or {alternative}"
        raise ImageError(text) from exc
