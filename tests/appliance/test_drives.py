import json
import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from appliance.config import Drive
from appliance.drives import CheckedDrive, check_drive, make_overlay
from appliance.image_state import image_state
from rpc.errors import DriveError

MIB: Final = 1 << 20


def qemu_img(*arguments: str | Path) -> str:
    return subprocess.run(["qemu-img", *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A raw disk of 4 MiB, full of bytes that do not compress away."""
    path = tmp_path / "disk.img"
    path.write_bytes(os.urandom(4 * MIB))
    return path


def _converted(disk: Path, kind: str, *options: str) -> Path:
    image = disk.with_name(f"image.{kind}")
    qemu_img("convert", "-O", kind, *options, disk, image)
    return image


async def _refusal(path: Path, kind: str | None = None) -> str:
    with pytest.raises(DriveError) as caught:
        await check_drive(Drive(path=path, format=kind))
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text


@pytest.mark.parametrize("kind", ["raw", "qcow2", "vmdk", "vdi", "vhdx", "vpc"])
async def test_format_is_found_out(disk: Path, kind: str) -> None:
    image = _converted(disk, kind)
    checked = await check_drive(Drive(path=image))
    assert (checked.format, checked.may_chain) == (kind, False)
    assert checked.size_bytes >= 4 * MIB


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("qcow2", ["-c"]),
        ("qcow2", ["-o", "compat=0.10"]),
        ("qcow2", ["-o", "cluster_size=512"]),
        ("qcow2", ["-o", "refcount_bits=1"]),
        ("qcow2", ["-o", "preallocation=full"]),
        ("vmdk", ["-o", "subformat=streamOptimized"]),
        ("vpc", ["-o", "subformat=fixed,force_size"]),
        ("vdi", ["-o", "static=on"]),
    ],
)
async def test_variant_of_a_format_is_accepted(disk: Path, kind: str, options: list[str]) -> None:
    checked = await check_drive(Drive(path=_converted(disk, kind, *options)))
    assert (checked.format, checked.size_bytes) == (kind, 4 * MIB)


@pytest.mark.parametrize(
    "name", ["a:b.img", 'json:{"driver":"null-co"}', "nbd:localhost:1", "a,b=c.img", "fat:x", "-x"]
)
async def test_name_that_looks_like_a_protocol_is_a_plain_file(disk: Path, name: str) -> None:
    path = disk.rename(disk.with_name(name))
    checked = await check_drive(Drive(path=path))
    assert (checked.format, checked.size_bytes) == ("raw", 4 * MIB)


async def test_relative_name_is_made_absolute(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(disk.parent)
    assert (await check_drive(Drive(path=Path(disk.name)))).path == disk


# Not an image


async def test_missing_image_is_refused(tmp_path: Path) -> None:
    assert "no such image" in await _refusal(tmp_path / "absent.img")


async def test_empty_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.img").touch()
    assert "is empty" in await _refusal(tmp_path / "empty.img")


async def test_text_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("buy milk\n" * 100)
    assert "not a disk image" in await _refusal(path)


async def test_directory_is_refused(tmp_path: Path) -> None:
    assert "is a directory" in await _refusal(tmp_path)


async def test_character_device_is_refused() -> None:
    assert "neither a file nor a block device" in await _refusal(Path("/dev/null"))


async def test_fifo_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert "neither a file nor a block device" in await _refusal(tmp_path / "fifo")


async def test_image_without_read_permission_is_refused(disk: Path) -> None:
    disk.chmod(0)
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        assert "permission" in await _refusal(disk)
    finally:
        os.seteuid(was)


async def test_unknown_format_is_refused(disk: Path) -> None:
    assert "unknown format floppy" in await _refusal(disk, "floppy")


async def test_wrong_format_is_refused(disk: Path) -> None:
    assert "cannot be read as vdi" in await _refusal(disk, "vdi")


# Damaged


@pytest.mark.parametrize("left", [0.1, 0.5, 0.9, 0.98])
async def test_truncated_qcow2_is_refused(disk: Path, left: float) -> None:
    image = _converted(disk, "qcow2")
    os.truncate(image, int(image.stat().st_size * left))
    assert "truncated qcow2 image" in await _refusal(image)
    assert "truncated qcow2 image" in await _refusal(image, "qcow2")


async def test_qcow2_cut_in_its_header_is_refused(disk: Path) -> None:
    image = _converted(disk, "qcow2")
    os.truncate(image, 50)
    assert "header is cut short" in await _refusal(image)


@pytest.mark.parametrize(("offset", "value"), [(20, 63), (20, 0), (4, 9)])
async def test_qcow2_with_nonsense_in_its_header_is_refused(disk: Path, offset: int, value: int) -> None:
    image = _converted(disk, "qcow2")
    with image.open("r+b") as file:
        file.seek(offset)
        file.write(struct.pack(">I", value))
    assert "damaged qcow2 header" in await _refusal(image)


async def test_qcow2_with_an_endless_refcount_table_is_refused(disk: Path) -> None:
    image = _converted(disk, "qcow2")
    with image.open("r+b") as file:
        file.seek(56)
        file.write(struct.pack(">I", 0xFFFFFFFF))
    assert "damaged qcow2 header" in await _refusal(image)


@pytest.mark.parametrize("size_bytes", [(1 << 51) + 512, 1 << 56, 1 << 60])
async def test_absurd_size_is_refused_before_anything_is_allocated(tmp_path: Path, size_bytes: int) -> None:
    image = tmp_path / "huge.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-o", "cluster_size=2M", image, "1G")
    entries = -(-size_bytes // (2 * MIB * (2 * MIB // 8)))
    table = -(-image.stat().st_size // (2 * MIB)) * 2 * MIB  # behind all else, a hole
    with image.open("r+b") as file:
        file.seek(24)
        file.write(struct.pack(">Q", size_bytes))
        file.seek(36)
        file.write(struct.pack(">IQ", entries, table))
        file.truncate(table + entries * 8)
    assert "which qemu has no overlay for" in await _refusal(image)


# Backing files


@pytest.fixture
def chain(disk: Path) -> Path:
    """A qcow2 image over the disk, which it names with its format."""
    image = disk.with_name("top.qcow2")
    qemu_img("create", "-f", "qcow2", "-b", disk, "-F", "raw", image)
    return image


async def test_guessed_image_with_a_backing_file_is_refused(chain: Path) -> None:
    text = await _refusal(chain)
    assert "names other files" in text
    assert "--format=qcow2" in text


async def test_given_format_allows_the_backing_file(chain: Path) -> None:
    checked = await check_drive(Drive(path=chain, format="qcow2"))
    assert (checked.may_chain, checked.size_bytes) == (True, 4 * MIB)


async def test_missing_backing_file_is_named(chain: Path, disk: Path) -> None:
    disk.unlink()
    text = await _refusal(chain, "qcow2")
    assert f"'{disk}': No such file" in text


async def test_backing_file_without_a_format_is_refused(chain: Path) -> None:
    format_extension = struct.pack(">I", 0xE2792ACA)
    assert format_extension in chain.read_bytes()
    chain.write_bytes(chain.read_bytes().replace(format_extension, struct.pack(">I", 0x12345678)))
    assert "not its format" in await _refusal(chain, "qcow2")


# The files to be watched


async def _watched(path: Path, kind: str) -> list[str]:
    return [state.path.name for state in (await check_drive(Drive(path=path, format=kind))).files]


async def test_all_files_of_an_image_are_looked_at(disk: Path, chain: Path) -> None:
    flat = _converted(disk, "vmdk", "-o", "subformat=monolithicFlat")
    over = disk.with_name("over.qcow2")
    qemu_img("create", "-f", "qcow2", "-b", flat, "-F", "vmdk", over)
    split = disk.with_name("split.qcow2")
    data = disk.with_name("split.data")
    qemu_img("convert", "-O", "qcow2", "-o", f"data_file={data},data_file_raw=off", disk, split)
    assert await _watched(disk, "raw") == [disk.name]
    assert await _watched(chain, "qcow2") == ["top.qcow2", disk.name]
    assert await _watched(flat, "vmdk") == ["image.vmdk", "image-flat.vmdk"]
    assert await _watched(over, "qcow2") == ["over.qcow2", "image.vmdk", "image-flat.vmdk"]
    assert await _watched(split, "qcow2") == ["split.qcow2", "split.data"]


async def test_image_with_a_part_that_is_no_file_has_no_files_to_watch(chain: Path, disk: Path) -> None:
    qemu_img("rebase", "-u", "-b", "null-co://", "-F", "raw", chain)
    assert (await check_drive(Drive(path=chain, format="qcow2"))).files == ()


async def test_state_of_a_file_tells_what_became_of_it(disk: Path) -> None:
    (before,) = (await check_drive(Drive(path=disk))).files
    assert before.size_bytes == disk.stat().st_size
    assert before.change(image_state(disk)) is None
    with disk.open("r+b") as file:
        file.write(b"x")
    written = image_state(disk)
    assert before.change(written) == f"{disk} was written to"
    assert before.loss(written) is None
    os.truncate(disk, MIB)
    assert before.loss(image_state(disk)) == f"{disk}: it was truncated from {before.size_bytes} bytes to {MIB}"
    disk.rename(disk.with_name("aside"))
    disk.write_bytes(b"")
    other = image_state(disk)
    assert before.change(other) == f"{disk} is another file than it was"
    assert before.loss(other) is None
    with pytest.raises(DriveError, match="neither a file nor a block device"):
        image_state(disk.parent)
    with pytest.raises(DriveError, match="absent: cannot be opened"):
        image_state(disk.with_name("absent"))


# What a guest may write at the start of its raw disk


def _qcow2_over(path: Path, backing: str) -> None:
    base = path.with_name("base.img")
    base.write_bytes(bytes(MIB))
    qemu_img("create", "-f", "qcow2", "-b", base, "-F", "raw", path)
    qemu_img("rebase", "-u", "-b", backing, "-F", "raw", path)


def _qcow2_with_data_file(path: Path, data_file: str) -> None:
    own = path.with_name("data.raw")
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={own},data_file_raw=on", path, "1M")
    path.write_bytes(path.read_bytes().replace(os.fsencode(own), os.fsencode(data_file)))


def _flat_vmdk(path: Path, extent: str) -> None:
    path.write_text(
        '# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType="monolithicFlat"\n'
        f'RW 2 FLAT "{extent}" 0\n'.ljust(1024, "\n")
    )


def _vmdk_without_capacity(path: Path, extent: str) -> None:
    descriptor = (
        '# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType="monolithicFlat"\n'
        f'RW 2 FLAT "{extent}" 0\n#createType="monolithicSparse"\n'
    ).encode()
    header = struct.pack("<4sIIQQQQ", b"KDMV", 1, 3, 0, 128, 1, 20)
    path.write_bytes(header.ljust(512, b"\0") + descriptor.ljust(20 * 512, b"\0"))


def _vmdk_with_parent(path: Path, parent: str) -> None:
    qemu_img("create", "-f", "vmdk", path, "1M")
    image = bytearray(path.read_bytes())
    end = image.index(b"\0", 512)
    hint = f'\nparentFileNameHint="{parent}"\n'.encode()
    image[end : end + len(hint)] = hint
    path.write_bytes(image)


@pytest.mark.parametrize(
    "smuggle", [_qcow2_over, _qcow2_with_data_file, _flat_vmdk, _vmdk_without_capacity, _vmdk_with_parent]
)
async def test_guest_cannot_smuggle_a_host_file_in(tmp_path: Path, smuggle: Callable[[Path, str], None]) -> None:
    path = tmp_path / "disk.img"
    smuggle(path, "/etc/shadow")
    assert b"/etc/shadow" in path.read_bytes()
    assert "names other files" in await _refusal(path)


async def test_guest_cannot_smuggle_a_protocol_in(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    _qcow2_over(path, 'json:{"driver":"file","filename":"/etc/shadow"}')
    assert "names other files" in await _refusal(path)


async def test_same_bytes_given_as_raw_are_a_plain_disk(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    _qcow2_over(path, "/etc/shadow")
    os.truncate(path, MIB)
    checked = await check_drive(Drive(path=path, format="raw"))
    assert (checked.format, checked.size_bytes) == ("raw", MIB)


# Overlays


@pytest.mark.parametrize("size_bytes", [512, 5 * MIB, 512 * MIB, 512 * MIB + 512, 60 << 40])
def test_overlay_is_an_empty_qcow2_without_a_name(tmp_path: Path, size_bytes: int) -> None:
    drive = CheckedDrive(Path("/unused"), "raw", False, size_bytes, None)
    with make_overlay(drive, tmp_path) as overlay:
        assert list(tmp_path.iterdir()) == []
        assert os.fstat(overlay.fileno()).st_nlink == 0
        overlay.seek(0)
        (tmp_path / "copy").write_bytes(overlay.read())
    assert json.loads(qemu_img("info", "--output=json", tmp_path / "copy"))["virtual-size"] == size_bytes
    subprocess.run(["qemu-io", "-c", f"write -P 1 {size_bytes - 512} 512", tmp_path / "copy"], check=True)
    assert "No errors were found" in qemu_img("check", tmp_path / "copy")


def test_overlay_in_a_missing_directory_says_what_to_do(tmp_path: Path) -> None:
    drive = CheckedDrive(Path("/unused"), "raw", False, 5 * MIB, None)
    with pytest.raises(DriveError, match="TMPDIR can name another place"):
        make_overlay(drive, tmp_path / "absent")
