"""The two appliances, ours and libguestfs's, both as fixed ones; and none at all."""

import os
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import trio

from appliance.build import build_fixed
from appliance.cache import cache_directory, tree_key
from appliance.packages import package_list
from tests.guests.cache import cached, run
from tests.interoperability.stage import Stage

OURS: Final = "guestmount-py"
THEIRS: Final = "libguestfs"
SUPERMIN_DIRECTORY: Final = Path("/usr/lib/x86_64-linux-gnu/guestfs/supermin.d")
HYPERVISOR: Final = Path(__file__).with_name("hypervisor.py")


def build_ours(directory: Path) -> None:
    """Write our fixed appliance."""
    trio.run(build_fixed, directory, print)


def unpacked_packages() -> Path:
    """Return what our appliance was built from; it has to be built."""
    return cache_directory() / f"tree-{tree_key(package_list())}"


def their_appliance() -> Path:
    """Return a fixed appliance that supermin built around the kernel of our own.

    The machine's own kernel may be missing or unreadable, and with the same kernel in both, what differs is the
    daemons' doing.
    """
    tree = unpacked_packages()
    (kernel,) = (tree / "boot").glob("vmlinuz-*")
    version = kernel.name.removeprefix("vmlinuz-")

    def build(directory: Path) -> None:
        Path("/lib/modules").mkdir(exist_ok=True)  # supermin looks at it, though it is told of another
        run(
            *("env", f"SUPERMIN_KERNEL={kernel}", f"SUPERMIN_KERNEL_VERSION={version}"),
            f"SUPERMIN_MODULES={tree / 'lib/modules' / version}",
            *("supermin", "--build", "--copy-kernel", "--format", "ext2", "--host-cpu", "x86_64"),
            *(SUPERMIN_DIRECTORY, "-o", directory / "appliance"),
        )
        (directory / "appliance/README.fixed").touch()

    installed = run("dpkg-query", "--show", "libguestfs0", "libguestfs-xfs", "supermin")
    return cached("libguestfs-appliance", f"{installed}{version}", build) / "appliance"


@contextmanager
def open_stage(appliance: Path) -> Iterator[Stage]:
    """Set a stage with a fixed appliance; nothing of it is left at the end."""
    with tempfile.TemporaryDirectory(prefix="guestmount-test-", dir="/var/tmp") as name:
        stage = Stage(Path(name), with_appliance(appliance), unpacked_packages() / "bin/busybox")
        try:
            yield stage
        finally:
            stage.close()


def with_appliance(directory: Path) -> dict[str, str]:
    """Return the variables that make libguestfs, and us, launch a fixed appliance."""
    return {
        "LIBGUESTFS_PATH": os.fspath(directory),
        "LIBGUESTFS_BACKEND": "direct",
        "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg",
    }


def without_machine(sysroot: Path, scratch: Path) -> dict[str, str]:
    """Return the variables that make libguestfs talk to our daemon on this machine.

    Args:
        sysroot: what the guest's root shall be.
        scratch: an existing directory for what has to be there.
    """
    old_style = scratch / "old-style-appliance"
    old_style.mkdir(exist_ok=True)
    for name in ("vmlinuz.x86_64", "initramfs.x86_64.img"):
        (old_style / name).touch()
    hypervisor = scratch / "hypervisor"
    hypervisor.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(HYPERVISOR))} "$@"\n')
    hypervisor.chmod(0o755)
    return {
        "LIBGUESTFS_PATH": os.fspath(old_style),
        "LIBGUESTFS_BACKEND": "direct",
        "LIBGUESTFS_HV": os.fspath(hypervisor),
        "LIBGUESTFS_CACHEDIR": os.fspath(scratch),
        "GUESTFSD_SYSROOT": os.fspath(sysroot),
    }
