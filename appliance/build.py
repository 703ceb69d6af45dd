"""Build an appliance: tree, kernel, initrd, root, each into a staging directory that is renamed when it is whole."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from appliance.cache import build_lock, cache_directory, content_key, files_in, make_private, prune, tree_key
from appliance.config import ApplianceFiles
from appliance.initrd import write_initrd
from appliance.kernel import extract_kernel
from appliance.packages import Log, PackageCache, PackageList, package_list
from appliance.root_image import write_root
from appliance.tree import make_tree
from rpc.errors import ImageError

README_FIXED: Final = """\
This is a fixed appliance of guestmount-py: kernel, initrd and root of a small virtual machine.
Set LIBGUESTFS_PATH to this directory to use it.
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
    name = f"appliance-{content_key(packages)}"
    found = files_in(directory / name)
    if found is not None:
        os.utime(directory / name)
        return found
    async with build_lock(directory, log):
        found = files_in(directory / name)  # another process may have built it meanwhile
        if found is None:
            prune(directory, {name})
            with _disk_errors(directory):
                tree = await _cached_tree(packages, directory, log)
                await _build(tree, directory / name, directory, log)
            found = files_in(directory / name)
    if found is None:
        raise ImageError(f"the appliance in {directory / name} is not complete: remove it and try again")
    return found


async def build_fixed(destination: Path, log: Log) -> None:
    """Write kernel, initrd, root and README.fixed into a directory.

    Raises:
        ImageError: see ``cached_appliance``; or the destination cannot be written.
    """
    files = await cached_appliance(log)
    with _disk_errors(destination):
        destination.mkdir(parents=True, exist_ok=True)
        for source in (files.kernel, files.initrd, files.root):
            await trio.to_thread.run_sync(_copy_sparse, source, destination / source.name)
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


async def _build(tree: Path, target: Path, directory: Path, log: Log) -> None:
    log("building the appliance")
    async with _staging(directory) as staging:
        made = staging / "appliance"
        made.mkdir()
        await trio.to_thread.run_sync(extract_kernel, tree, made / "kernel")
        await trio.to_thread.run_sync(write_initrd, tree, made / "initrd")
        await write_root(tree, staging / "root-tree", made / "root")
        (made / "README.fixed").write_text(README_FIXED)
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


class _disk_errors:
    """Turn an OSError of the body into an ImageError that names the directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __enter__(self) -> None:
        """Begin the body."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Translate."""
        if isinstance(error, OSError):
            raise ImageError(
                f"cannot build the appliance in {self._directory}: {error.strerror or error}: "
                "make room, or set LIBGUESTFS_CACHEDIR to another directory"
            ) from error
