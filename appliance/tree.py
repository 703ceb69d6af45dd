"""The appliance's root as a directory: packages unpacked, what a disk appliance never runs removed."""

import os
import shutil
from pathlib import Path
from typing import Final

import trio

from appliance.packages import Log, PackageCache, PackageList, unpack, wanted
from appliance.process import ProgramFailed, run_program
from rpc.errors import ImageError

_REMOVED: Final = (
    "usr/include",
    "usr/lib/x86_64-linux-gnu/gconv",
    *(f"usr/share/{name}" for name in ("bash-completion", "bug", "doc", "i18n", "info", "lintian", "locale", "man")),
)
_KEPT_DRIVERS: Final = frozenset({"block", "cdrom", "char", "dax", "md", "mtd", "nvdimm", "scsi", "virtio"})
_REMOVED_MODULES: Final = ("sound", "net")
_MOUNT_POINTS: Final = ("dev", "proc", "root", "run", "sys", "sysroot", "tmp")
_LVM_CONF: Final = """\
# There is no udev in the appliance: LVM makes its own device nodes and looks at every device.
devices { obtain_device_list_from_udev = 0 use_devicesfile = 0 }
activation { udev_sync = 0 udev_rules = 0 }
global { locking_type = 1 }
"""


async def make_tree(packages: PackageList, cache: PackageCache, tree: Path, log: Log) -> None:
    """Download and unpack everything into ``tree``, which must not exist.

    Raises:
        ImageError: a download or an archive failed, or there is no space.
    """
    archives = wanted(await cache.download(packages.packages), packages.leave_out)
    log(f"unpacking {len(archives)} packages")
    tree.mkdir()
    for archive in archives:
        await unpack(archive, tree)
    await trio.to_thread.run_sync(_prune, tree)
    await _index_modules(tree)


def _prune(tree: Path) -> None:
    for name in _REMOVED:
        shutil.rmtree(tree / name, ignore_errors=True)
    kernel = modules_directory(tree) / "kernel"
    for name in _REMOVED_MODULES:
        shutil.rmtree(kernel / name, ignore_errors=True)
    for drivers in (kernel / "drivers").iterdir():
        if drivers.name not in _KEPT_DRIVERS:
            shutil.rmtree(drivers)
    for name in _MOUNT_POINTS:
        (tree / name).mkdir(exist_ok=True)
    (tree / "etc/lvm").mkdir(parents=True, exist_ok=True)
    (tree / "etc/lvm/lvm.conf").write_text(_LVM_CONF)
    (tree / "etc/mtab").symlink_to("/proc/self/mounts")


def modules_directory(tree: Path) -> Path:
    """Return where the kernel's modules are."""
    found = sorted((tree / "lib/modules").iterdir())
    if len(found) != 1:
        raise ImageError(f"{len(found)} kernels in the downloaded packages; exactly one is expected")
    return found[0]


async def _index_modules(tree: Path) -> None:
    """Run the tree's own depmod by the tree's own loader, for the host may have neither."""
    libraries = os.pathsep.join(str(tree / name) for name in ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"))
    loader: list[str | Path] = [tree / "lib64/ld-linux-x86-64.so.2", "--argv0", "depmod", "--library-path", libraries]
    try:
        await run_program([*loader, tree / "bin/kmod", "-b", tree, modules_directory(tree).name])
    except ProgramFailed as exc:
        raise ImageError(f"cannot index the kernel's modules: {exc}") from exc
