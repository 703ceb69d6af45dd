"""The appliance's root as a directory: packages unpacked, what a disk appliance never runs removed."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import trio

from appliance.packages import Log, PackageCache, PackageList, unpack, wanted
from appliance.process import ProgramFailed, run_program
from rpc.errors import ImageError

_REMOVED: Final = (
    "usr/include",
    *(f"usr/share/{name}" for name in ("bash-completion", "bug", "doc", "i18n", "info", "lintian", "locale", "man")),
)
_CONVERSIONS: Final = "usr/lib/x86_64-linux-gnu/gconv"
_KEPT_CONVERSIONS: Final = frozenset({"gconv-modules", "ISO8859-1.so", "UTF-16.so"})
"""What libhivex converts Windows' names with."""
_KEPT_DRIVERS: Final = frozenset({"block", "cdrom", "char", "dax", "md", "mtd", "nvdimm", "scsi", "virtio"})
_REMOVED_MODULES: Final = ("sound", "net")
_MOUNT_POINTS: Final = ("dev", "proc", "root", "run", "sys", "sysroot", "tmp")
_LVM_CONF: Final = """\
# There is no udev in the appliance: LVM makes its own device nodes and looks at every device. Its root is read-only.
devices { obtain_device_list_from_udev = 0 use_devicesfile = 0 }
activation { udev_sync = 0 udev_rules = 0 monitoring = 0 }
backup { backup = 0 archive = 0 }
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
    try:
        await _run_from(tree, "bin/kmod", "depmod", "-b", tree, modules_directory(tree).name)
    except ProgramFailed as exc:
        raise ImageError(f"cannot index the kernel's modules: {exc}") from exc
    for stdlib in (tree / "usr/lib").glob("python3.*"):
        await compile_python(tree, f"usr/lib/{stdlib.name}")


def _prune(tree: Path) -> None:
    for name in _REMOVED:
        shutil.rmtree(tree / name, ignore_errors=True)
    shutil.rmtree(tree / _CONVERSIONS / "gconv-modules.d", ignore_errors=True)
    for path in (tree / _CONVERSIONS).iterdir():
        if path.name not in _KEPT_CONVERSIONS:
            path.unlink()
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
    for name in ("passwd", "group"):  # base-passwd's installation script would do it
        shutil.copy(tree / f"usr/share/base-passwd/{name}.master", tree / "etc" / name)
    (tree / "etc/nsswitch.conf").write_text("passwd: files\ngroup: files\n")
    (tree / "var/lib/btrfs").symlink_to("/run/btrfs")  # where btrfs keeps the state of a scrub


def modules_directory(tree: Path) -> Path:
    """Return where the kernel's modules are."""
    found = sorted((tree / "lib/modules").iterdir())
    if len(found) != 1:
        raise ImageError(f"{len(found)} kernels in the downloaded packages; exactly one is expected")
    return found[0]


async def compile_python(root: Path, directory: str) -> None:
    """Compile the modules in a directory below ``root`` by root's own Python, whose version is what counts.

    The compiled files are not checked against their sources: the image is read-only, and comparing times would cost a
    stat(2) for every import.

    Raises:
        ImageError: it failed.
    """
    compileall: tuple[str | Path, ...] = ("-s", "-S", "-m", "compileall", "-q", "-s", root, "-p", "/")
    mode = ("--invalidation-mode", "unchecked-hash")
    home = {"PYTHONHOME": str(root / "usr")}
    try:
        await _run_from(root, "usr/bin/python3", "python3", *compileall, *mode, root / directory, environment=home)
    except ProgramFailed as exc:
        raise ImageError(f"cannot compile the Python modules in {root / directory}: {exc}") from exc


async def _run_from(
    root: Path, program: str, name: str, *arguments: str | Path, environment: Mapping[str, str] | None = None
) -> None:
    """Run a program of the tree by the tree's own loader, for the host may have another version of it, or none."""
    libraries = os.pathsep.join(str(root / each) for each in ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"))
    loader = root / "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
    argv = [loader, "--argv0", name, "--library-path", libraries, root / program, *arguments]
    await run_program(argv, environment=environment)
