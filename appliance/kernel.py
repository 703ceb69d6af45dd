"""The kernel, taken out of its self-extracting image: under emulation, unpacking itself costs it three seconds."""

import lzma
from pathlib import Path
from typing import Final

from rpc.errors import ImageError

_XZ_MAGIC: Final = b"\xfd7zXZ\0"
_ELF_MAGIC: Final = b"\x7fELF"


def extract_kernel(tree: Path, kernel: Path) -> None:
    """Write the ELF kernel of the tree's ``boot/vmlinuz-*``, or a copy of that if it holds no xz-packed ELF.

    qemu starts an ELF kernel through its PVH entry point.
    """
    images = sorted((tree / "boot").glob("vmlinuz-*"))
    if len(images) != 1:
        raise ImageError(f"{len(images)} kernel images in the downloaded packages; exactly one is expected")
    image = images[0].read_bytes()
    kernel.write_bytes(_payload(image) or image)


def _payload(image: bytes) -> bytes | None:
    position = image.find(_XZ_MAGIC)
    while position >= 0:
        try:
            payload = lzma.LZMADecompressor().decompress(image[position:])
        except lzma.LZMAError:
            payload = b""
        if payload.startswith(_ELF_MAGIC):
            return payload
        position = image.find(_XZ_MAGIC, position + 1)
    return None
