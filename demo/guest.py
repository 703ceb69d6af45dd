"""A guest disk made by an ordinary user: Debian packages, a partition table, and what no ordinary directory holds."""

import json
import os
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.cache import cache_directory, make_private
from appliance.packages import PackageCache, unpack
from demo.progress import DemoFailed, run, say

PACKAGES: Final = ("base-files", "base-passwd", "bash", "coreutils", "grep", "iputils-ping", "login", "sed", "tzdata")
BOOT_MIB: Final = 64
ROOT_MIB: Final = 1024
SECTOR_BYTES: Final = 512

ODD_NAME: Final = b"caf\xe9 \xff\xfe.txt"
LONG_TARGET: Final = "over-the-hills/" * 20 + "far-away"
HARD_LINKS: Final = 5
SPARSE_BYTES: Final = 64 << 20
LARGE_BYTES: Final = (4 << 30) + (1 << 20)
LARGE_HEAD: Final = b"these are the first bytes\n"
LARGE_TAIL: Final = b"and these are beyond 4 GiB\n"
USER_XATTR: Final = b"\x00any\xffbytes"
TRUSTED_XATTR: Final = b"seen by root only"
MODIFIED_NS: Final = 1_700_000_000_123_456_789

# struct vfs_cap_data, revision 2 (linux/capability.h): cap_net_raw+ep.
CAPABILITY: Final = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Device:
    """A device node of the guest."""

    kind: str
    major: int
    minor: int
    mode: int


DEVICES: Final = {
    "null": Device("c", 1, 3, 0o20666),
    "tty1": Device("c", 4, 1, 0o20620),
    "sda": Device("b", 8, 0, 0o60660),
    "nvme0n1": Device("b", 259, 0, 0o60660),
}


async def build_disk(directory: Path, kernel: Path) -> None:
    """Build the guest's disk as ``disk.qcow2``, compressed; sda1 is /boot, sda2 is /.

    Args:
        directory: an empty directory for everything that is made on the way.
        kernel: a kernel for the guest's /boot.
    """
    root = directory / "root"
    root.mkdir()
    await _unpack_debian(root)
    _add_what_a_directory_holds(root)
    boot = root / "boot"
    shutil.copy(kernel, boot / "vmlinuz")
    (boot / "grub").mkdir()
    (boot / "grub/grub.cfg").write_text("menuentry 'Demo' { linux /vmlinuz root=/dev/sda2 }\n")
    boot = boot.rename(directory / "boot")
    (root / "boot").mkdir()

    image = directory / "disk.img"
    say("writing the partition table and two ext4 filesystems")
    with image.open("wb") as file:
        file.truncate((BOOT_MIB + ROOT_MIB + 2) << 20)
    run("sfdisk", "--quiet", image, stdin=f"label: gpt\nsize={BOOT_MIB}MiB, type=L\nsize={ROOT_MIB}MiB, type=L\n")
    table = json.loads(run("sfdisk", "--json", image))["partitiontable"]["partitions"]
    boot_bytes, root_bytes = (row["start"] * SECTOR_BYTES for row in table)
    _make_ext4(image, boot_bytes, BOOT_MIB, "demo-boot", boot)
    _make_ext4(image, root_bytes, ROOT_MIB, "demo-root", root)
    _add_what_needs_root(image, root_bytes, directory)

    say("converting to qcow2 with compressed clusters")
    run("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", image, directory / "disk.qcow2")
    image.unlink()


async def _unpack_debian(root: Path) -> None:
    downloads = cache_directory() / "demo-packages"
    make_private(cache_directory())
    archives = await PackageCache(downloads, say).download(PACKAGES)
    say(f"unpacking {len(archives)} Debian packages")
    for archive in archives:
        await unpack(archive, root)


def _add_what_a_directory_holds(root: Path) -> None:
    home = root / "home/demo"
    home.mkdir(parents=True)
    (home / os.fsdecode(ODD_NAME)).write_bytes(b"a name that is not UTF-8\n")
    (home / "long-link").symlink_to(LONG_TARGET)
    (home / "dangling").symlink_to("/no/such/file")
    first = home / "hard-0"
    first.write_text("one file, five names\n")
    for count in range(1, HARD_LINKS):
        (home / f"hard-{count}").hardlink_to(first)
    with (home / "sparse").open("wb") as file:
        file.write(b"start")
        file.truncate(SPARSE_BYTES)
    with (home / "large").open("wb") as file:
        file.write(LARGE_HEAD)
        file.seek(LARGE_BYTES - len(LARGE_TAIL))
        file.write(LARGE_TAIL)
    (home / "attributes").write_text("see my extended attributes\n")


def _make_ext4(image: Path, offset_bytes: int, size_mib: int, label: str, contents: Path) -> None:
    # In a user namespace of its own mke2fs sees the files as root's, which is what they are in the guest.
    as_root = ("unshare", "--map-root-user") if _may_map_root() else ()
    run(
        *as_root,
        *("mke2fs", "-q", "-F", "-t", "ext4", "-L", label, "-E", f"offset={offset_bytes},root_owner=0:0"),
        *("-d", contents, image, f"{size_mib}M"),
    )


def _may_map_root() -> bool:
    return subprocess.run(["unshare", "--map-root-user", "true"], capture_output=True).returncode == 0


def _add_what_needs_root(image: Path, offset_bytes: int, scratch: Path) -> None:
    """Edit the filesystem in its image: device nodes, attributes outside ``user.``, times finer than a second."""
    file = "/home/demo/attributes"
    values = {
        f"{file} user.demo": USER_XATTR,
        f"{file} trusted.demo": TRUSTED_XATTR,
        "/bin/ping security.capability": CAPABILITY,
    }
    commands = ["mkdir /dev" if not (scratch / "root/dev").exists() else "", "cd /dev"]
    for name, device in DEVICES.items():
        commands.append(f"mknod {name} {device.kind} {device.major} {device.minor}")
        commands.append(f"sif {name} mode 0{device.mode:o}")
    commands += ["mknod pipe p", "sif pipe mode 010600"]
    for number, (target, value) in enumerate(values.items()):
        value_file = scratch / f"value-{number}"
        value_file.write_bytes(value)
        commands.append(f"ea_set -f {value_file} {target}")
    seconds, nanoseconds = divmod(MODIFIED_NS, 1_000_000_000)
    # The low two bits of the extra word are the epoch (kernel: fs/ext4/ext4.h, EXT4_EPOCH_BITS).
    commands += [f"sif {file} mtime @{seconds}", f"sif {file} mtime_extra {nanoseconds << 2}"]
    script = scratch / "debugfs-commands"
    script.write_text("\n".join(filter(None, commands)) + "\n")
    _debugfs(script, image, offset_bytes)


def _debugfs(script: Path, image: Path, offset_bytes: int) -> None:
    output = run("debugfs", "-w", "-f", script, f"{image}?offset={offset_bytes}")
    # debugfs ends with status 0 whatever happens; it repeats each command, and says more only if one failed.
    said = [line for line in output.splitlines() if line and not line.startswith(("debugfs", "Allocated inode"))]
    if said:
        raise DemoFailed(f"debugfs: {'; '.join(said)}")
