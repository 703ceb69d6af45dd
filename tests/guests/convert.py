"""The image formats virtual machines come in, all made from one raw image with qemu-img."""

import os
from pathlib import Path
from typing import Final

from tests.guests.cache import run

# How each format is asked for, `qemu-img convert` arguments.
_CONVERSIONS: Final = {
    "qcow2": ("-c", "-O", "qcow2"),
    "vmdk": ("-O", "vmdk"),
    "vdi": ("-O", "vdi"),
    "vhdx": ("-O", "vhdx"),
}

FORMATS: Final = ("raw", *_CONVERSIONS, "qcow2-backed")

# Every other stretch of this size is missing from the backing file and found in the overlay only.
_STRIPE_BYTES: Final = 16 << 20


def convert(raw: Path, image_format: str, directory: Path) -> Path:
    """Give a raw image in another format.

    Args:
        raw: the image to convert; returned as it is when the format is raw.
        image_format: one of ``FORMATS``. ``qcow2`` has compressed clusters; ``qcow2-backed`` is an overlay that only
            together with its backing file, a raw one beside it, gives the whole.
        directory: where to put the result.

    Returns:
        The image; for ``qcow2-backed`` the overlay.
    """
    if image_format == "raw":
        return raw
    if image_format == "qcow2-backed":
        return _overlay(raw, directory)
    image = directory / f"{raw.stem}.{image_format}"
    run("qemu-img", "convert", "-f", "raw", *_CONVERSIONS[image_format], raw, image)
    return image


def _overlay(raw: Path, directory: Path) -> Path:
    base = directory / f"{raw.stem}-base.img"
    run("cp", "--sparse=always", raw, base)
    for offset in range(0, raw.stat().st_size, 2 * _STRIPE_BYTES):
        run("fallocate", "--punch-hole", f"--offset={offset}", f"--length={_STRIPE_BYTES}", base)
    overlay = directory / f"{raw.stem}-overlay.qcow2"
    # With -B, convert writes only the clusters that differ from the backing file.
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-B", os.fspath(base), "-F", "raw", raw, overlay)
    return overlay
