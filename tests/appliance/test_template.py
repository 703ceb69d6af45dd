import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.config import ApplianceFiles
from appliance.template import (
    TemplateUnusable,
    finish_template,
    maker_of,
    nameless_file,
    opened_template,
    template_key,
)
from rpc.errors import ImageError
from tests.guests.cache import run
from tests.guests.disk import mounted

MEMORY_BYTES = 1 << 20
STATE = b"the state of the devices" * 100


def _make(directory: Path, key: str = "k") -> Path:
    with nameless_file(directory, MEMORY_BYTES) as file:
        file.write(STATE)
        os.pwrite(file.fileno(), b"memory", 4096)
        path = directory / f"template-{key}"
        finish_template(file, path, key, MEMORY_BYTES, maker_of("7.2"))
    return path


def test_template_holds_memory_and_state(tmp_path: Path) -> None:
    path = _make(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    with opened_template(path, "k") as template:
        assert os.pread(template.memory.fileno(), 6, 4096) == b"memory"
        assert os.lseek(template.state.fileno(), 0, os.SEEK_CUR) == MEMORY_BYTES
        assert os.read(template.state.fileno(), len(STATE)) == STATE
        assert template.maker == maker_of("7.2") != maker_of("7.3")


def test_unfinished_template_leaves_nothing(tmp_path: Path) -> None:
    with nameless_file(tmp_path, MEMORY_BYTES) as file:
        file.write(STATE)
        assert list(tmp_path.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


def test_directory_that_takes_no_files_is_an_image_error() -> None:
    with pytest.raises(ImageError, match="cannot keep a template in /proc"), nameless_file(Path("/proc"), 1):
        pytest.fail("made a file in /proc")


def _cut(path: Path, left_bytes: int) -> None:
    os.truncate(path, left_bytes)


def _overwrite(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        byte = os.pread(file.fileno(), 1, offset)[0]
        os.pwrite(file.fileno(), bytes([byte ^ 1]), offset)


def _overwrite_unseen(path: Path, offset: int) -> None:
    mtime_ns = path.stat().st_mtime_ns
    _overwrite(path, offset)
    os.utime(path, ns=(mtime_ns, mtime_ns))


def _scramble(path: Path) -> None:
    path.write_bytes(os.urandom(5000))


def _swap(path: Path) -> None:
    _make(path.parent, "other").rename(path)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "empty": lambda path: _cut(path, 0),
    "half": lambda path: _cut(path, MEMORY_BYTES // 2),
    "without its last byte": lambda path: _cut(path, path.stat().st_size - 1),
    "a bit of memory": lambda path: _overwrite(path, 4096),
    "a bit of state": lambda path: _overwrite_unseen(path, MEMORY_BYTES + 100),
    "a bit of the end": lambda path: _overwrite_unseen(path, MEMORY_BYTES + len(STATE)),
    "no template at all": _scramble,
    "another's": _swap,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_or_foreign_template_is_unusable(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    path = _make(tmp_path)
    damage(path)
    with pytest.raises(TemplateUnusable), opened_template(path, "k"):
        pytest.fail("used a bad template")


@pytest.mark.root
def test_template_does_on_a_filesystem_that_keeps_whole_seconds(tmp_path: Path) -> None:
    image = tmp_path / "small-inodes.img"
    run("mke2fs", "-q", "-t", "ext4", "-I", "128", image, "8M")
    with mounted(image, "-o", "loop") as directory:
        path = _make(directory)
        assert path.stat().st_mtime_ns % 10**9 == 0
        with opened_template(path, "k"):
            pass


def test_missing_template_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), opened_template(tmp_path / "template-k", "k"):
        pytest.fail("found what is not there")


def test_newer_template_takes_the_place_of_the_older(tmp_path: Path) -> None:
    first = _make(tmp_path).stat().st_ino
    assert _make(tmp_path).stat().st_ino != first
    with opened_template(tmp_path / "template-k", "k"):
        pass


# Keys


@pytest.fixture
def files(tmp_path: Path) -> ApplianceFiles:
    for name in ("kernel", "initrd", "root", "qemu", "other"):
        (tmp_path / name).write_text(name)
    return ApplianceFiles(kernel=tmp_path / "kernel", initrd=tmp_path / "initrd", root=tmp_path / "root")


def _key(files: ApplianceFiles, argv: tuple[str, ...] = ("-m", "512"), accelerator: str = "tcg") -> str:
    return template_key(files, files.kernel.with_name("qemu"), list(argv), accelerator)


def test_key_is_the_same_for_the_same(files: ApplianceFiles) -> None:
    assert _key(files) == _key(files)


@pytest.mark.parametrize("name", ["kernel", "initrd", "root", "qemu"])
def test_key_changes_with_each_file(files: ApplianceFiles, name: str) -> None:
    before = _key(files)
    path = files.kernel.with_name(name)
    path.write_text(name.upper())
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    assert _key(files) != before


def test_key_changes_with_place_arguments_and_accelerator(files: ApplianceFiles) -> None:
    elsewhere = replace(files, root=files.root.with_name("other"))
    keys = {_key(files), _key(elsewhere), _key(files, ("-m", "513")), _key(files, accelerator="kvm")}
    assert len(keys) == 4
