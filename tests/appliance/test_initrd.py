import lzma
from pathlib import Path

import pytest

from appliance.initrd import SCRIPT, load_order, write_initrd
from appliance.kernel import extract_kernel
from appliance.tree import modules_directory
from rpc.errors import ImageError


def _module(directory: Path, name: str, *needs: str) -> Path:
    path = directory / f"{name}.ko"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x7fELF\0license=GPL\0depends=%s\0name=x\0" % ",".join(needs).encode())
    return path


def _tree(tmp_path: Path) -> Path:
    """A tree with the modules that the initrd needs, and a busybox."""
    tree = tmp_path / "tree"
    modules = tree / "lib/modules/6.1.0/kernel"
    _module(modules, "virtio_pci", "virtio", "virtio-ring")
    _module(modules, "virtio_ring")
    _module(modules, "virtio", "virtio_ring")
    _module(modules, "ext4", "jbd2")
    for name in ("jbd2", "virtio_blk", "crc32c_generic", "sd_mod", "virtio_scsi", "virtio_console"):
        _module(modules, name)
    (tree / "bin").mkdir()
    (tree / "bin/busybox").write_bytes(b"#!busybox")
    (tree / "boot").mkdir()
    return tree


def test_modules_come_after_what_they_need(tmp_path: Path) -> None:
    available = {path.stem.replace("-", "_"): path for path in modules_directory(_tree(tmp_path)).rglob("*.ko")}
    assert load_order(("virtio_pci", "ext4"), available) == ["virtio_ring", "virtio", "virtio_pci", "jbd2", "ext4"]


def test_missing_module_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no module jbd2"):
        load_order(("ext4",), {"ext4": _module(tmp_path, "ext4", "jbd2")})


def test_initrd_is_a_newc_archive_of_busybox_script_and_modules(tmp_path: Path) -> None:
    tree = _tree(tmp_path)
    write_initrd(tree, tmp_path / "initrd")
    entries = _newc_entries((tmp_path / "initrd").read_bytes())
    assert entries["bin/busybox"] == (0o100755, b"#!busybox")
    assert entries["init"] == (0o100755, SCRIPT.read_bytes())
    assert entries["dev"] == (0o040755, b"")
    listed = entries["modules/order"][1].decode().split()
    assert [f"modules/{name}" for name in listed] == [name for name in entries if name.endswith(".ko")]
    assert listed[:3] == ["virtio_ring.ko", "virtio.ko", "virtio_pci.ko"]


def _newc_entries(data: bytes) -> dict[str, tuple[int, bytes]]:
    """Read an archive as the kernel does (init/initramfs.c): name to mode and content."""
    entries: dict[str, tuple[int, bytes]] = {}
    position = 0
    while True:
        assert data[position : position + 6] == b"070701"
        fields = [int(data[position + at : position + at + 8], 16) for at in range(6, 110, 8)]
        name_end = position + 110 + fields[11]
        name = data[position + 110 : name_end - 1].decode()
        begin = (name_end + 3) & ~3
        if name == "TRAILER!!!":
            return entries
        entries[name] = (fields[1], data[begin : begin + fields[6]])
        position = (begin + fields[6] + 3) & ~3


def test_kernel_is_taken_out_of_its_image(tmp_path: Path) -> None:
    tree = _tree(tmp_path)
    elf = b"\x7fELF" + b"kernel" * 1000
    decoy = lzma.compress(b"not the kernel", check=lzma.CHECK_CRC32)
    image = b"MZ setup \xfd7zXZ\0 broken " + decoy + lzma.compress(elf, check=lzma.CHECK_CRC32) + b"tail"
    (tree / "boot/vmlinuz-6.1.0").write_bytes(image)
    extract_kernel(tree, tmp_path / "kernel")
    assert (tmp_path / "kernel").read_bytes() == elf


def test_kernel_packed_in_another_way_is_copied(tmp_path: Path) -> None:
    tree = _tree(tmp_path)
    (tree / "boot/vmlinuz-6.1.0").write_bytes(b"MZ something else")
    extract_kernel(tree, tmp_path / "kernel")
    assert (tmp_path / "kernel").read_bytes() == b"MZ something else"


@pytest.mark.parametrize("names", [[], ["vmlinuz-6.1.0", "vmlinuz-6.2.0"]])
def test_other_than_one_kernel_is_refused(tmp_path: Path, names: list[str]) -> None:
    tree = _tree(tmp_path)
    for name in names:
        (tree / "boot" / name).touch()
    with pytest.raises(ImageError, match=f"^{len(names)} kernel images"):
        extract_kernel(tree, tmp_path / "kernel")
