"""Images of every format, made and read by qemu's own tools."""

import hashlib
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

MIB: Final = 1 << 20
DISK_BYTES: Final = 6 * MIB


def qemu_img(*arguments: str | Path) -> None:
    subprocess.run(["qemu-img", *arguments], check=True, capture_output=True)


def qemu_io(image: Path, kind: str, *commands: str) -> None:
    words = [word for command in commands for word in ("-c", command)]
    done = subprocess.run(["qemu-io", "-f", kind, *words, image], check=True, capture_output=True, text=True)
    assert "failed" not in done.stdout + done.stderr


def as_raw(image: Path, kind: str) -> bytes:
    """Return all bytes of a disk, as ``qemu-img convert`` has them."""
    raw = image.with_name(f"{image.name}.reference")
    qemu_img("convert", "-f", kind, "-O", "raw", image, raw)
    return raw.read_bytes()


def raw_disk(path: Path) -> Path:
    """A disk with bytes that compress and others that do not, holes, and odd ends of both."""
    with path.open("wb") as file:
        file.truncate(DISK_BYTES)
        for offset in (0, MIB + 4096 + 512, 3 * MIB - 1024, 5 * MIB):
            file.seek(offset)
            file.write(os.urandom(200 * 1024 + 512))
            file.write(b"the same again " * 5000)
    return path


def _converted(*options: str, kind: str = "qcow2") -> Callable[[Path], Path]:
    def make(directory: Path) -> Path:
        image = directory / f"{hashlib.sha256(repr((kind, options)).encode()).hexdigest()[:12]}.{kind}"
        qemu_img("convert", "-O", kind, *options, raw_disk(image.with_suffix(".raw")), image)
        return image

    return make


def _preallocated(directory: Path) -> Path:
    """Clusters that have their place in the file, and were never written, or written as zeros."""
    image = directory / "preallocated.qcow2"
    qemu_img("create", "-f", "qcow2", "-o", "preallocation=metadata", image, str(DISK_BYTES))
    qemu_io(image, "qcow2", "write -P 1 100k 300k", "write -z 150k 100k", "write -z 2M 1M", "discard 200k 64k")
    return image


def _partly_compressed(directory: Path) -> Path:
    image = _converted("-c")(directory)
    qemu_io(image, "qcow2", "write -P 3 512 70k", "write -P 4 1M 1M", "write -z 5M 100k")
    return image


def _chain(directory: Path) -> Path:
    """Three layers, each longer than the one below, the lowest no whole number of clusters or sectors."""
    base, middle, top = (directory / name for name in ("chain, base.raw", "chain-middle.qcow2", "chain-top.qcow2"))
    base.write_bytes(os.urandom(MIB + 700))
    qemu_img("create", "-f", "qcow2", "-b", base, "-F", "raw", "-o", "cluster_size=4k", middle, str(3 * MIB))
    qemu_io(middle, "qcow2", "write -P 5 10k 9k", f"write -P 6 {MIB} 20k", "write -z 300k 100k")
    qemu_img("create", "-f", "qcow2", "-b", middle.name, "-F", "qcow2", top, str(DISK_BYTES))
    qemu_io(top, "qcow2", "write -P 7 500k 1k", "write -P 8 4M 1M", "write -z 64k 64k")
    return top


def _short_raw(directory: Path) -> Path:
    """A file that is no whole number of sectors."""
    image = directory / "short.raw"
    image.write_bytes(os.urandom(MIB + 300))
    return image


def _external(directory: Path) -> Path:
    image = directory / "external.qcow2"
    data = directory / "external.data"
    disk = raw_disk(directory / "external.raw")
    qemu_img("convert", "-O", "qcow2", "-o", f"data_file={data},data_file_raw=off", disk, image)
    return image


def _odd_base(directory: Path) -> Path:
    """A chain whose lowest layer is of a format that is not read directly."""
    base, top = _converted(kind="vmdk")(directory), directory / "over-vmdk.qcow2"
    qemu_img("create", "-f", "qcow2", "-b", base, "-F", "vmdk", top)
    return top


IMAGES: Final[dict[str, tuple[Callable[[Path], Path], str, str]]] = {
    "raw": (lambda directory: raw_disk(directory / "plain.img"), "raw", "raw"),
    "raw-short": (_short_raw, "raw", "raw"),
    "qcow2": (_converted(), "qcow2", "qcow2"),
    "qcow2-old": (_converted("-o", "compat=0.10"), "qcow2", "qcow2"),
    "qcow2-512": (_converted("-o", "cluster_size=512"), "qcow2", "qcow2"),
    "qcow2-2M": (_converted("-o", "cluster_size=2M"), "qcow2", "qcow2"),
    "qcow2-subclusters": (_converted("-o", "extended_l2=on"), "qcow2", "qcow2"),
    "qcow2-full": (_converted("-o", "preallocation=full"), "qcow2", "qcow2"),
    "qcow2-preallocated": (_preallocated, "qcow2", "qcow2"),
    "qcow2-compressed": (_converted("-c"), "qcow2", "qcow2"),
    "qcow2-zstd": (_converted("-c", "-o", "compression_type=zstd"), "qcow2", "qcow2"),
    "qcow2-partly": (_partly_compressed, "qcow2", "qcow2"),
    "qcow2-chain": (_chain, "qcow2", "qcow2"),
    "qcow2-external": (_external, "qcow2", "export"),
    "qcow2-over-vmdk": (_odd_base, "qcow2", "export"),
    "vmdk": (_converted(kind="vmdk"), "vmdk", "export"),
    "vmdk-flat": (_converted("-o", "subformat=monolithicFlat", kind="vmdk"), "vmdk", "export"),
    "vmdk-stream": (_converted("-o", "subformat=streamOptimized", kind="vmdk"), "vmdk", "export"),
    "vdi": (_converted(kind="vdi"), "vdi", "export"),
    "vhdx": (_converted(kind="vhdx"), "vhdx", "export"),
    "vpc": (_converted("-o", "force_size", kind="vpc"), "vpc", "export"),
}
"""How each is made, in a directory of its own; its format; the plane that reads it while nobody writes."""


@contextmanager
def opened_for_writing(image: Path, kind: str, *, read_only: bool = False) -> Iterator[None]:
    """Have another qemu program hold an image open for writing, or for reading only."""
    mode = ["-r"] if read_only else []
    process = subprocess.Popen(
        ["qemu-io", *mode, "-f", kind, image],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(b"length\n")
        process.stdin.flush()
        assert process.stdout.readline()  # it has opened the image
        yield
    finally:
        process.communicate(b"quit\n", timeout=60)
    assert process.returncode == 0
