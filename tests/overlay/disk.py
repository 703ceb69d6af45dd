"""A disk with filesystems, and a way to write to an overlay of it by qemu and the host's kernel. Needs root."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.guests.cache import cached, run
from tests.guests.disk import create_disk, kernel_mount_for_writing, loop_device, mounted
from tests.system.sandbox import SLOW

FILESYSTEMS: Final = ("ext4", "xfs", "btrfs")
_SIZES_MIB: Final = (48, 304, 128)
"""The least that xfs and btrfs take, and a little."""
FILES: Final = 40


def disk() -> Path:
    """Return a qcow2 image: sda1 ext4, sda2 xfs, sda3 btrfs, each with the same small tree."""

    def build(directory: Path) -> None:
        raw = directory / "disk.raw"
        create_disk(raw, _SIZES_MIB)
        for number, kind in enumerate(FILESYSTEMS, start=1):
            with loop_device(raw, number, read_only=False) as device:
                run(f"mkfs.{kind}", "-q", *(() if kind == "ext4" else ("-f",)), device)
            with kernel_mount_for_writing(raw, number) as root:
                _fill(root)
        run("qemu-img", "convert", "-O", "qcow2", raw, directory / "disk.qcow2")

    return cached("overlay", Path(__file__).read_text(), build) / "disk.qcow2"


def _fill(root: Path) -> None:
    for name in ("etc", "usr", "usr/share", "gone", "gone/deep"):
        (root / name).mkdir()
    for number in range(FILES):
        (root / f"usr/share/file-{number:02d}").write_bytes(b"%d\n" % number * 1000)
    for name in ("hostname", "passwd", "touched", "mode", "xattrs", "same", "type", "gone/deep/file"):
        (root / ("etc" if "/" not in name else ".") / name).write_text(f"{name}\n" * 100)
    (root / "etc/link").symlink_to("hostname")
    (root / "etc/name with \n and \\").write_text("odd")


@contextmanager
def exported(overlay: Path, directory: Path) -> Iterator[Path]:
    """Yield a raw disk for what qemu sees of an overlay, which it writes to; its dirty bitmaps record that."""
    raw = directory / "exported"
    raw.touch()
    node = {"driver": "qcow2", "node-name": "overlay", "file": {"driver": "file", "filename": str(overlay)}}
    export = {"type": "fuse", "id": "export", "node-name": "overlay", "mountpoint": str(raw), "writable": True}
    command = ["qemu-storage-daemon", "--blockdev", json.dumps(node), "--export", json.dumps(export)]
    with subprocess.Popen(command) as daemon:
        try:
            while not raw.stat().st_size:
                assert daemon.poll() is None
                time.sleep(0.01)
            yield raw
        finally:
            daemon.terminate()
            assert daemon.wait(60) == 0


@contextmanager
def writing(overlay: Path, number: int, directory: Path) -> Iterator[Path]:
    """Mount a partition of an overlay for writing."""
    with (
        exported(overlay, directory) as raw,
        loop_device(raw, number, read_only=False) as device,
        mounted(device) as root,
    ):
        yield root


def image_info(image: Path) -> dict[str, Any]:
    info: dict[str, Any] = json.loads(run("qemu-img", "info", "-U", "--output=json", image))
    return info


def bitmaps(image: Path) -> dict[str, list[str]]:
    """Return the flags of an image's bitmaps by their names."""
    found = image_info(image)["format-specific"]["data"].get("bitmaps", ())
    return {each["name"]: each["flags"] for each in found}


def dirty(image: Path, bitmap: str) -> set[int]:
    """Return the dirty bytes of a bitmap, in units of 4 KiB, as a backup sees them: over NBD."""
    command: list[str] = [
        *("qemu-img", "map", "--output=json", "--image-opts"),
        f"driver=nbd,server.type=unix,server.path={image}.nbd,export=x,x-dirty-bitmap=qemu:dirty-bitmap:{bitmap}",
    ]
    server = ["qemu-nbd", "-r", "-f", "qcow2", "-x", "x", "-k", f"{image}.nbd", "-B", bitmap, str(image)]
    with subprocess.Popen(server) as process:
        while not Path(f"{image}.nbd").exists():
            assert process.poll() is None
            time.sleep(0.01)
        entries = json.loads(run(*command))
        process.wait(30)
    return {
        at // 4096
        for each in entries
        if not each["data"]
        for at in range(each["start"], each["start"] + each["length"], 4096)
    }


def overlay_program(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return program("overlay_cli", *arguments)


def program(module: str, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run one of our programs. That it takes long is left out of what it says."""
    command = [sys.executable, "-m", f"guestmount_py.{module}", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, errors="surrogateescape")
    done.stderr = SLOW.sub("", done.stderr)
    return done


@contextmanager
def opened(image: Path, *, writable: bool = True) -> Iterator[int]:
    """Have another qemu hold an image open; yields its process."""
    with _held(image, writable=writable) as process:
        yield process.pid
        process.terminate()


def lose_bitmaps(image: Path) -> None:
    """Kill a qemu that has an image open for writing, so that it does not save its bitmaps."""
    with _held(image) as process:
        process.kill()


@contextmanager
def _held(image: Path, *, writable: bool = True) -> Iterator["subprocess.Popen[bytes]"]:
    file = {"driver": "file", "filename": str(image)}
    node = {"driver": "qcow2", "node-name": "image", "file": file, "read-only": not writable}
    socket = image.with_name("socket")
    address = {"type": "unix", "path": str(socket)}
    export = {"type": "vhost-user-blk", "id": "x", "node-name": "image", "writable": writable, "addr": address}
    command = ["qemu-storage-daemon", "--blockdev", json.dumps(node), "--export", json.dumps(export)]
    with subprocess.Popen(command) as process:
        try:
            while not socket.exists():
                assert process.poll() is None
                time.sleep(0.01)
            yield process
        finally:
            process.kill()
            process.wait()
            socket.unlink(missing_ok=True)
