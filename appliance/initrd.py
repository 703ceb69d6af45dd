"""The initial RAM disk: busybox, the modules that lead to the root, and the script that loads them."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from appliance.tree import modules_directory
from rpc.errors import ImageError

SCRIPT: Final = Path(__file__).with_name("initrd-init")
_MODULES: Final = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4", "sd_mod", "virtio_scsi", "virtio_console")
_DIRECTORIES: Final = ("bin", "dev", "proc", "root", "modules")


def write_initrd(tree: Path, initrd: Path) -> None:
    """Write the initrd, uncompressed, because unpacking costs more than reading."""
    available = {path.stem.replace("-", "_"): path for path in modules_directory(tree).rglob("*.ko")}
    order = load_order(_MODULES, available)
    with initrd.open("wb") as file:
        for name in _DIRECTORIES:
            file.write(_cpio_entry(name, stat.S_IFDIR | 0o755, b""))
        file.write(_cpio_entry("init", stat.S_IFREG | 0o755, SCRIPT.read_bytes()))
        file.write(_cpio_entry("bin/busybox", stat.S_IFREG | 0o755, (tree / "bin/busybox").read_bytes()))
        listing = "".join(f"{name}.ko\n" for name in order)
        file.write(_cpio_entry("modules/order", stat.S_IFREG | 0o644, listing.encode()))
        for name in order:
            file.write(_cpio_entry(f"modules/{name}.ko", stat.S_IFREG | 0o644, available[name].read_bytes()))
        file.write(_cpio_entry("TRAILER!!!", 0, b""))


def load_order(wanted: tuple[str, ...], available: dict[str, Path]) -> list[str]:
    """Return the modules and all they need, each after what it needs.

    Raises:
        ImageError: the kernel lacks one.
    """
    order: list[str] = []

    def add(name: str) -> None:
        if name in order:
            return
        if name not in available:
            raise ImageError(f"the distribution's kernel has no module {name}")
        for needed in _needs(available[name]):
            add(needed)
        order.append(name)

    for name in wanted:
        add(name)
    return order


def _needs(module: Path) -> Iterator[str]:
    """Yield the modules that a module's ``.modinfo`` section says it depends on."""
    data = module.read_bytes()
    begin = data.find(b"\0depends=") + len(b"\0depends=")
    names = data[begin : data.index(b"\0", begin)].decode() if begin >= len(b"\0depends=") else ""
    return (name.replace("-", "_") for name in names.split(",") if name)


def _cpio_entry(name: str, mode: int, data: bytes) -> bytes:
    """Return one entry of a "newc" archive (kernel: Documentation/driver-api/early-userspace/buffer-format.rst)."""
    encoded = os.fsencode(name) + b"\0"
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)
