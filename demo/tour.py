"""A look round the mounted guest, each thing checked against what was built."""

import filecmp
import os
import stat
from pathlib import Path

from demo import guest
from demo.progress import check, heading, say, show


def look_round(root: Path, kernel: Path) -> None:
    """Show and check what is in the guest.

    Args:
        root: where it is mounted.
        kernel: what its /boot/vmlinuz is a copy of.

    Raises:
        DemoFailed: something differs from what was built.
    """
    home = root / "home/demo"
    heading("What is inside")
    show("ls", "-la", root)
    show("ls", "-lab", home)
    show("cat", root / "etc/debian_version")
    show("sh", "-c", f"find {root} -printf 'type %y\\n' | sort | uniq -c")
    show("df", "-h", root)

    heading("Devices, links, attributes, names")
    for name, device in guest.DEVICES.items():
        found = (root / "dev" / name).lstat()
        check(
            f"/dev/{name}",
            f"{stat.filemode(found.st_mode)} {os.major(found.st_rdev)}, {os.minor(found.st_rdev)}",
            f"{stat.filemode(device.mode)} {device.major}, {device.minor}",
        )
    check("/dev/pipe is a pipe", stat.S_ISFIFO((root / "dev/pipe").lstat().st_mode), True)
    names = [home / f"hard-{count}" for count in range(guest.HARD_LINKS)]
    check("inodes of five hard links", len({name.lstat().st_ino for name in names}), 1)
    check("their link count", names[0].lstat().st_nlink, guest.HARD_LINKS)
    check("length of a symlink's target", len((home / "long-link").readlink().as_posix()), len(guest.LONG_TARGET))
    check("the name that is not UTF-8", (home / os.fsdecode(guest.ODD_NAME)) in home.iterdir(), True)
    _attributes(root, home / "attributes")

    heading("A sparse file, and one beyond 4 GiB")
    show("ls", "-ls", home / "sparse", home / "large")
    _large(home / "large")
    sparse = (home / "sparse").stat()
    check("size of the sparse file", sparse.st_size, guest.SPARSE_BYTES)
    check("it takes less than 64 KiB", sparse.st_blocks * 512 < 1 << 16, True)

    heading("The boot partition")
    show("ls", "-lR", root / "boot")
    check("the kernel is what was put there", filecmp.cmp(root / "boot/vmlinuz", kernel, shallow=False), True)


def _attributes(root: Path, file: Path) -> None:
    check("user.demo", os.getxattr(file, "user.demo"), guest.USER_XATTR)
    check("the capability of ping", os.getxattr(root / "bin/ping", "security.capability"), guest.CAPABILITY)
    if os.geteuid() == 0:
        check("trusted.demo", os.getxattr(file, "trusted.demo"), guest.TRUSTED_XATTR)
    check("modification time in nanoseconds", file.stat().st_mtime_ns, guest.MODIFIED_NS)


def _large(file: Path) -> None:
    check("its size", file.stat().st_size, guest.LARGE_BYTES)
    with file.open("rb") as opened:
        check("its head", opened.read(len(guest.LARGE_HEAD)), guest.LARGE_HEAD)
        opened.seek(-len(guest.LARGE_TAIL), os.SEEK_END)
        check("its tail", opened.read(), guest.LARGE_TAIL)


def copy_out(root: Path, destination: Path) -> None:
    """Copy a tree out with rsync, and let rsync compare every byte of it.

    Raises:
        DemoFailed: a difference was found.
    """
    heading("Copy a tree out")
    copied = ["usr", "etc", "home"]
    sources = [f"{root}/./{name}" for name in copied]
    show("rsync", "-aHAXSR", "--exclude=/home/demo/large", *sources, f"{destination}/")
    compared = show(
        *("rsync", "-aHAXnR", "--checksum", "--delete", "--itemize-changes", "--exclude=/home/demo/large"),
        *sources,
        f"{destination}/",
    )
    check("differences", compared, "")
    files = sum(len(names) for _, _, names in os.walk(destination))
    say(f"{files} files copied, every byte compared")
