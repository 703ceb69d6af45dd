import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.config import ApplianceFiles
from appliance.template import (
    TemplateUnusable,
    discard_template,
    failed_lately,
    finish_template,
    nameless_file,
    note_failure,
    opened_template,
    prune_templates,
    template_key,
    template_path,
)
from rpc.errors import ImageError

MEMORY_BYTES = 1 << 20
STATE = b"the state of the devices" * 100


def _make(directory: Path, key: str = "k") -> Path:
    with nameless_file(directory, MEMORY_BYTES) as file:
        file.write(STATE)
        os.pwrite(file.fileno(), b"memory", 4096)
        finish_template(file, directory, key, MEMORY_BYTES)
    return template_path(directory, key)


def test_template_holds_memory_and_state(tmp_path: Path) -> None:
    path = _make(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    with opened_template(tmp_path, "k") as template:
        assert os.pread(template.memory.fileno(), 6, 4096) == b"memory"
        assert os.lseek(template.state.fileno(), 0, os.SEEK_CUR) == MEMORY_BYTES
        assert os.read(template.state.fileno(), len(STATE)) == STATE


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
    "a bit of the manifest": lambda path: _overwrite_unseen(path, MEMORY_BYTES + len(STATE)),
    "no template at all": _scramble,
    "another's": _swap,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_or_foreign_template_is_unusable(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    path = _make(tmp_path)
    damage(path)
    with pytest.raises(TemplateUnusable), opened_template(tmp_path, "k"):
        pytest.fail("used a bad template")


def test_missing_template_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), opened_template(tmp_path, "k"):
        pytest.fail("found what is not there")


def test_discarded_template_is_gone_but_stays_open(tmp_path: Path) -> None:
    _make(tmp_path)
    with ExitStack() as stack:
        template = stack.enter_context(opened_template(tmp_path, "k"))
        discard_template(tmp_path, "k")
        discard_template(tmp_path, "k")
        assert list(tmp_path.iterdir()) == []
        assert os.pread(template.memory.fileno(), 6, 4096) == b"memory"


def test_newer_template_takes_the_place_of_the_older(tmp_path: Path) -> None:
    first = _make(tmp_path).stat().st_ino
    assert _make(tmp_path).stat().st_ino != first
    with opened_template(tmp_path, "k"):
        pass


def test_few_templates_are_kept_those_that_were_used_last(tmp_path: Path) -> None:
    now_s = time.time()
    for age, key in enumerate("abcdefg"):
        path = _make(tmp_path, key)
        os.utime(path, (now_s - 100 * age - 100, path.stat().st_mtime))
    prune_templates(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["template-a", "template-b", "template-c"]


def test_use_keeps_a_template(tmp_path: Path) -> None:
    path = _make(tmp_path)
    os.utime(path, ns=(0, path.stat().st_mtime_ns))
    with opened_template(tmp_path, "k"):
        pass
    prune_templates(tmp_path)
    assert path.exists()


def test_template_that_was_not_used_for_a_day_goes(tmp_path: Path) -> None:
    path = _make(tmp_path)
    os.utime(path, ns=(time.time_ns() - 25 * 3600 * 10**9, path.stat().st_mtime_ns))
    prune_templates(tmp_path)
    assert not path.exists()


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


def test_failure_is_remembered_for_an_hour(tmp_path: Path) -> None:
    assert not failed_lately(tmp_path, "k")
    note_failure(tmp_path, "k")
    assert failed_lately(tmp_path, "k")
    assert not failed_lately(tmp_path, "other")
    long_ago_s = time.time() - 3700
    os.utime(tmp_path / "failed-template-k", (long_ago_s, long_ago_s))
    assert not failed_lately(tmp_path, "k")
    prune_templates(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_failure_can_be_forgotten(tmp_path: Path) -> None:
    note_failure(tmp_path, "k")
    note_failure(tmp_path, "k", failed=False)
    assert not failed_lately(tmp_path, "k")
